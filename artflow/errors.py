"""The one exception that people and programs are meant to read."""

from __future__ import annotations


class ArtflowError(Exception):
    """Something that a person can act on: a stable ``code`` and one sentence.

    The sentence names the offending value and what is allowed. The UI shows it with ``gr.Error``; sockets
    and routes send it as ``{"status": "error", "code": ..., "message": ...}``.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    def as_json(self) -> dict[str, str]:
        """The error as it goes over sockets and routes."""
        return {"status": "error", "code": self.code, "message": self.message}
