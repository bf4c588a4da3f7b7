"""Composition, schedule and resuming: small runs on made-up drawings, no downloads."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from diffusers import LCMScheduler

from training import common, diffusion, distill, latents, vae, words
from training.common import Average, load_checkpoint, save_checkpoint, warm_cosine
from training.concepts import COLOURS, CONCEPTS, EVERY_CONCEPT, FIRST, STYLE_WORDS, with_article
from training.doodles import PAINTS, Doodler
from training.generate import Generator
from training.latents import Ring
from training.looks import LOOKS, compose, with_white_inside
from training.noising import Noise, betas, lcm_timesteps, scheduler
from training.peers import Peer
from training.scenes import Composer


def drawings() -> dict[tuple[str, str], np.ndarray]:
    """One flat disc per concept and drawing set, each in a colour of its own."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:128, :128]
    disc = ((x - 64) ** 2 + (y - 64) ** 2 < 50**2).astype(np.uint8) * 255
    out = {}
    for style in ("3d", "flat"):
        for concept in CONCEPTS:
            icon = np.empty((128, 128, 4), np.uint8)
            icon[..., :3], icon[..., 3] = rng.integers(0, 256, 3), disc
            out[style, concept.icon] = icon
    return out


@pytest.fixture
def composer() -> Composer:
    return Composer(drawings(), [], seed=3)


def test_caption_names_every_thing_and_the_background_that_is_drawn(composer: Composer) -> None:
    plain = 0
    for i in range(300):
        scene = composer.one(canonical=i % 2 == 0)
        assert scene.image.shape == scene.source.shape == (128, 128, 3)
        for name in scene.names:
            concept = next(c for c in CONCEPTS if c.name == name)
            assert any(word in scene.caption for word in concept.words), scene.caption
        for style in ("cartoon", "watercolor"):
            assert any(w in scene.caption for w in STYLE_WORDS[style]) == (scene.style == style), scene.caption
        if scene.background in COLOURS:
            plain += 1
            assert scene.background in scene.caption
            if scene.style == "watercolor":  # pale on purpose
                continue
            corner = scene.image[:3, :3].reshape(-1, 3).mean(0)
            distances = {n: np.abs(corner - c).sum() for n, c in COLOURS.items()}
            assert min(distances, key=distances.get) == scene.background
    assert plain > 60


def test_same_seed_same_scenes_other_seed_others() -> None:
    first, again, other = (Composer(drawings(), [], seed=s) for s in (1, 1, 2))
    a, b, c = ([k.one(True) for _ in range(5)] for k in (first, again, other))
    assert all(np.array_equal(x.image, y.image) and x.caption == y.caption for x, y in zip(a, b, strict=True))
    assert any(x.caption != y.caption for x, y in zip(a, c, strict=True))


def test_canonical_things_sit_in_the_middle(composer: Composer) -> None:
    for _ in range(30):
        at = composer.layouts(1, True, None)[0]
        assert (at.x, at.y) == (0.5, 0.5) and not at.flip


def test_canonical_scenes_of_one_caption_are_one_picture(composer: Composer) -> None:
    """What is asked of noise alone has one answer: a mean over several would be a blur."""
    seen: dict[tuple, np.ndarray] = {}
    again = 0
    for _ in range(2500):
        scene = composer.one(canonical=True)
        key = (scene.names, scene.style, scene.background)
        if key in seen and len(scene.names) == 1:
            again += 1
            assert np.array_equal(seen[key], scene.image), key
        seen[key] = scene.image
    assert again > 50


def test_looks_differ(composer: Composer) -> None:
    colour, alpha = composer.place(drawings()["flat", "cat-face"], composer.layouts(1, True, None)[0])
    back = np.full((128, 128, 3), (60, 120, 220), np.float32)
    made = {look: compose(look, back, colour, alpha) for look in LOOKS}
    across = made["cartoon"][64]
    assert (across.max(-1) < 40).sum() > 6, "a thick line of ink on either side"
    assert np.ptp(across[64]) > np.ptp(made["3d"][64, 64]), "louder colours inside it"
    assert np.abs(made["watercolor"] - made["3d"])[:20].mean() > 30, "the paper is paler"
    ring = np.zeros((128, 128, 4), np.uint8)
    y, x = np.mgrid[:128, :128]
    ring[..., 3] = 255 * (np.abs(np.hypot(x - 64, y - 64) - 40) < 5)
    filled = with_white_inside(ring)
    assert tuple(filled[64, 64]) == (255, 255, 255, 255) and tuple(filled[64, 104]) == (0, 0, 0, 255)
    assert filled[2, 2, 3] == 0


