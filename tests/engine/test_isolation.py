"""The heart of the product: many people on one model, and each gets exactly what they would get alone."""

from __future__ import annotations

import random
import threading
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from artflow.engine.engine import Engine
from artflow.engine.job_request import GeneratedImage
from artflow.engine.runner import Runner
from artflow.engine.sampling import SAMPLERS
from artflow.engine.stream_policy import StreamPolicy
from artflow.images import Picture
from artflow.models.catalog import load_catalog
from artflow.models.loader import load_model
from artflow.modes.text import TextParams, image_specs
from tests.support.jobs import Asked
from tests.support.live import DRAWING, STREAM, Person, difference, noisy, plain

PEOPLE, FRAMES = 16, 6
# Rows in one call are the same numbers as rows in many, but a batch rounds differently.
TOLERANCE = 1  # grey levels

CFG = (("none", 1.0), ("self", 1.4), ("initialize", 1.6), ("full", 2.0))


def wishes(seed: int) -> tuple[StreamPolicy, dict[str, Any], list[Picture]]:
    """What one person is like: mode, settings, and frames of a colour of their own."""
    dice = random.Random(seed)
    cfg_type, guidance = CFG[seed % 4]
    params = {
        "prompt": f"the picture of person {seed}",
        "negative_prompt": f"not {seed}",
        "seed": seed,
        "steps": 1 + seed % 3,
        "strength": dice.choice([0.4, 0.6, 0.9]),
        "cfg_type": cfg_type,
        "guidance_scale": guidance,
        "delta": dice.choice([0.6, 1.0]),
        "width": 96 if seed % 8 == 7 else 64,
    }
    hue = [dice.randrange(256) for _ in range(3)]
    frames = [plain(*hue)] * FRAMES
    return (DRAWING if seed % 2 else STREAM), params, frames


def alone(runner: Runner, seed: int, sent: int) -> list[Picture]:
    """What this person gets with an engine to themselves."""
    policy, params, frames = wishes(seed)
    engine = Engine()
    person = Person(engine, runner, policy, **params)
    person.send(*frames[:sent])
    person.wait_for(sent)
    engine.close()
    return person.pictures


class Watchful(Runner):
    """A runner that looks at each call how late the jobs are."""

    jobs: tuple[Asked, ...] = ()
    latest = 0

    def predict(self, rows):
        self.latest = max([self.latest, *(job.skipped_calls for job in self.jobs if not job.over)])
        return super().predict(rows)


def job_of(runner: Runner, number: int) -> Asked:
    sampler = list(SAMPLERS)[number % len(SAMPLERS)]
    params = TextParams(
        prompt=f"job {number}", negative_prompt="no", sampler=sampler, steps=5, guidance_scale=1.0 + number % 3,
        seed=100 + number, width=64, height=96 if number == 2 else 64, batch_count=1 + number % 2,
    )  # fmt: skip
    return Asked(runner, image_specs(params, runner.model.info, 1024))


def made_alone(runner: Runner, number: int) -> list[GeneratedImage]:
    engine, job = Engine(), job_of(runner, number)
    engine.add(job)
    made = job.wait()
    engine.close()
    return made


@pytest.mark.parametrize("order", [1, 2])
def test_everybody_gets_what_they_would_get_alone(runner: Runner, order: int) -> None:
    """16 people of all kinds join, send and leave in random order beside text jobs, all at once."""
    dice = random.Random(order)
    watchful = Watchful(runner.model)
    engine = Engine(max_rows=16)
    jobs = [job_of(watchful, number) for number in range(4)]
    watchful.jobs = tuple(jobs)
    present: dict[int, Person] = {}
    sent = dict.fromkeys(range(PEOPLE), 0)
    left: dict[int, Person] = {}
    turns = [("frame", seed) for seed in range(PEOPLE) for _ in range(FRAMES)]
    turns += [("leave", seed) for seed in range(0, PEOPLE, 4)] + [("job", number) for number in range(len(jobs))]
    dice.shuffle(turns)
    for what, who in turns:
        if what == "job":
            engine.add(jobs[who])
        elif what == "leave":
            if who in present:
                left[who] = present.pop(who)
                left[who].session.close()
        elif who not in left:
            policy, params, frames = wishes(who)
            if who not in present:
                present[who] = Person(engine, watchful, policy, **params)
            present[who].send(frames[sent[who]])
            sent[who] += 1
    for who, person in present.items():
        person.wait_for(sent[who])
    made = [job.wait() for job in jobs]
    engine.close()

    assert engine.metrics.rows > 2 * engine.metrics.calls  # they really shared calls
    assert watchful.latest <= 1  # a job's row is at most one call late
    solo = {who: alone(runner, who, sent[who]) for who in sent if sent[who]}
    for who, person in (present | left).items():
        assert not [code for code in person.errors if code != "engine_closed"]
        for ours, theirs in zip(person.pictures, solo[who], strict=who in present):
            assert difference(ours, theirs) <= TOLERANCE
    for number, pictures in enumerate(made):
        for ours, theirs in zip(pictures, made_alone(runner, number), strict=True):
            assert difference(ours.picture, theirs.picture) <= TOLERANCE
            assert ours.recipe == theirs.recipe
    # And that would have shown a mix-up: no two people's pictures are alike.
    firsts = [(who, pictures[0]) for who, pictures in solo.items() if pictures]
    for i, (_, a) in enumerate(firsts):
        assert all(a.shape != b.shape or difference(a, b) > 20 for _, b in firsts[:i])


def test_sockets_of_many_threads_do_not_mix_frames_up(engine: Engine, runner: Runner) -> None:
    """Every socket hands its frames in from a thread of its own."""
    people = {seed: Person(engine, runner, wishes(seed)[0], **wishes(seed)[1]) for seed in range(8)}
    threads = [
        threading.Thread(target=lambda seed=seed, person=person: person.send(*wishes(seed)[2]))
        for seed, person in people.items()
    ]
    for thread in threads:
        thread.start()
    for seed, person in people.items():
        person.wait_for(FRAMES)
        for ours, theirs in zip(person.pictures, alone(runner, seed, FRAMES), strict=True):
            assert difference(ours, theirs) <= TOLERANCE


def test_guidance_over_single_steps_keeps_its_contrast() -> None:
    """300 frames of the embedded model at the webcam's own settings; every picture depends on its own frame alone."""
    model = load_model(load_catalog().get("pocket"), device="cpu", dtype=torch.float32)
    runner, engine = Runner(model), Engine()
    side = model.spec.width
    people = [
        Person(
            engine, runner, STREAM, prompt="a lion on grass", steps=1, strength=0.55, cfg_type="self",
            guidance_scale=guidance, width=side, height=side,
        )
        for guidance in (1.2, 1.5, 2.0)
    ]  # fmt: skip
    frame = np.array(Image.fromarray(noisy(3)).resize((side, side), Image.Resampling.BICUBIC))
    for i in range(300):
        for person in people:
            person.send(frame)
        for person in people:
            person.wait_for(i + 1)
    engine.close()
    for person in people:
        spread = [float(picture.std()) for picture in person.pictures]
        assert len(spread) == 300
        assert max(abs(value / spread[0] - 1) for value in spread) < 0.15
        assert difference(person.pictures[0], person.pictures[-1]) <= TOLERANCE
