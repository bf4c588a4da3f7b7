"""Logs: JSON lines in rotating files."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from logging.handlers import RotatingFileHandler
from pathlib import Path

import pytest

from artflow.log import set_up
from artflow.settings import LogSettings


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    """ArtFlow's logger, put back as it was."""
    root = logging.getLogger("artflow")
    before = root.level, root.propagate, list(root.handlers)
    yield root
    for handler in root.handlers:
        handler.close()
    root.setLevel(before[0])
    root.propagate, root.handlers = before[1], before[2]


def test_a_line_is_an_object_with_its_session_or_job(root: logging.Logger, tmp_path: Path) -> None:
    set_up(LogSettings(folder=tmp_path))
    logging.getLogger("artflow.engine").info("a step of %d rows", 3, extra={"session": "abc", "unknown": "left out"})
    try:
        raise ValueError("broken")
    except ValueError:
        root.exception("failed", extra={"job": "j1"})
    root.debug("not at this level")
    first, second = [json.loads(line) for line in (tmp_path / "artflow.log").read_text().splitlines()]
    assert first.pop("time").endswith("Z")
    assert first == {"level": "INFO", "logger": "artflow.engine", "message": "a step of 3 rows", "session": "abc"}
    assert second["job"] == "j1" and "ValueError: broken" in second["error"]


def test_files_rotate_at_5_mb_and_three_are_kept(root: logging.Logger, tmp_path: Path) -> None:
    set_up(LogSettings(folder=tmp_path / "new" / "folder"))
    (file,) = [handler for handler in root.handlers if isinstance(handler, RotatingFileHandler)]
    assert (file.maxBytes, file.backupCount) == (5_000_000, 3)
    assert Path(file.baseFilename) == tmp_path / "new" / "folder" / "artflow.log"


def test_setting_up_again_does_not_write_twice(root: logging.Logger, tmp_path: Path) -> None:
    set_up(LogSettings(folder=tmp_path))
    set_up(LogSettings(folder=tmp_path, level="WARNING"))
    root.warning("once")
    root.info("not at this level")
    assert len((tmp_path / "artflow.log").read_text().splitlines()) == 1


def test_without_a_folder_all_goes_to_the_console(root: logging.Logger, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    set_up(LogSettings(folder=None, level="DEBUG"))
    root.debug("a detail", extra={"session": "abc"})
    assert list(tmp_path.iterdir()) == []
    line = json.loads(capsys.readouterr().err)
    assert (line["level"], line["message"], line["session"]) == ("DEBUG", "a detail", "abc")


def test_a_prompt_that_no_file_can_hold_costs_no_line(root: logging.Logger, tmp_path: Path) -> None:
    set_up(LogSettings(folder=tmp_path))
    root.info("a new prompt", extra={"prompt": "half an emoji \ud83d"})
    (line,) = (tmp_path / "artflow.log").read_text().splitlines()
    assert json.loads(line)["prompt"].startswith("half an emoji")
