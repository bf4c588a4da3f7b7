"""The shipped folder itself: it loads, draws what it is asked for, and names what it sees. About half a minute."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from diffusers import LCMScheduler, StableDiffusionPipeline

from training.common import POCKET
from training.concepts import CONCEPTS

pytestmark = pytest.mark.skipif(not (POCKET / "model_index.json").exists(), reason="no weights exported yet")

# colours that a person would expect in the middle of the picture, by name: (red, green, blue) tests on 0..1 means
EXPECTED = {
    "a sunflower": lambda r, g, b: r > b + 0.15 and g > b,
    "a tree": lambda r, g, b: g > r and g > b + 0.1,
    "a red heart": lambda r, g, b: r > g + 0.25 and r > b + 0.25,
    "a pig": lambda r, g, b: r > g + 0.1 and r > b,
    "a whale": lambda r, g, b: b > r + 0.1,
    "a frog": lambda r, g, b: g > b + 0.1,
    "a strawberry": lambda r, g, b: r > g + 0.15,
    "a banana": lambda r, g, b: r > b + 0.15 and g > b + 0.1,
}


@pytest.fixture(scope="module")
def pipeline() -> StableDiffusionPipeline:
    torch.set_num_threads(2)
    made = StableDiffusionPipeline.from_pretrained(POCKET, safety_checker=None, torch_dtype=torch.float32)
    made.set_progress_bar_config(disable=True)
    return made


def draw(pipeline: StableDiffusionPipeline, prompts: list[str], steps: int) -> np.ndarray:
    """[N, 128, 128, 3] in 0..1."""
    generator = torch.Generator().manual_seed(77)
    return pipeline(
        prompts,
        num_inference_steps=steps,
        guidance_scale=1.0,
        height=128,
        width=128,
        generator=generator,
        output_type="np",
    ).images


def test_folder_is_small_and_complete(pipeline) -> None:
    files = [f for f in POCKET.rglob("*") if f.is_file()]
    assert sum(f.stat().st_size for f in files if not {"loras", "controlnet"} & set(f.parts)) <= 25e6
    assert sum(f.stat().st_size for f in POCKET.parent.rglob("*.*") if f.suffix not in {".py", ".pyc"}) < 66e6
    assert not [f for f in files if f.suffix in {".bin", ".pt", ".pkl"}], "safetensors only"
    assert isinstance(pipeline.scheduler, LCMScheduler)
    known = json.loads((POCKET / "concepts.json").read_text())
    assert [thing["name"] for thing in known["concepts"]] == [c.name for c in CONCEPTS]
    for thing in known["concepts"]:
        assert set(thing["name"].split()) <= set(known["vocabulary"])
        assert thing["zh"] and thing["zh-Hant"], thing["name"]


@pytest.mark.parametrize("steps", [1, 4])
def test_things_have_their_colours(pipeline, steps: int) -> None:
    images = draw(pipeline, [f"{thing} on a white background" for thing in EXPECTED], steps)
    assert np.isfinite(images).all()
    right = []
    for picture, test in zip(images, EXPECTED.values(), strict=True):
        inside = picture.min(-1) < 0.85  # what is not background
        assert inside.mean() > 0.08, "an empty picture"
        right.append(test(*picture[inside].mean(0)))
    assert sum(right) >= 7, [name for name, ok in zip(EXPECTED, right, strict=True) if not ok]


@pytest.mark.parametrize("steps", [1, 4])
def test_different_words_give_different_pictures_and_the_same_give_the_same(pipeline, steps: int) -> None:
    first = draw(pipeline, ["a cat on grass", "a rocket in space"], steps)
    assert np.abs(first[0] - first[1]).mean() > 0.15
    assert np.allclose(first, draw(pipeline, ["a cat on grass", "a rocket in space"], steps), atol=1e-5)


def test_backgrounds_are_obeyed(pipeline) -> None:
    colours = {"red": (220, 50, 47), "blue": (60, 120, 220), "yellow": (250, 215, 60), "black": (20, 20, 22)}
    images = draw(pipeline, [f"a cat on a {name} background" for name in colours], 2)
    table = np.float32(list(colours.values())) / 255
    found = [np.abs(table - picture[2:6].mean((0, 1))).sum(1).argmin() for picture in images]
    assert found == [0, 1, 2, 3]


def test_identity_on_the_rendered_gallery(pipeline) -> None:
    """Nearest of all rendered icons, where the drawings have been fetched by ``python -m training.data``."""
    from training.common import CACHE
    from training.concepts import with_article
    from training.identity import Gallery

    if not (CACHE / "icons.npz").exists():
        pytest.skip("drawings not fetched")
    some = list(range(0, len(CONCEPTS), 2))
    prompts = [f"{with_article(CONCEPTS[i].name)} on a white background" for i in some]
    gallery = Gallery()
    for steps, floor in ((1, 0.75), (4, 0.7)):
        images = torch.from_numpy(draw(pipeline, prompts, steps)).permute(0, 3, 1, 2)
        right = float((gallery.rank(images, some) == 0).float().mean())
        assert right >= floor, f"{right:.2f} at {steps} steps"


def test_image_tower_names_what_the_model_draws(pipeline) -> None:
    """Offline interrogation end to end: the picture and the words meet through transformers' own classes."""
    from transformers import CLIPImageProcessor, CLIPModel, CLIPTokenizer

    folder = POCKET / "image_encoder"
    model = CLIPModel.from_pretrained(folder, torch_dtype=torch.float32).eval()
    processor, tokenizer = CLIPImageProcessor.from_pretrained(folder), CLIPTokenizer.from_pretrained(folder)
    things = json.loads((POCKET / "concepts.json").read_text())["concepts"]
    names = [thing["name"] for thing in things]
    asked = [names.index(n) for n in ("cat", "cactus", "pizza", "rocket", "heart", "penguin", "sunflower", "banana")]
    images = draw(pipeline, [f"a {names[i]} on a white background" for i in asked], 4)
    pixels = processor(list((images * 255).astype(np.uint8)), return_tensors="pt")
    words = tokenizer(
        [f"a {n}" for n in names], padding="max_length", max_length=24, truncation=True, return_tensors="pt"
    )
    with torch.no_grad():
        scores = model(input_ids=words.input_ids, pixel_values=pixels.pixel_values).logits_per_image
    assert sum(a == b for a, b in zip(scores.argmax(1).tolist(), asked, strict=True)) >= 3


def test_training_can_go_on_from_what_is_shipped(pipeline, tmp_path) -> None:
    """The checkpoints made from the folder hold its weights and fit the training stages' own modules."""
    from training import diffusion, vae
    from training.common import load_checkpoint
    from training.restore import restore
    from training.words import build_text_model

    restore(POCKET, tmp_path)
    state, codec = load_checkpoint(tmp_path / "diffusion.pt"), load_checkpoint(tmp_path / "vae.pt")
    unet = diffusion.build_unet()
    unet.load_state_dict(state["unet"])
    build_text_model(pipeline.tokenizer).load_state_dict(state["text"])
    vae.build().load_state_dict(codec["vae"])
    assert torch.equal(unet.conv_in.weight.contiguous(), pipeline.unet.conv_in.weight.contiguous())
    assert codec["scaling_factor"] == pipeline.vae.config.scaling_factor
    with pytest.raises(FileExistsError):
        restore(POCKET, tmp_path)
