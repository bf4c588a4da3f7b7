"""Logs: JSON lines in rotating files (5 MB, three kept), with the session or job a line is about."""

from __future__ import annotations

import json
import logging
import logging.handlers
import time
from typing import Any

from artflow.settings import LogSettings

FACTS = ("session", "job", "mode", "model", "code", "prompt")  # what `extra=` may bring into a line


class JsonLines(logging.Formatter):
    """One JSON object a record."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as a line."""
        line: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {name: getattr(record, name) for name in FACTS if hasattr(record, name)}
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def about_prompt(prompt: str, settings: LogSettings) -> dict[str, str]:
    """What a line says of a prompt: nothing, unless the operator wants prompts in the log."""
    return {"prompt": prompt} if settings.prompts else {}


def set_up(settings: LogSettings) -> None:
    """Send ArtFlow's own log to ``artflow.log`` in its folder and warnings to the console; without one, all there."""
    root = logging.getLogger("artflow")
    root.setLevel(settings.level)
    root.propagate = False
    for handler in list(root.handlers):
        root.removeHandler(handler)
        handler.close()
    console = logging.StreamHandler()
    root.addHandler(console)
    if settings.folder is None:
        console.setFormatter(JsonLines())
    else:
        console.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
        console.setLevel(logging.WARNING)
        settings.folder.mkdir(parents=True, exist_ok=True)
        file = logging.handlers.RotatingFileHandler(
            settings.folder / "artflow.log",
            maxBytes=5_000_000,
            backupCount=3,
            encoding="utf-8",
            errors="backslashreplace",  # half an emoji can be written in JSON, and in no file
        )
        file.setFormatter(JsonLines())
        root.addHandler(file)
