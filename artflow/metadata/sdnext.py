"""SD.Next's text: A1111's, with ``|`` between the facts: ``Steps: 20| Size: 1024x768| Sampler: Euler a| ...``."""

from __future__ import annotations

import re

from artflow.metadata.a1111 import MAX_FACTS, dict_of_first, interpreted, last
from artflow.metadata.values import Metadata

FACTS = re.compile(r"^[ \t]*Steps:[ \t]*\d{1,9}[ \t]*\|", re.MULTILINE)


def read(text: str) -> Metadata | None:
    """The parameters in a ``parameters`` text; None where its facts are not separated as SD.Next does it."""
    text = text.replace("\r\n", "\n").strip()
    begin = last(FACTS, text)
    if begin is None or len(text) - begin.start() > MAX_FACTS:
        return None
    pairs = (part.partition(":") for part in text[begin.start() :].split("|"))
    facts = dict_of_first((key.strip(), value.strip().strip('"')) for key, colon, value in pairs if colon)
    return interpreted("SD.Next", text[: begin.start()], facts)
