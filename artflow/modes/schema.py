"""Parameter classes of modes: merging defaults and changes, validation, and JSON schemas."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from artflow.errors import ArtflowError, validation_sentence

P = TypeVar("P", bound=BaseModel)


def merged(kind: type[P], *layers: Mapping[str, Any], max_prompt: int = 1_000) -> P:
    """Parameters merged from layers, later ones over earlier ones, and validated as a whole.

    Raises:
        ArtflowError: ``bad_parameter`` (naming key, value and what is allowed) or ``prompt_too_long``.
    """
    values: dict[str, Any] = {}
    for layer in layers:
        values |= {_name(kind, key): value for key, value in layer.items()}
    for key, value in values.items():
        if isinstance(value, str) and len(value) > max_prompt:
            sentence = f"`{key[:80]}` has {len(value)} characters; at most {max_prompt} are allowed."
            raise ArtflowError("prompt_too_long", sentence)
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        sentences = [validation_sentence(e, kind.model_fields) for e in error.errors()]
        raise ArtflowError("bad_parameter", "; ".join(sentences[:3]) + ".") from None


def names(kind: type[BaseModel]) -> set[str]:
    """The names of the fields, with their older aliases."""
    aliases = (getattr(field.validation_alias, "choices", ()) for field in kind.model_fields.values())
    return {*kind.model_fields, *(str(name) for some in aliases for name in some)}


def without_nulls(kind: type[BaseModel], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Changes without the nulls of fields that cannot be null: browsers send them for emptied number fields."""
    fields = kind.model_fields
    never = {name for name, field in fields.items() if type(None) not in get_args(field.annotation)}
    return {key: value for key, value in changes.items() if value is not None or _name(kind, key) not in never}


def _name(kind: type[BaseModel], key: str) -> str:
    """The field's name for a key, which may be an older alias."""
    for name, field in kind.model_fields.items():
        alias = field.validation_alias
        if alias is not None and not isinstance(alias, str) and key in getattr(alias, "choices", ()):
            return name
    return key


def input_schema(defaults: BaseModel) -> dict[str, Any]:
    """The parameters as a JSON schema, extended by what the front ends of the earlier servers read.

    Each of its ``properties`` has ``title``, ``default``, ``min``, ``max`` and ``field``: ``range``, ``seed``,
    ``checkbox``, ``select`` (with ``values``), ``textarea`` or ``hidden``.
    """
    schema = type(defaults).model_json_schema(by_alias=False)
    result: dict[str, Any] = {}
    for name, about in schema["properties"].items():
        entry = {"id": name, "title": about.get("title", name), "default": getattr(defaults, name)}
        result[name] = entry | _field(about) | ({"field": "seed"} if name == "seed" else {})
        if "description" in about:
            result[name]["description"] = about["description"]
    return {"title": "InputParams", "type": "object", "properties": result}


def info_schema(facts: Mapping[str, str]) -> dict[str, Any]:
    """Facts in the format of the earlier servers: a JSON schema with the facts as defaults."""
    properties = {name: {"title": name, "type": "string", "default": fact} for name, fact in facts.items()}
    return {"title": "Info", "type": "object", "properties": properties}


def _field(about: Mapping[str, Any]) -> dict[str, Any]:
    if "enum" in about:
        return {"field": "select", "values": about["enum"], "type": "string"}
    kind = about.get("type")
    if kind == "boolean":
        return {"field": "checkbox", "type": kind}
    if kind in ("integer", "number"):
        limits = {"min": about["minimum"], "max": about["maximum"]}
        return {"field": "range", "type": kind, "step": 1 if kind == "integer" else 0.01} | limits
    if kind == "string":
        return {"field": "textarea", "type": kind}
    return {"field": "hidden", "type": "json"}
