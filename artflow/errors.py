"""The one exception that people and programs are meant to read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

HIDDEN = "A picture is not shown: the safety check takes it for not safe for work. Try another prompt or seed."


class ArtflowError(Exception):
    """Something that a person can act on: a stable ``code`` and one sentence.

    The sentence names the offending value and what is allowed. The UI shows it with ``gr.Error``; sockets
    and routes send it as ``{"status": "error", "code": ..., "message": ...}``.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    def __reduce__(self) -> tuple[type[ArtflowError], tuple[str, str]]:
        """Both arguments go along to another process; of an exception only the message would."""
        return type(self), (self.code, self.message)

    def as_json(self) -> dict[str, str]:
        """The error as it goes over sockets and routes."""
        return {"status": "error", "code": self.code, "message": self.message}


def inner_error(error: BaseException) -> ArtflowError:
    """What a person is told of an error that nobody has foreseen; its own words may be of others, or of the machine.

    Who calls this writes the error into the log.
    """
    return ArtflowError("inner_error", f"An error inside the app ({type(error).__name__}); its log says more.")


def validation_sentence(error: Mapping[str, Any], allowed: Iterable[str], noun: str = "parameter") -> str:
    """One of pydantic's errors as a sentence that names the key, the value and what is allowed."""
    key = ".".join(str(part) for part in error["loc"])
    key = key if len(key) <= 80 else key[:77] + "..."
    value = repr(error["input"])
    value = value if len(value) <= 80 else value[:77] + "..."
    if error["type"] == "extra_forbidden":
        return f"{noun} `{key}` does not exist (value {value}); allowed are {', '.join(allowed)}"
    return f"{noun} `{key}` cannot be {value}: {error['msg'].removeprefix('Value error, ')}"


class Cancelled(Exception):
    """Raised out of a work's callback where nobody waits for the work any more."""
