"""Settings: ``presets/default.yaml``, then ``.env``, then the environment; what is wrong names itself."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from artflow.errors import ArtflowError
from artflow.settings import Settings, load_settings

ROOT = Path(__file__).resolve().parents[1]


def load(tmp_path: Path, env_file: str = "", yaml: str | None = None, **environ: str) -> Settings:
    (tmp_path / ".env").write_text(env_file)
    default = ROOT / "presets" / "default.yaml"
    if yaml is not None:
        default = tmp_path / "default.yaml"
        default.write_text(yaml)
    return load_settings(default, tmp_path / ".env", environ)


def refused(tmp_path: Path, *args: str, **environ: str) -> str:
    """The sentence that the start ends with."""
    with pytest.raises(ArtflowError) as caught:
        load(tmp_path, *args, **environ)
    assert caught.value.code == "bad_settings"
    return caught.value.message


def test_the_defaults_are_those_that_people_know(tmp_path: Path) -> None:
    settings = load(tmp_path)
    assert settings.realtime.performance.model_dump() == {
        "enable_similar_image_filter": True, "similar_image_filter_threshold": 0.98,
        "similar_image_filter_max_skip_frame": 10, "max_fps": 0, "jpeg_quality": 85,
    }  # fmt: skip
    canvas = settings.canvas
    assert (canvas.coalesce, canvas.performance.max_fps, canvas.performance.jpeg_quality) == (False, 0, 95)
    assert not canvas.performance.enable_similar_image_filter
    assert settings.model.model_id == "auto"
    assert not settings.logging.prompts


def test_later_sources_win(tmp_path: Path) -> None:
    name = "ARTFLOW_REALTIME__PERFORMANCE__MAX_FPS"
    assert load(tmp_path, f"{name}=10").realtime.performance.max_fps == 10
    assert load(tmp_path, f"{name}=10", **{name: "20"}).realtime.performance.max_fps == 20


def test_older_names_still_work(tmp_path: Path) -> None:
    settings = load(
        tmp_path,
        STREAMDIFFUSION_MODEL__MODEL_ID="some/model",
        STREAMDIFFUSION_PERFORMANCE__JPEG_QUALITY="70",
        STREAMDIFFUSION_PIPELINE__WIDTH="640",
        ARTFLOW_PIPELINE__USE_TINY_VAE="false",
        STREAMDIFFUSION_REALTIME__PERFORMANCE__MAX_FPS="5",
    )
    assert settings.model.model_id == "some/model"
    assert settings.canvas.performance.jpeg_quality == 70, "the earlier project's plain group was the canvas's"
    assert int(settings.realtime.generation["width"]) == int(settings.canvas.generation["width"]) == 640
    assert not settings.model.use_tiny_vae
    assert settings.realtime.performance.max_fps == 5


def test_the_earlier_projects_whole_example_works(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Its .env.example, key for key; what says nothing here is named, and what is so instead."""
    settings = load(
        tmp_path,
        """
        STREAMDIFFUSION_MODEL__MODEL_ID=stabilityai/sd-turbo
        STREAMDIFFUSION_MODEL__ACCELERATION=xformers
        STREAMDIFFUSION_MODEL__USE_TINY_VAE=true     # with a comment
        STREAMDIFFUSION_MODEL__USE_LCM_LORA=true
        STREAMDIFFUSION_SERVER__HOST=0.0.0.0
        STREAMDIFFUSION_SERVER__PORT=8000
        STREAMDIFFUSION_SERVER__MAX_QUEUE_SIZE=0
        STREAMDIFFUSION_SERVER__TIMEOUT=0
        STREAMDIFFUSION_SERVER__USE_SAFETY_CHECKER=true
        STREAMDIFFUSION_LOG_LEVEL=CRITICAL
        STREAMDIFFUSION_CANVAS_GENERATION__STEPS=3
        STREAMDIFFUSION_CANVAS_GENERATION__CFG_SCALE=2.0
        STREAMDIFFUSION_CANVAS_GENERATION__DENOISE=0.3
        STREAMDIFFUSION_CANVAS_GENERATION__SEED=502923423887318
        STREAMDIFFUSION_CANVAS_GENERATION__PROMPT=
        STREAMDIFFUSION_CANVAS_PERFORMANCE__JPEG_QUALITY=90
        STREAMDIFFUSION_CANVAS_PERFORMANCE__WARMUP=10
        STREAMDIFFUSION_REALTIME_GENERATION__WIDTH=512
        STREAMDIFFUSION_REALTIME_PERFORMANCE__MAX_FPS=30
        STREAMDIFFUSION_TXT2IMG_GENERATION__GUIDANCE_SCALE=7.5
        STREAMDIFFUSION_TXT2IMG_GENERATION__DENOISE=0.0
        STREAMDIFFUSION_TXT2IMG_PERFORMANCE__JPEG_QUALITY=90
        """,
    )
    assert settings.canvas.generation == {
        "steps": "3", "guidance_scale": "2.0", "strength": "0.3", "seed": "502923423887318", "prompt": "",
    }  # fmt: skip
    assert (settings.canvas.performance.jpeg_quality, settings.model.warmup) == (90, 10)
    assert settings.realtime.performance.max_fps == 30
    assert settings.text.generation == {"guidance_scale": "7.5"}
    assert settings.safety.check and settings.logging.level == "CRITICAL" and settings.server.max_queue_size == 0
    assert "`server.port` (value '8000') is not used: GRADIO_SERVER_PORT says it" in caplog.text
    assert settings.model.use_lcm_lora
    assert len(caplog.records) == 4, "host, port, txt2img's denoise and performance"


