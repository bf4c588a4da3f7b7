"""Binary messages: 4 bytes length of the JSON, the JSON, the picture."""

from __future__ import annotations

import struct

import pytest

from artflow.api.framing import MAX_JSON, pack, parse, unpack
from artflow.errors import ArtflowError


def test_a_message_comes_out_as_it_went_in() -> None:
    header = {"status": "next_frame", "prompt": "一只猫 🐈", "steps": 2}
    assert unpack(pack(header, b"\xff\xd8picture")) == (header, b"\xff\xd8picture")
    assert unpack(pack({})) == ({}, b"")


def test_the_length_is_four_bytes_big_endian() -> None:
    assert pack({"a": 1}, b"x") == b'\x00\x00\x00\x08{"a": 1}x'


@pytest.mark.parametrize(
    ("message", "code", "words"),
    [
        (b"", "bad_message", "0 bytes"),
        (b"\x00\x00\x00", "bad_message", "3 bytes"),
        (struct.pack(">I", 100) + b"{}", "bad_message", "should have 100 bytes, but only 2 follow"),
        (struct.pack(">I", 2**32 - 1) + b"{}", "message_too_large", f"at most {MAX_JSON}"),
        (struct.pack(">I", 3) + b"{}}", "bad_message", "not JSON"),
        (struct.pack(">I", 2) + b"[]", "bad_message", "must be an object"),
        (struct.pack(">I", 4) + b"\xff\xfe{}", "bad_message", "not JSON"),
        (pack({}).replace(b"{}", b'{"steps": NaN}').replace(b"\x02", b"\x0e", 1), "bad_message", "NaN is not"),
    ],
)
def test_each_broken_message_is_told_what_is_wrong(message: bytes, code: str, words: str) -> None:
    with pytest.raises(ArtflowError, match=words) as caught:
        unpack(message)
    assert caught.value.code == code


DEEP = '{"a":' * 3000 + "1" + "}" * 3000


UNANSWERABLE = ['{"prompt": "\\ud83d"}', '{"\\udc00": 1}', DEEP, '{"a": Infinity}', '{"a": -Infinity}']


@pytest.mark.parametrize("text", UNANSWERABLE)
def test_json_that_could_not_be_answered_is_refused(text: str) -> None:
    """Half a surrogate pair cannot be sent back in an error or a recipe."""
    with pytest.raises(ArtflowError) as caught:
        parse(text)
    assert caught.value.code == "bad_message"


def test_huge_json_is_refused_before_it_is_read() -> None:
    with pytest.raises(ArtflowError, match=f"at most {MAX_JSON}") as caught:
        parse('{"prompt": "' + "x" * 10_000_000 + '"}')
    assert caught.value.code == "message_too_large"
