"""Frames with a hole: only what is in it is made anew, and people with and without holes share calls."""

from __future__ import annotations

import random as dice
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from artflow.engine.engine import Engine
from artflow.engine.frame import Frame, InpaintRegion
from artflow.engine.params import LiveParams
from artflow.engine.quality import QualityController
from artflow.engine.runner import Runner
from artflow.engine.stream_policy import Seen, StreamPolicy
from artflow.engine.stream_step import InpaintConditioning, StreamState
from artflow.images import Picture, Size
from artflow.models.info import ModelInfo
from tests.engine.test_stream_step import CFG_TYPES, SHAPE, begun, make_plan, random, step
from tests.support.live import DRAWING, SIDE, STREAM, Person, difference, held, noisy, plain
from tests.support.models import tiny_runner


def preprocess(picture: np.ndarray, params: LiveParams, model: ModelInfo) -> Seen:
    """See-through is the hole, the model is shown all of the picture, and people see what it makes half as bright."""
    colours, mask = picture[..., :3], 255 - picture[..., 3]
    masked_image = np.where(mask[..., None] > 0, np.uint8(127), colours) if model.inpaints else None
    return Seen(colours, InpaintRegion(mask, masked_image), lambda made: made // 2)


HOLED = StreamPolicy("inpaint", pipelined=False, latest_only=False, preprocess=preprocess, keep_alpha=True)
LATEST = replace(HOLED, latest_only=True)
LEFT = np.zeros((SIDE, SIDE), np.uint8)
LEFT[:, : SIDE // 2] = 255


def holed(picture: Picture, mask: np.ndarray = LEFT) -> np.ndarray:
    return np.dstack([picture, 255 - mask])


# -- the arithmetic -----------------------------------------------------------------------------------------------


def mask_of_a_latent() -> torch.Tensor:
    mask = torch.zeros(SHAPE[1:])
    mask[2:6, 3:7] = 1
    return mask


def test_each_step_equals_the_blend_worked_out_by_hand() -> None:
    """Noise the source, step, put the source back outside of the region, noise it for the next step."""
    plan, source, mask = make_plan(steps=3), random(*SHAPE, seed=5), mask_of_a_latent()
    state = begun(plan, source, InpaintConditioning(source, mask))
    s = plan.schedule
    noisy_one = s.alpha[0] * source + s.sigma[0] * plan.noise[0]
    for i in range(3):
        torch.testing.assert_close(state.latent, noisy_one)
        output = random(*SHAPE, seed=20 + i)
        step(state, output[None])
        clean = (noisy_one - s.sigma[i] * output) / s.alpha[i]
        denoised = s.c_out[i] * clean + s.c_skip[i] * noisy_one
        denoised = mask * denoised + (1 - mask) * source
        if i < 2:
            noisy_one = s.alpha[i + 1] * denoised + s.sigma[i + 1] * plan.noise[i + 1]
    torch.testing.assert_close(state.finished, denoised)


@pytest.mark.parametrize("cfg_type", CFG_TYPES)
def test_outside_the_region_every_step_is_the_noised_source_and_the_last_the_source(cfg_type: str) -> None:
    plan = make_plan(steps=3, cfg_type=cfg_type, guidance=2.0, delta=0.8)
    source, mask = random(*SHAPE, seed=5), mask_of_a_latent()
    state, s = begun(plan, source, InpaintConditioning(source, mask)), plan.schedule
    for i in range(3):
        step(state, torch.stack([random(*SHAPE, seed=30 + i + j) for j in range(len(state.rows()))]))
        if i < 2:
            known = s.alpha[i + 1] * source + s.sigma[i + 1] * plan.noise[i + 1]
            torch.testing.assert_close(state.latent[:, mask == 0], known[:, mask == 0])
    assert torch.equal(state.finished[:, mask == 0], source[:, mask == 0])
    assert (state.finished - source)[:, mask == 1].abs().min() > 0


def test_a_region_of_everything_is_a_picture_without_one() -> None:
    plan, source = make_plan(cfg_type="self", guidance=1.5), random(*SHAPE)
    all_of_it = begun(plan, source, InpaintConditioning(source, torch.ones(SHAPE[1:])))
    none = begun(plan, source)
    for _ in range(3):
        output = random(1, *SHAPE, seed=8)
        StreamState.advance([all_of_it, none], [output, output])
        torch.testing.assert_close(all_of_it.latent, none.latent)


def test_an_inpaint_unet_is_shown_the_mask_and_the_rest_and_left_alone() -> None:
    plan, source, mask = make_plan(), random(*SHAPE), mask_of_a_latent()
    inpaint = InpaintConditioning(source, mask, masked_image=random(*SHAPE, seed=3))
    state, plain_state = begun(plan, source, inpaint), begun(plan, source)
    (row,) = state.rows()
    assert torch.equal(row.inputs["inpaint"], torch.cat([mask[None], inpaint.masked_image]))
    output = random(1, *SHAPE, seed=8)
    StreamState.advance([state, plain_state], [output, output])
    assert torch.equal(state.latent, plain_state.latent)


@pytest.mark.parametrize("size", [Size(64, 64), Size(512, 64), Size(40, 40), Size(8, 8)])
def test_the_thinnest_stroke_reaches_the_latent_at_any_size(runner: Runner, size: Size) -> None:
    mask = np.zeros((100, 150), np.uint8)
    mask[60, 20] = 255
    latent = runner.latent_mask(mask, size)
    assert latent.shape == (size.height // 8, size.width // 8)
    assert latent[int(0.6 * latent.shape[0]), int(20 / 150 * latent.shape[1])] == 1
    assert 1 <= latent.sum() <= max(1, latent.numel() // 4)


# -- sessions -----------------------------------------------------------------------------------------------------


class Sees(Runner):
    """A runner that keeps the latents it decodes."""

    def decode(self, latents):
        self.decoded = latents.clone()
        return super().decode(latents)


def test_what_is_decoded_is_the_frame_itself_outside_the_hole(engine: Engine, runner: Runner) -> None:
    sees = Sees(runner.model)
    person = Person(engine, sees, HOLED, steps=3, strength=1.0)
    person.answer(holed(noisy(1)))
    itself = sees.encode([noisy(1)])[0]
    half = itself.shape[-1] // 2
    torch.testing.assert_close(sees.decoded[0, :, :, half:], itself[:, :, half:])
    assert (sees.decoded[0, :, :, :half] - itself[:, :, :half]).abs().mean() > 0.1


def test_people_see_the_whole_and_the_model_its_own(engine: Engine, runner: Runner) -> None:
    result = Person(engine, runner, HOLED).answer(holed(noisy(1)))
    assert (result.whole() == result.picture // 2).all()
    other = Person(engine, runner, DRAWING).answer(noisy(1))
    assert other.whole() is other.picture


def test_a_frame_with_a_hole_is_made_at_its_own_size(engine: Engine, runner: Runner) -> None:
    person = Person(engine, runner, HOLED)
    for height, width in ((64, 96), (96, 64), (64, 64)):
        frame = np.full((height, width, 4), 90, np.uint8)
        frame[..., 3] = 0
        result = person.answer(frame)
        assert result.picture.shape == (height, width, 3)
        assert (result.recipe["height"], result.recipe["width"]) == (height, width)


def test_under_load_holes_shrink_with_their_picture(engine: Engine, runner: Runner) -> None:
    person = Person(engine, runner, HOLED, priority="latency", steps=2)
    person.engine_session._quality = QualityController(target=0.0, window=2, patience=1)  # all is too long
    wide = np.repeat(np.repeat(holed(noisy(1)), 2, 0), 4, 1)  # 256 x 128
    sizes = {person.answer(wide).picture.shape[:2] for _ in range(12)}
    assert (64, 128) in sizes and not person.errors


def test_an_inpaint_unet_gets_both_pictures_in_one_call(engine: Engine) -> None:
    model = replace(tiny_runner().model)
    config = dict(model.unet.config) | {"in_channels": 9}
    torch.manual_seed(0)
    model.unet = type(model.unet).from_config(config).eval()
    sees = Sees(model)
    encoded: list[int] = []
    encode = sees.encode
    sees.encode = lambda pictures: encoded.append(len(pictures)) or encode(pictures)  # type: ignore[method-assign]
    result = Person(engine, sees, HOLED, steps=2).answer(holed(noisy(1)))
    assert result.picture is not None, result.error
    assert encoded == [2]


def test_settings_alone_make_the_hole_anew(engine: Engine, runner: Runner) -> None:
    person = Person(engine, runner, LATEST)
    first = person.answer(holed(noisy(1)))
    person.change(prompt="something else", seed=9)
    assert person.session.repeat()
    second = person.wait_for(2)[-1]
    assert (second.frame, second.recipe["prompt"]) == (first.frame, "something else")
    assert difference(first.picture, second.picture) > 10


def test_what_waits_is_cut_out_anew_under_new_settings(engine: Engine, runner: Runner) -> None:
    """A hole is cut when its frame comes in; a frame that waits must still show settings that came after it."""
    seen: list[str] = []

    def looking(picture: np.ndarray, params: LiveParams, model: ModelInfo) -> Seen:
        hole = preprocess(picture, params, model)
        return hole._replace(composite=lambda made: seen.append(params.prompt) or made)

    person = Person(engine, runner, replace(LATEST, preprocess=looking), prompt="before")
    with held(engine):
        person.send(holed(noisy(1)))
        person.change(prompt="after")
        assert person.session.repeat()
    first, result = person.wait_for(2)
    assert first.dropped  # the picture comes once
    result.whole()
    assert seen == ["after"] and result.recipe["prompt"] == "after"


def test_a_new_hole_is_never_taken_for_the_same_picture(engine: Engine, runner: Runner) -> None:
    person = Person(engine, runner, LATEST, enable_similar_image_filter=True)
    person.answer(holed(noisy(1)))
    assert not person.answer(holed(noisy(1), LEFT[:, ::-1])).skipped


# -- isolation ----------------------------------------------------------------------------------------------------


def wishes(seed: int) -> tuple[StreamPolicy, dict[str, Any], list[np.ndarray]]:
    """One person: every third has holes, each of a shape of its own; the others stream or draw."""
    policy = (HOLED, STREAM, DRAWING)[seed % 3]
    cfg_type = CFG_TYPES[seed % 4]
    params = {"prompt": f"person {seed}", "seed": seed, "steps": 1 + seed % 2, "cfg_type": cfg_type,
              "guidance_scale": 1.5, "strength": 0.9}  # fmt: skip
    picture = plain(*[dice.Random(seed).randrange(256) for _ in range(3)])
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[: 16 + 4 * seed] = 255
    return policy, params, [holed(picture, mask) if policy is HOLED else picture] * 4


def test_people_with_holes_and_without_share_calls_and_nothing_else(engine: Engine, runner: Runner) -> None:
    people = {seed: Person(engine, runner, wishes(seed)[0], **wishes(seed)[1]) for seed in range(9)}
    with held(engine):
        for seed, person in people.items():
            person.send(*wishes(seed)[2])
    for seed, person in people.items():
        person.wait_for(len(wishes(seed)[2]))
    assert engine.metrics.rows > 3 * engine.metrics.calls
    for seed, person in people.items():
        policy, params, frames = wishes(seed)
        own = Engine()
        alone = Person(own, runner, policy, **params)
        alone.send(*frames)
        alone.wait_for(len(frames))
        own.close()
        assert not person.errors
        for ours, theirs in zip(person.pictures, alone.pictures, strict=True):
            assert difference(ours, theirs) <= 2
    for a in people:  # and a mix-up would have shown: no two people's pictures are alike
        assert all(difference(people[a].pictures[0], people[b].pictures[0]) > 20 for b in people if b < a)


def test_a_frame_without_a_picture_has_nothing_to_encode() -> None:
    assert Frame(0, None, 0.0).pictures(Size(64, 64)) == []