def test_the_newer_name_wins_over_the_older_one_of_the_same_source(tmp_path: Path) -> None:
    settings = load(tmp_path, ARTFLOW_MODEL__MODEL_ID="new/one", STREAMDIFFUSION_MODEL__MODEL_ID="old/one")
    assert settings.model.model_id == "new/one"


def test_an_older_name_does_not_win_over_a_later_source(tmp_path: Path) -> None:
    older = "STREAMDIFFUSION_PERFORMANCE__MAX_FPS=5"
    settings = load(tmp_path, older, ARTFLOW_CANVAS__PERFORMANCE__MAX_FPS="15")
    assert settings.canvas.performance.max_fps == 15


def test_groups_may_come_as_json_and_leave_the_rest_as_it_was(tmp_path: Path) -> None:
    settings = load(tmp_path, ARTFLOW_REALTIME__PERFORMANCE='{"max_fps": 12}', ARTFLOW_TEXT__GENERATION='{"steps": 3}')
    assert settings.realtime.performance.max_fps == 12
    assert settings.realtime.performance.jpeg_quality == 85
    assert settings.text.generation == {"steps": 3}


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("MODEL__MODLE_ID", "x", ["`model.modle_id` does not exist", "'x'", "allowed are", "model_id"]),
        ("FOO", "1", ["`foo` does not exist", "'1'", "realtime, canvas"]),
        ("MODEL__DEVICE", "tpu", ["`model.device` cannot be 'tpu'", "'auto', 'cuda', 'mps' or 'cpu'"]),
        ("REALTIME__PERFORMANCE__MAX_FPS", "fast", ["`realtime.performance.max_fps` cannot be 'fast'", "number"]),
        ("REALTIME__PERFORMANCE__JPEG_QUALITY", "101", ["jpeg_quality` cannot be '101'", "less than or equal to 100"]),
        ("REALTIME__PERFORMANCE__SIMILAR_IMAGE_FILTER_THRESHOLD", "nan", ["similar_image_filter_threshold"]),
        ("REALTIME__PERFORMANCE__MAX_FPS", "1e-300", ["max_fps` cannot be '1e-300'", "0 is no cap", "at least 0.01"]),
        ("INTERROGATE__LISTS", "/no/such/folder", ["`interrogate.lists` cannot be '/no/such/folder'", "directory"]),
        ("SERVER", "[1]", ["`server` cannot be [1]"]),
    ],
)
def test_what_is_wrong_names_itself_its_value_and_what_is_allowed(
    tmp_path: Path, name: str, value: str, words: list[str]
) -> None:
    for prefix in ("ARTFLOW_", "STREAMDIFFUSION_"):
        message = refused(tmp_path, **{prefix + name: value})
        assert all(word in message for word in words), message
        assert "\n" not in message


def test_null_is_none(tmp_path: Path) -> None:
    assert load(tmp_path, ARTFLOW_LOGGING__FOLDER="null").logging.folder is None


def test_every_mistake_is_told_at_once(tmp_path: Path) -> None:
    message = refused(tmp_path, ARTFLOW_FOO="1", ARTFLOW_MODEL__DEVICE="tpu")
    assert "`foo`" in message and "`model.device`" in message


@pytest.mark.parametrize("yaml", ["model: [", "- a\n- b", "just words", "\0"])
def test_a_broken_file_is_one_sentence(tmp_path: Path, yaml: str) -> None:
    message = refused(tmp_path, "", yaml)
    assert "default.yaml" in message and "\n" not in message


def test_the_app_does_not_start_and_says_why_in_one_sentence(tmp_path: Path) -> None:
    name, value = "ARTFLOW_REALTIME__PERFORMANCE__MAX_FPS", "fast"
    environ = {key: text for key, text in os.environ.items() if not key.startswith(("ARTFLOW_", "STREAMDIFFUSION_"))}
    ended = subprocess.run(
        [sys.executable, str(ROOT / "app.py")], cwd=tmp_path, env=environ | {name: value},
        capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    assert ended.returncode == 1
    (line,) = [text for text in ended.stderr.splitlines() if text.startswith("ArtFlow")]
    assert line.startswith("ArtFlow cannot start: ")
    assert "`realtime.performance.max_fps` cannot be 'fast'" in line
    assert "Traceback" not in ended.stderr


def test_a_list_that_is_no_json_is_told_how_to_be_written() -> None:
    with pytest.raises(ArtflowError, match=r"cannot be 'https://art.example': a list is written in JSON"):
        load_settings(environ={"ARTFLOW_SERVER__ORIGINS": "https://art.example"})
    settings = load_settings(environ={"ARTFLOW_SERVER__ORIGINS": '["https://art.example"]'})
    assert settings.server.origins == ("https://art.example",)
