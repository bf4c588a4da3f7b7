"""A stack of filters on a live session: over the picture that is sent, in the recipe, and refused when it is wrong."""

from __future__ import annotations

import pytest

from tests.api.client import Served, jpeg, opened

RED = jpeg(200, 20, 20)


@pytest.mark.parametrize("mode", ["realtime", "canvas"])
def test_filters_are_over_what_is_sent_and_can_be_taken_off_again(server: Served, mode: str) -> None:
    with server.person(mode).greeted() as person:
        _, plain = person.answer(RED, seed=3, steps=1)
        header, inverted = person.answer(RED, filters=[{"filter": "invert"}])
        assert header["recipe"]["filters"] == [{"filter": "invert"}]
        assert abs(opened(plain).astype(int) + opened(inverted) - 255).mean() < 4
        header, again = person.answer(RED, filters=None)
        assert "filters" not in header["recipe"] and abs(opened(plain).astype(int) - opened(again)).mean() < 2


def test_a_wrong_stack_is_refused_and_the_session_goes_on(server: Served) -> None:
    with server.person("canvas").greeted() as person:
        header, _ = person.answer(RED, filters=[{"filter": "swirl"}])
        assert header["code"] == "bad_filter" and "swirl" in header["message"]
        assert person.answer(RED)[1]


def test_a_stack_that_makes_a_picture_too_large_is_an_error_of_its_frame(server: Served) -> None:
    with server.person("canvas").greeted() as person:
        header, _ = person.answer(RED, filters=[{"filter": "resize", "parameters": {"width": 8192}}])
        assert header["code"] == "bad_parameter" and "1024 pixels a side at most" in header["message"]
        grown = [{"filter": "resize"}, *[{"filter": "rotate", "parameters": {"angle": 45}}] * 2]
        header, _ = person.answer(RED, filters=grown)
        assert header["code"] == "picture_too_large" and "Rotate" in header["message"]
        assert person.answer(RED, filters=None)[1]
