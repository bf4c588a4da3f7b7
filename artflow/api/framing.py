"""The binary message: 4 bytes length of a JSON object (big endian), the JSON, and a payload."""

from __future__ import annotations

import json
import struct
from typing import Any

from artflow.errors import ArtflowError

MAX_JSON = 65_536  # bytes; settings are small, and the length field is untrusted


def pack(header: dict[str, Any], payload: bytes = b"") -> bytes:
    """The message of a JSON object and its payload."""
    text = json.dumps(header, ensure_ascii=False).encode()
    return struct.pack(">I", len(text)) + text + payload


def unpack(message: bytes) -> tuple[dict[str, Any], bytes]:
    """The JSON object of a message, and its payload.

    Raises:
        ArtflowError: ``bad_message`` or ``message_too_large``, naming what is wrong.
    """
    if len(message) < 4:
        raise ArtflowError("bad_message", f"The message has {len(message)} bytes; it begins with 4 of length.")
    (length,) = struct.unpack_from(">I", message)
    if length > MAX_JSON:
        raise ArtflowError("message_too_large", f"The JSON has {length} bytes; at most {MAX_JSON} are allowed.")
    if length > len(message) - 4:
        raise ArtflowError("bad_message", f"The JSON should have {length} bytes, but only {len(message) - 4} follow.")
    return parse(message[4 : 4 + length]), message[4 + length :]


def parse(text: bytes | str) -> dict[str, Any]:
    """A JSON object.

    Raises:
        ArtflowError: ``bad_message`` or ``message_too_large``.
    """
    if len(text) > MAX_JSON:
        raise ArtflowError("message_too_large", f"The JSON has {len(text)} bytes; at most {MAX_JSON} are allowed.")
    try:
        value = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise ArtflowError("bad_message", f"This is not JSON: {error}.") from None
    if not isinstance(value, dict):
        raise ArtflowError("bad_message", f"The JSON is a {type(value).__name__}; it must be an object.")
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except (UnicodeEncodeError, RecursionError):  # half a surrogate pair, or too deeply nested
        raise ArtflowError("bad_message", "The JSON has text that is not Unicode, or is nested too deep.") from None
    return value


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not a number that is allowed")
