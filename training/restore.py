"""``python -m training.restore``: checkpoints out of the shipped folder, so that training can go on on a fresh machine.

The optimizers' moments are not shipped and start anew; run it with an empty ``training/cache/`` only.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from diffusers import StableDiffusionPipeline
from transformers import CLIPModel

from training.common import CACHE, POCKET, save_checkpoint


def restore(folder: Path, cache: Path, step: int = 6400) -> None:
    """Write ``vae``, ``diffusion`` and ``clip.pt`` and the tokenizer; ``step`` is how far the weights had come."""
    if (cache / "diffusion.pt").exists():
        raise FileExistsError(f"{cache / 'diffusion.pt'} is there: go on from that")
    pipeline = StableDiffusionPipeline.from_pretrained(folder, safety_checker=None)
    unet, text = pipeline.unet.float().state_dict(), pipeline.text_encoder.float().state_dict()
    vae = pipeline.vae.float()
    scale = vae.config.scaling_factor
    save_checkpoint(cache / "vae.pt", {"step": 10_000, "vae": vae.state_dict(), "scaling_factor": scale})
    state = {"unet": unet, "text": text, "unet_average": unet, "text_average": text}
    save_checkpoint(cache / "diffusion.pt", {"step": step, **state})
    if (folder / "image_encoder").exists():
        tower = CLIPModel.from_pretrained(folder / "image_encoder").float().state_dict()
        save_checkpoint(cache / "clip.pt", {"step": 0, "model": tower, "average": tower})
    shutil.copytree(folder / "tokenizer", cache / "tokenizer", dirs_exist_ok=True)


if __name__ == "__main__":
    restore(POCKET, CACHE)