def test_a_doodle_is_a_few_shapes_of_paint_where_the_thing_stands() -> None:
    import random

    doodler = Doodler(drawings())
    colour, alpha = doodler.draw("cat-face", 0.5, 0.5, 0.8, False, random.Random(3))
    again, _ = doodler.draw("cat-face", 0.5, 0.5, 0.8, False, random.Random(4))
    assert colour.shape == (128, 128, 3) and alpha.shape == (128, 128, 1)
    inside = colour[alpha[..., 0] == 1]
    assert 0.25 < len(inside) / 128**2 < 0.5, "a disc of 0.8 covers half of 0.78 squared"
    assert len(np.unique(inside, axis=0)) <= 6
    assert np.abs(PAINTS - inside[0]).max(1).min() < 60
    assert np.abs(colour - again).mean() > 1, "no two doodles are alike"


def test_a_placed_thing_leaves_a_trace_in_its_source() -> None:
    """From the source alone one must be able to tell where the thing goes: else the target is a blur."""
    composer = Composer(drawings(), [], seed=8)
    composer.background = lambda canonical: (np.full((128, 128, 3), 255, np.float32), "", "", None)  # type: ignore[method-assign]
    blank = 0
    for _ in range(60):
        scene = composer.one(canonical=False)
        blank += scene.source.std() < 4
    assert blank <= 3


def test_articles() -> None:
    words = ("cat", "owl", "unicorn", "umbrella", "grapes")
    assert [with_article(w) for w in words] == ["a cat", "an owl", "a unicorn", "an umbrella", "grapes"]


def test_concepts_have_distinct_words_and_enough_of_them() -> None:
    names = [w for c in EVERY_CONCEPT for w in c.words]
    assert len(EVERY_CONCEPT) >= 100
    assert [c.name for c in EVERY_CONCEPT[: len(FIRST)]] == FIRST
    assert EVERY_CONCEPT[: len(CONCEPTS)] == CONCEPTS
    assert len(set(names)) == len(names), sorted(n for n in names if names.count(n) > 1)


def test_schedule_ends_without_signal_and_matches_diffusers() -> None:
    ours = torch.cumprod(1 - betas(), 0)
    assert ours[-1] == 0 and ours[0] > 0.99 and (ours[:-1] > ours[1:]).all()
    assert torch.allclose(LCMScheduler.from_config(scheduler().config).alphas_cumprod.double(), ours, atol=1e-6)
    assert lcm_timesteps(4) == [999, 759, 499, 259] and lcm_timesteps(1) == [999]
    assert max(lcm_timesteps(2, 0.5)) == 499


def test_v_leads_back_to_the_picture_at_every_timestep() -> None:
    noise, t = Noise(torch.device("cpu")), torch.tensor([0, 259, 999])
    x0, e, other = (torch.randn(3, 4, 2, 2) for _ in range(3))
    xt = noise.add(x0, e, t)
    signal, sigma = noise.split(t)
    assert torch.allclose(noise.v_to(x0, xt, t)[1:], (signal * e - sigma * x0)[1:], atol=1e-4)
    assert torch.allclose(noise.x0(xt, signal * e - sigma * x0, t), x0, atol=1e-4)
    assert torch.allclose(noise.epsilon(xt, signal * e - sigma * x0, t), e, atol=1e-4)
    rough = noise.add(other, e, t)
    assert torch.allclose(noise.x0(rough, noise.v_to(x0, rough, t), t)[1:], x0[1:], atol=1e-4)


def test_generator_agrees_with_the_diffusers_scheduler() -> None:
    """Our sampler's first two latents are LCMScheduler's, given the same noise."""
    noise, lcm = Noise(torch.device("cpu")), scheduler()
    lcm.set_timesteps(2, original_inference_steps=50)
    # boundary scalings (c_skip, c_out) are 0 and 1 to 1e-4 away from t = 0: the sampler leaves them out
    latents, v = torch.randn(1, 12, 4, 4), torch.randn(1, 12, 4, 4)
    made = lcm.step(v, lcm.timesteps[0], latents, generator=torch.Generator().manual_seed(0), return_dict=False)
    assert torch.allclose(made[1], noise.x0(latents, v, torch.tensor([999])), atol=1e-3)
    assert Generator.__call__.__doc__ and "2310.04378" in Generator.__call__.__doc__


def test_learning_rate_follows_steps_and_refits() -> None:
    assert warm_cosine(0, 1000, 1.0) == pytest.approx(0.01)
    assert warm_cosine(400, 1000, 1.0) == 1.0
    assert warm_cosine(999, 1000, 1.0) < 0.05
    assert warm_cosine(999, 4000, 1.0) == 1.0


def test_checkpoint_is_atomic(tmp_path) -> None:
    path = tmp_path / "run.pt"
    save_checkpoint(path, {"step": 1})
    with pytest.raises(Exception):  # noqa: B017 - whatever cannot be pickled
        save_checkpoint(path, {"step": (lambda: 0)})
    assert load_checkpoint(path) == {"step": 1}
    assert load_checkpoint(tmp_path / "none.pt") is None


