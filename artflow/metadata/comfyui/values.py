"""What comes out of ComfyUI's nodes, where that can be told without running them: texts, numbers, chosen branches."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from artflow.metadata.comfyui.graph import Link, Node, Nodes

LONGEST_WALK = 100  # links followed one after another; a graph may go in circles
LONGEST_TEXT = 50_000  # characters
TEXTS = (
    "populated_text", "text", "string", "prompt", "value", "text_g", "text_l", "t5xxl", "clip_l", "positive_prompt",
    "positive", "input_string", "str",
)  # fmt: skip
NUMBERS = ("value", "seed", "noise_seed", "number", "int", "float", "Number", "a")
SELECTORS = ("switch", "boolean", "condition", "select", "index", "selected", "input", "Input")
DELIMITERS = {"space": " ", "comma": ",", "newline": "\n", "none": "", r"\n": "\n"}
FIELDS = re.compile(r"(\{\{|\}\}|\{\w{1,40}\})")
SHOWS = re.compile(r"show|preview|display", re.IGNORECASE)
JOINS = re.compile(r"concat|join|combine|append", re.IGNORECASE)
HANDS_ON = re.compile(r"text|string|prompt|primitive|multiline|literal|constant|value|positive|negative", re.IGNORECASE)
# What these put out is not what they are given.
MAKES = re.compile(
    r"generat|random|wildcard(?!processor)|regex|format|split|extract|translat|caption|interrogat|llm|gpt|gemini|ollama"
    r"|qwen|enhanc|styl|select|substring|encode|math|json|load",
    re.IGNORECASE,
)
CASES: dict[str, Callable[[str], str]] = {
    "UPPERCASE": str.upper, "lowercase": str.lower, "Capitalize": str.capitalize, "Title Case": str.title,
}  # fmt: skip


class Values:
    """Answers for one graph; each node is asked once."""

    def __init__(self, nodes: Nodes) -> None:
        self.nodes = nodes
        self._texts: dict[str, str | None] = {}  # by node, as the next
        self._branches: dict[str, Any] = {}

    def resolved(self, value: Any, depth: int = 0) -> Any:
        """A value as it is; of a link the first one behind it that does more than hand on, or the value there."""
        for _ in range(LONGEST_WALK):
            if not isinstance(value, Link):
                return value
            node = self.nodes.get(value.node)
            if node is None:
                return None
            if node.through is not None:
                value = node.through.get(value.slot)
            elif _is_switch(node):
                if depth >= LONGEST_WALK:
                    return None
                if node.id not in self._branches:
                    self._branches[node.id] = None  # where the graph goes in a circle
                    self._branches[node.id] = self._chosen(node, depth + 1)
                value = self._branches[node.id]
            else:
                return value
        return None

    def source(self, value: Any) -> tuple[Node, Link] | None:
        """The node that a value comes from, and the link to it."""
        link = self.resolved(value)
        return (self.nodes[link.node], link) if isinstance(link, Link) else None

    def number(self, value: Any, depth: int = 0) -> Any:
        """A number (or a choice's name, or a truth), at the end of any links; None where it is computed."""
        value = self.resolved(value, depth)
        for _ in range(LONGEST_WALK):
            if not isinstance(value, Link):
                return value if isinstance(value, str | int | float) else None
            node = self.nodes[value.node]
            if MAKES.search(node.kind):
                return None
            value = self.resolved(next((node.inputs[name] for name in NUMBERS if name in node.inputs), None), depth)
        return None

    def text(self, value: Any, depth: int = 0) -> str | None:
        """A text, joined where nodes join it; None where it cannot be told."""
        value = self.resolved(value, depth)
        if not isinstance(value, Link):
            return str(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else None
        if value.node not in self._texts and depth < LONGEST_WALK:
            self._texts[value.node] = None  # where the graph goes in a circle
            found = self._text_of(self.nodes[value.node], depth + 1)
            self._texts[value.node] = found if found is None or len(found) <= LONGEST_TEXT else None
        return self._texts.get(value.node)

    def _text_of(self, node: Node, depth: int) -> str | None:
        inputs = node.inputs
        if SHOWS.search(node.kind):
            links = (value for value in inputs.values() if isinstance(value, Link))
            text = self.text(next(links, None), depth)
            return text if text is not None else _shown(node)
        if {"string_a", "string_b"} <= inputs.keys() or JOINS.search(node.kind):
            return self._joined(node, depth)
        if node.kind == "StringFormat":
            return self._formatted(inputs, depth)
        if node.kind in ("StringReplace", "StringTrim", "CaseConverter"):
            return self._changed(node, depth)
        if MAKES.search(node.kind) or not (HANDS_ON.search(node.kind) or "populated_text" in inputs):
            return None
        names = [name for name in TEXTS if name in inputs]
        # Nodes that also get a model or a picture write a text of their own.
        if any(isinstance(value, Link) and name not in names for name, value in inputs.items()):
            return None
        return self.text(inputs[names[0]], depth) if names else None

    def _joined(self, node: Node, depth: int) -> str | None:
        inputs = node.inputs
        names = [name for name in inputs if re.fullmatch(r"(?:text|string|str|prompt|input)_?(?:[a-z]|\d{1,3})", name)]
        delimiter = self.text(inputs.get("delimiter", inputs.get("separator", "")), depth)
        if not names or delimiter is None:
            return None
        parts: list[str] = []
        for name in sorted(names, key=lambda name: (len(name), name)):
            part = self.text(inputs[name], depth)
            if part is None or sum(map(len, parts[-2:])) + len(part) > LONGEST_TEXT or len(parts) > LONGEST_WALK:
                return None
            parts.append(part)
        return DELIMITERS.get(delimiter, delimiter).join(parts)

    def _changed(self, node: Node, depth: int) -> str | None:
        text, find, new, mode = (
            self.text(node.inputs.get(name, ""), depth) for name in ("string", "find", "replace", "mode")
        )
        if text is None:
            return None
        if node.kind == "StringTrim":
            return {"Both": text.strip, "Left": text.lstrip, "Right": text.rstrip}.get(mode or "Both", text.strip)()
        if node.kind == "CaseConverter":
            return CASES[mode](text) if mode in CASES else None
        if not find or new is None or len(text) + text.count(find) * len(new) > LONGEST_TEXT:
            return text if find == "" else None
        return text.replace(find, new)

    def _formatted(self, inputs: dict[str, Any], depth: int) -> str | None:
        """Plain fields alone, ``{a}``: a width in a field could ask for any amount of memory."""
        template = self.text(inputs.get("f_string"), depth)
        if template is None:
            return None
        given = {name.rpartition(".")[2]: value for name, value in inputs.items() if name != "f_string"}
        parts: list[str] = []
        for part in FIELDS.split(template):
            if part in ("{{", "}}"):
                part = part[0]
            elif part.startswith("{") or part.endswith("}"):
                value = self.text(given.get(part[1:-1]), depth) if FIELDS.fullmatch(part) else None
                if value is None or len(parts) > LONGEST_WALK:
                    return None
                part = value
            parts.append(part)
        text = "".join(parts)
        return text if len(text) <= LONGEST_TEXT else None

    def _chosen(self, node: Node, depth: int) -> Any:
        """The branch that a switch takes; None where that cannot be told."""
        inputs = node.inputs
        selector = next((name for name in SELECTORS if name in inputs), None)
        if selector is None:  # the first that is there
            return next(
                (v for v in inputs.values() if isinstance(v, Link) and self.resolved(v, depth) is not None), None
            )
        choice = self.number(inputs[selector], depth)
        if {"on_true", "on_false"} & inputs.keys():
            return inputs.get("on_true" if choice else "on_false") if isinstance(choice, bool | int) else None
        if isinstance(choice, bool) or not str(choice).isdigit():
            return None
        numbered = re.compile(rf"[A-Za-z_]*?_?0*{int(choice)}")
        return next((v for name, v in inputs.items() if name != selector and numbered.fullmatch(name)), None)


def _is_switch(node: Node) -> bool:
    return {"on_true", "on_false"} <= node.inputs.keys() or "switch" in node.kind.lower()


def _shown(node: Node) -> str | None:
    """The text that a node showed when the graph was saved."""
    stored: Iterator[str] = (value for value in node.inputs.values() if isinstance(value, str))
    return next((text for text in (*node.shown, *stored) if text.strip()), None)
