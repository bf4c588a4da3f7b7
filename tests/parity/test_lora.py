"""LoRAs against diffusers' ``load_lora_weights`` and ``set_adapters``: same weights, seed, sampler, equal to 1e-4."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DiffusionPipeline, StableDiffusionPipeline, StableDiffusionXLPipeline

from artflow.engine.image_spec import ImageSpec
from artflow.engine.runner import Runner
from artflow.engine.sampling import SamplingPlan, SamplingState, make_sampler
from artflow.images import Size
from artflow.models.catalog import ModelSpec
from artflow.models.loader import load_model
from artflow.models.model import Condition
from artflow.models.packing import pack
from artflow.prompts.loras import LoraUse
from tests.support.loras import write_lora
from tests.support.models import tiny_folder

SIZE, SEED, STEPS = Size(64, 64), 11, 3
SETS = [{}, {"one": 0.8}, {"one": -0.5, "two": 1.2}]


class Both:
    """A tiny model twice, ours and in diffusers' pipeline, with the same two LoRAs."""

    def __init__(self, family: str, folder: Path) -> None:
        source = tiny_folder(family=family)
        spec = ModelSpec(id="tiny", source={"folder": str(source)}, width=64, height=64)
        model = load_model(spec, device="cpu", dtype=torch.float32)
        towers = dict(zip(("text_encoder", "text_encoder_2"), model.text_encoders))
        write_lora(folder / "one.safetensors", {"unet": model.unet, **towers}, seed=1, alphas=(2.0,), format="kohya")
        write_lora(folder / "two.safetensors", {"unet": model.unet}, seed=2, ranks=(2, 8))
        model.lora_folder = folder
        pack(model)
        self.runner = Runner(model)
        kind: Any = StableDiffusionPipeline if family == "sd" else StableDiffusionXLPipeline
        plain = {} if family == "sdxl" else {"safety_checker": None, "requires_safety_checker": False}
        self.theirs: DiffusionPipeline = kind.from_pretrained(source, **plain)
        self.theirs.set_progress_bar_config(disable=True)
        for name in ("one", "two"):
            self.theirs.load_lora_weights(folder, weight_name=f"{name}.safetensors", adapter_name=name)

    def reference(self, prompt: str, loras: dict[str, float]) -> torch.Tensor:
        """The latent that diffusers makes."""
        (self.theirs.enable_lora if loras else self.theirs.disable_lora)()
        if loras:
            self.theirs.set_adapters(list(loras), list(loras.values()))
        self.theirs.scheduler = make_sampler("Euler", self.runner.model.scheduler_config)
        generator = torch.Generator().manual_seed(SEED)
        with torch.no_grad():
            return self.theirs(
                prompt, negative_prompt="blurry", num_inference_steps=STEPS, guidance_scale=2.0, width=64, height=64,
                generator=generator, output_type="latent",
            ).images  # fmt: skip

    def state(self, prompt: str, loras: dict[str, float]) -> SamplingState:
        """Our picture before its first step."""
        uses = tuple(LoraUse(name, weight) for name, weight in loras.items())
        spec = ImageSpec({}, SIZE, SEED, prompt, "blurry", STEPS, 2.0, "Euler", loras=uses)
        more = (("loras", tuple(loras.items())),) if loras else ()
        prepared = self.runner.model.prepare([Condition(prompt, more=more), Condition("blurry", True, more)])
        return SamplingState(SamplingPlan.of(spec, self.runner, *prepared), self.runner, torch.empty(0))


@pytest.mark.parametrize("family", ["sd", "sdxl"])
def test_people_with_other_loras_share_calls_and_each_gets_what_diffusers_makes(family: str, tmp_path: Path) -> None:
    both = Both(family, tmp_path)
    states = [both.state(f"a fox {i}", loras) for i, loras in enumerate(SETS)]
    with torch.inference_mode():
        while not states[0].done:  # all rows in one call, with their negative ones
            rows = [state.rows() for state in states]
            outputs = both.runner.predict([row for those in rows for row in those])
            SamplingState.advance(states, list(outputs.split([len(those) for those in rows])))
    for i, (state, loras) in enumerate(zip(states, SETS, strict=True)):
        torch.testing.assert_close(state.latent, both.reference(f"a fox {i}", loras), atol=1e-4, rtol=1e-4)