def test_average_follows_the_weights() -> None:
    module = torch.nn.Linear(2, 2)
    average = Average([module], decay=0.5)
    before = average.mean[0].clone()
    with torch.no_grad():
        module.weight.add_(1.0)
    average.update(step=1000)
    assert torch.allclose(average.mean[0], before + 0.5)


def test_peers_meet_halfway_and_wait_for_nobody(tmp_path) -> None:
    first, second = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
    middle = (first.weight + second.weight).detach() / 2
    a = Peer(tmp_path, "a", "b", list(first.parameters()))
    b = Peer(tmp_path, "b", "a", list(second.parameters()))
    assert not a.meet(), "nobody is there yet"
    assert b.meet() and torch.allclose(second.weight, middle)
    assert not b.meet(), "what was heard once is not heard again"


def test_hard_things_are_drawn_more_often(monkeypatch) -> None:
    codec = vae.build().eval().requires_grad_(False)
    monkeypatch.setattr(latents, "composer", lambda seed: Composer(drawings(), [], seed))
    monkeypatch.setattr(latents, "load_tokenizer", lambda: None)
    monkeypatch.setattr(latents, "token_ids", lambda tokenizer, texts: torch.zeros(len(texts), 24, dtype=torch.long))
    ring = Ring(codec, 512, seed=1)
    ring.fill(512)
    hard = int(ring.things[0])
    ring.hardness[hard] = 8.0
    slots = ring.draw(torch.ones(4000, dtype=torch.bool))
    assert (slots % 2 == 0).all(), "canonical scenes were asked for"
    share = (ring.things[::2] == hard).float().mean()
    assert (ring.things[slots] == hard).float().mean() > 4 * share
    before = ring.hardness.clone()
    ring.note(slots, torch.ones(len(slots)))
    assert ring.hardness[hard] < before[hard]


def test_teaching_and_distilling_resume_where_they_stopped(tmp_path, monkeypatch) -> None:
    """Two steps, then the same command with more steps: it goes on from 2, with its optimizer, to 4."""
    codec = vae.build()
    vae.initialise(codec)

    def made_up(seed: int) -> Composer:
        return Composer(drawings(), [], seed)

    monkeypatch.setattr(latents, "composer", made_up)
    monkeypatch.setattr(words, "composer", made_up)
    tokenizer = words.train_tokenizer(tmp_path / "tokenizer", captions=300)
    monkeypatch.setattr(latents, "load_tokenizer", lambda: tokenizer)
    monkeypatch.setattr(diffusion, "CHANNELS", (32, 32, 32))
    monkeypatch.setattr(common, "device", lambda: torch.device("cpu"))
    monkeypatch.setattr(distill, "TEACHER", tmp_path / "diffusion.pt")
    for stage in (diffusion, distill):
        checkpoint = tmp_path / f"{stage.__name__.rpartition('.')[2]}.pt"
        monkeypatch.setattr(stage, "load_tokenizer", lambda: tokenizer)
        monkeypatch.setattr(stage, "load_vae", lambda: codec.eval().requires_grad_(False))
        monkeypatch.setattr(stage, "CHECKPOINT", checkpoint)
        monkeypatch.setattr(stage, "PREFILL", 1)
        command = [stage.__name__, "--batch", "2", "--fresh", "2", "--ring", "64", "--threads", "1", "--steps"]
        monkeypatch.setattr("sys.argv", [*command, "2"])
        stage.main()
        first = load_checkpoint(checkpoint)
        assert first["step"] == 2
        monkeypatch.setattr("sys.argv", [*command, "4"])
        stage.main()
        second = load_checkpoint(checkpoint)
        assert second["step"] == 4
        steps = {int(s["step"]) for s in second["optimizer"]["adam"]["state"].values()}
        assert steps == {4}, "the optimizer's moments did not survive the restart"
        for part in ("unet", "text"):
            assert any(not torch.equal(first[part][name], second[part][name]) for name in first[part])


def test_the_own_path_ends_anywhere_on_the_sampler_grid() -> None:
    noise = Noise(torch.device("cpu"))
    asked: list[int] = []

    def denoise(xt: torch.Tensor, t: torch.Tensor, words: torch.Tensor) -> SimpleNamespace:
        asked.extend(t.tolist())
        return SimpleNamespace(sample=torch.zeros_like(xt))

    ends = torch.cat([distill.own_path(denoise, noise, torch.zeros(8, 24, 128))[1] for _ in range(40)])
    assert ((ends + 1) % distill.GRID == 0).all() and ends.min() >= 39 and ends.max() < 920
    assert asked.count(999) == 8 * 40 and 40 < (ends < 400).sum() < 280, "one to three steps come before"
