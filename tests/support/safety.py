"""A tiny real safety checker, and what it takes offence at."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from PIL import Image
from transformers import CLIPConfig, CLIPImageProcessorPil

from artflow.images import Picture
from artflow.models.safety import SafetyChecker, load_checker

SIDE = 32
ALIKE = 0.998  # cosine from which a picture counts as a refused one


def build_checker(folder: Path, *refused: Picture, alike: float = ALIKE) -> Path:
    """A repository as ``CompVis/stable-diffusion-safety-checker`` is, with these pictures as its concepts."""
    part = {"hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    vision = part | {"image_size": SIDE, "patch_size": 8, "projection_dim": 64}
    torch.manual_seed(0)
    config = CLIPConfig(text_config=part | {"projection_dim": 64}, vision_config=vision, projection_dim=64)
    model = StableDiffusionSafetyChecker(config)
    processor = CLIPImageProcessorPil(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE})
    for weight in model.vision_model.parameters():
        if weight.ndim > 1:  # usual random weights see hardly any difference between pictures
            torch.nn.init.normal_(weight, std=0.3)
    for number, picture in enumerate(refused):
        model.concept_embeds.data[number] = _embedding(model, processor, picture)
        model.concept_embeds_weights.data[number] = alike
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def checker_against(folder: Path, *refused: Picture) -> SafetyChecker:
    """Such a checker, loaded."""
    return load_checker(build_checker(folder, *refused), device="cpu", dtype=torch.float32)


@torch.no_grad()
def _embedding(model: StableDiffusionSafetyChecker, processor: CLIPImageProcessorPil, picture: Picture) -> torch.Tensor:
    return model.visual_projection(model.vision_model(seen(processor, picture))[1])[0]


def seen(processor: CLIPImageProcessorPil, *pictures: Picture) -> torch.Tensor:
    """Pictures as the checker is shown them: whole, whatever their shape."""
    small = [
        np.asarray(Image.fromarray(picture).resize((SIDE, SIDE), Image.Resampling.BICUBIC)) for picture in pictures
    ]
    return processor(small, return_tensors="pt", input_data_format="channels_last").pixel_values
