"""Fixtures of all tests: the one browser of the session (two could not share its event loop)."""

from tests.support.browser import browser, camera_video, page  # noqa: F401
