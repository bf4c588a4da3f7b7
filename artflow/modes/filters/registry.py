"""What a filter is: a name, parameters with ranges, and a function from picture to picture."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from artflow.errors import ArtflowError
from artflow.images import Picture, Size

MAX_SAMPLE = 400_000  # characters of a style picture inside a stack


def _refused(title: str, value: Any, allowed: str) -> ArtflowError:
    shown = repr(value)
    shown = shown if len(shown) <= 60 else shown[:57] + "..."
    return ArtflowError("bad_parameter", f"{title} cannot be {shown}; allowed is {allowed}.")


@dataclass(frozen=True)
class Slider:
    """A number. ``pixels``: it counts pixels of the full picture, so a preview on a smaller copy scales it."""

    title: str
    low: float
    high: float
    default: float
    step: float = 0.01
    pixels: bool = False

    def check(self, value: Any) -> float | int:
        """The value as a number of the slider's kind (a whole one where the step is), or an error."""
        number = math.nan if isinstance(value, bool) or not isinstance(value, (int, float)) else value
        if not self.low <= number <= self.high:  # also refuses nan
            raise _refused(self.title, value, f"{self.low:g} to {self.high:g}")
        return round(number) if float(self.step).is_integer() else float(number)


@dataclass(frozen=True)
class Choice:
    """One of some words."""

    title: str
    values: tuple[str, ...]
    default: str

    def check(self, value: Any) -> str:
        """The value, or an error that names what is allowed."""
        if value not in self.values:
            raise _refused(self.title, value, ", ".join(self.values))
        return value


@dataclass(frozen=True)
class Switch:
    """On or off."""

    title: str
    default: bool = False

    def check(self, value: Any) -> bool:
        """The value, or an error."""
        if not isinstance(value, bool):
            raise _refused(self.title, value, "true or false")
        return value


@dataclass(frozen=True)
class Sample:
    """Another picture, as the base64 of a small JPEG, PNG or WebP file: a stack holds all that it needs."""

    title: str
    default: str = ""

    def check(self, value: Any) -> str:
        """The value, or an error; the bytes are decoded only when they are used."""
        if not isinstance(value, str) or len(value) > MAX_SAMPLE:
            raise _refused(self.title, value, f"a picture file in base64 of at most {MAX_SAMPLE} characters")
        try:
            base64.b64decode(value, validate=True)
        except ValueError:
            raise _refused(self.title, value, "a picture file in base64") from None
        return value


Parameter = Slider | Choice | Switch | Sample


@dataclass(frozen=True)
class Filter:
    """A filter. ``slow`` ones are neural networks, run in drafts on a copy of at least ``least`` pixels a side.

    ``size_after`` says how large the result will be, or a few pixels more, of a picture's size and the parameters;
    None: never larger than the picture. ``moves``: it moves pixels, and so does the same to alpha; the others leave
    that as it is. Where such a filter brings in new pixels, they are white. ``cuts``: it gives a picture of four
    channels, whose alpha is what stays of it.
    """

    name: str
    title: str
    group: str
    function: Callable[..., Picture]
    parameters: Mapping[str, Parameter]
    slow: bool = False
    least: int = 1
    size_after: Callable[..., Size] | None = None
    moves: bool = False
    cuts: bool = False

    def check(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """All parameters: those given, checked, and the defaults of the others.

        Raises:
            ArtflowError: ``bad_parameter``, naming the parameter, the value and what is allowed.
        """
        for key in values:
            if key not in self.parameters:
                sentence = f"{self.title} has no parameter {str(key)[:40]!r}; it has: {', '.join(self.parameters)}."
                raise ArtflowError("bad_parameter", sentence)
        return {name: about.check(values.get(name, about.default)) for name, about in self.parameters.items()}


FILTERS: dict[str, Filter] = {}


def filter_entry(
    title: str,
    group: str,
    *,
    slow: bool = False,
    least: int = 1,
    size_after: Callable[..., Size] | None = None,
    moves: bool = False,
    cuts: bool = False,
    **parameters: Parameter,
) -> Callable[..., Any]:
    """Add the decorated function to `FILTERS` under its own name; it gets the picture and the checked parameters."""

    def add(function: Callable[..., Picture]) -> Callable[..., Picture]:
        name = function.__name__
        FILTERS[name] = Filter(name, title, group, function, parameters, slow, least, size_after, moves, cuts)
        return function

    return add
