"""Which networks can steer a model, and how rows with and without control share a call."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers import ControlNetModel
from safetensors.torch import save_file

from artflow.engine.request import Row
from artflow.engine.runner import Runner
from artflow.errors import ArtflowError
from artflow.models.catalog import Source
from artflow.models.control import load_network
from artflow.models.control_catalog import load_controls, network_id
from artflow.models.extras import NONE, Control, Extras
from tests.parity.test_control import runner_of
from tests.support.control import lines, load, networks, tiny_controls  # noqa: F401 - a fixture


@pytest.fixture
def runner(tiny_controls: None) -> Runner:  # noqa: F811
    return runner_of()


def rows(runner: Runner, extras: list[Extras]) -> list[Row]:
    generator = torch.Generator().manual_seed(0)
    prepared = [runner.conditions.encode(prompt) for prompt in ("a fox", "a house", "a boat", "rain")]
    return [
        Row(torch.randn(4, 8, 8, generator=generator), torch.tensor(float(200 + 150 * i)), inputs, extra)
        for i, (inputs, extra) in enumerate(zip(prepared, extras, strict=True))
    ]


def control(name: str, weight: float = 1.0, seed: int = 0, **more: bool) -> Control:
    hint = torch.from_numpy(lines(seed=seed)).permute(2, 0, 1).float() / 255
    return Control(str(networks()[name]), hint, weight, **more)


def test_rows_of_a_call_are_as_if_alone(runner: Runner) -> None:
    """With one, two and no networks, an adapter, soft weights and different maps, in one call."""
    load(runner, "canny", "scribble", "color")
    extras = [
        Extras(controls=(control("canny", 0.8),)),
        NONE,
        Extras(controls=(control("canny", 0.5, 1, soft=True), control("scribble"), control("canny", 0.2, 2))),
        Extras(controls=(control("adapter"),)),
    ]
    together = rows(runner, extras)
    for row, output in zip(together, runner.predict(together), strict=True):
        torch.testing.assert_close(output, runner.predict([row])[0], atol=1e-5, rtol=1e-5)
    plain = runner.predict(rows(runner, [NONE] * 4))
    mixed = runner.predict(together)
    assert (mixed[1] - plain[1]).abs().max() < 1e-6
    assert all((mixed[i] - plain[i]).abs().max() > 0.01 for i in (0, 2, 3))


def test_weights_scale_what_a_network_gives_and_are_counted(runner: Runner) -> None:
    before = runner.model.memory_bytes
    load(runner, "canny")
    assert runner.model.memory_bytes > before
    none, weak, full = (
        runner.predict(rows(runner, [Extras(controls=(control("canny", weight),)), NONE, NONE, NONE]))[0]
        for weight in (0.0, 0.1, 1.0)
    )
    plain = runner.predict(rows(runner, [NONE] * 4))[0]
    torch.testing.assert_close(none, plain, atol=1e-6, rtol=0)
    assert (weak - plain).norm() < 0.5 * (full - plain).norm()


def test_a_network_of_another_family_is_refused_by_its_config(runner: Runner) -> None:
    with pytest.raises(ArtflowError, match=r"ControlNet for Tiny XL; tiny is of Tiny") as caught:
        load(runner, "depth")
    assert caught.value.code == "model_load_failed"
    assert not runner.model.control_networks


def test_unknown_kinds_are_named_with_those_there_are(runner: Runner) -> None:
    with pytest.raises(ArtflowError, match=r"no control 'pose'; for it there are canny, scribble, color, depth"):
        runner.controls.ready(["pose"], lambda: None)


def test_a_single_file_in_the_layout_of_diffusers(runner: Runner, tmp_path: Path) -> None:
    network = ControlNetModel.from_unet(runner.model.unet)
    save_file(network.state_dict(), tmp_path / "lines.safetensors")
    source = Source(file=tmp_path / "lines.safetensors")
    loaded = load_network(source, runner.model)
    expected = network.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in loaded.state_dict().items())
    save_file({"other.weight": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(ArtflowError, match="not a ControlNet"):
        load_network(Source(file=tmp_path / "other.safetensors"), runner.model)


def test_the_catalogue_has_the_kinds_of_the_field_for_sd15() -> None:
    catalog = load_controls()
    assert {"canny", "openpose", "depth", "scribble", "lineart", "softedge", "normal", "tile"} <= set(
        catalog.kinds_of("sd15")
    )
    assert {"canny", "depth"} <= set(catalog.kinds_of(catalog.family_of(2048)))
    source = catalog.get("canny").source("sd15")
    assert source is not None and network_id(source) == "lllyasviel/control_v11p_sd15_canny"


def test_only_the_networks_that_were_asked_for_last_are_kept(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("artflow.engine.control.MOST_KEPT", 2)
    load(runner, "canny")
    load(runner, "scribble")
    load(runner, "canny")
    load(runner, "color")
    color = load_controls().get("color").source(runner.model.control_family)
    assert color is not None
    assert set(runner.model.control_networks) == {str(networks()["canny"]), network_id(color)}
    gone = rows(runner, [Extras(controls=(control("scribble"),)), NONE, NONE, NONE])
    with pytest.raises(ArtflowError, match="has made room for other networks; ask for it again"):
        runner.predict(gone)
