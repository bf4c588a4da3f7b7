"""What the safety check refuses: the person is told on the socket, and no picture travels."""

from __future__ import annotations

from pathlib import Path

from tests.api.client import jpeg, serve
from tests.support.live import noisy
from tests.support.safety import build_checker


def test_a_hidden_picture_is_an_error_of_its_frame_and_the_socket_goes_on(tmp_path: Path) -> None:
    everything = build_checker(tmp_path / "checker", noisy(1), alike=-1.1)  # no cosine is below -1
    with serve(ARTFLOW_SAFETY__CHECK="true", ARTFLOW_SAFETY__MODEL_ID=str(everything)) as served:
        person = served.person("canvas").greeted()
        for frame in (1, 2):
            told, picture = person.answer(jpeg(200, 30, 30), frame=frame)
            assert (told["status"], told["code"], told["frame"]) == ("error", "hidden", frame)
            assert "safety check" in told["message"] and not picture
        served.send_everybody_home()
