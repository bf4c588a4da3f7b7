"""``python -m training.lora neon pop-art``: a LoRA for each look of `training.lora_looks`, on the distilled UNet.

From the noised latent of a plain scene the UNet learns to predict the latent of the looked scene. A batch has the
few-step sampler's three kinds of start: noise alone (canonical scenes), pictures as img2img gives them (scenes and
rough sources) and what model and LoRA drew themselves in one to three steps.
Half of the captions name the trigger, so that it neither matters nor harms. Resumes from ``cache/lora-<name>.pt``.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from diffusers.utils import convert_state_dict_to_diffusers
from peft import LoraConfig, get_peft_model_state_dict, set_peft_model_state_dict
from safetensors.torch import save_file
from torch import nn

from training.common import (
    CACHE,
    POCKET,
    Progress,
    device,
    load_checkpoint,
    mixed,
    save_checkpoint,
    seed_everything,
    warm_cosine,
)  # fmt: skip
from training.data import to_tensor
from training.diffusion import CANONICAL_FROM
from training.distill import own_path
from training.export import load_generator
from training.latents import Ring
from training.lora_looks import LORA_LOOKS, LoraLook
from training.noising import TIMESTEPS, Noise
from training.words import token_ids

RANK = 8
# all attention, and the convolutions that end in the picture: what changes colours and lines everywhere alike
TARGETS = r".*\.attn\d\.(to_q|to_k|to_v|to_out\.0)|conv_in|conv_out|up_blocks\.2\.resnets\.\d\.conv[12]"
FROM_NOISE, FROM_OWN = 0.4, 0.2  # of a batch; the rest starts from pictures
SOURCE_SHARE = 0.4  # of those: a rough source instead of the scene
START = (240, 900)  # timesteps where img2img enters
PREFILL = 6  # batches of 64 fresh scenes before the first update


def add_lora(unet: UNet2DConditionModel) -> list[nn.Parameter]:
    """Put a fresh adapter into ``unet`` and give back its parameters, the only ones that need gradients."""
    unet.requires_grad_(False)
    unet.add_adapter(LoraConfig(r=RANK, lora_alpha=RANK, init_lora_weights="gaussian", target_modules=TARGETS))
    return [p for p in unet.parameters() if p.requires_grad]


def save_lora(unet: UNet2DConditionModel, name: str, look: LoraLook, path: Path) -> None:
    """The adapter as diffusers writes LoRAs, in float16, with the metadata that LoRA managers read."""
    layers = convert_state_dict_to_diffusers(get_peft_model_state_dict(unet))
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(
        {f"unet.{key}": value.detach().half().contiguous() for key, value in layers.items()},
        path,
        {
            "format": "pt", "modelspec.title": look.title, "modelspec.architecture": "pocket/lora",
            "ss_base_model_version": "pocket", "ss_output_name": name, "ss_network_dim": str(RANK),
            "ss_network_alpha": str(RANK), "modelspec.trigger_phrase": look.trigger,
            "ss_tag_frequency": json.dumps({"scenes": {look.trigger: 1}}),
            "modelspec.license": "Apache-2.0", "modelspec.usage_hint": "weight 0.5 to 1",
        },
    )  # fmt: skip


class Lesson:
    """The batches of one look: a ring of scenes with the latents of what the look makes of them."""

    def __init__(self, look: LoraLook, capacity: int, seed: int) -> None:
        model = load_generator()
        self.look, self.text = look, model.text.to(device())
        self.ring, self.noise = Ring(model.vae.to(device()), capacity, seed), Noise(device())
        self.looked = torch.zeros_like(self.ring.target)
        self.named = torch.zeros_like(self.ring.ids)

    def fill(self, count: int) -> None:
        """Compose ``count`` fresh scenes and encode their looks."""
        slots, scenes = self.ring.fill(count)
        pictures = to_tensor([self.look.draw(s.image) for s in scenes]).to(device())
        self.looked[slots] = self.ring.encode(pictures).half()
        captions = [f"{s.caption}, {self.look.trigger}" for s in scenes]
        self.named[slots] = token_ids(self.ring.tokenizer, captions).to(device())

    def batch(self, unet: nn.Module, count: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """(xt, t, words, x0 to predict); the first samples start from noise, the last from the LoRA's own pictures."""
        noisy, own = round(FROM_NOISE * count), round(FROM_OWN * count)
        t = torch.randint(*START, (count,), device=device())
        t[:noisy] = TIMESTEPS - 1
        canonical = (t >= CANONICAL_FROM) | (torch.rand(count, device=device()) < 0.4)
        canonical[count - own :] = True
        slots = self.ring.draw(canonical)
        plain, source, ids = self.ring.read(slots)
        ids = torch.where(torch.rand(count, 1, device=device()) < 0.5, ids, self.named[slots])
        with torch.no_grad(), mixed():
            words = self.text(ids).last_hidden_state.float()
        rough = torch.rand(count, 1, 1, 1, device=device()) < SOURCE_SHARE
        xt = self.noise.add(torch.where(rough, source, plain), torch.randn_like(plain), t)
        if own:
            xt[-own:], t[-own:] = own_path(unet, self.noise, words[-own:])
        return xt.contiguous(memory_format=torch.channels_last), t, words, self.looked[slots].float()


def train(name: str, args: argparse.Namespace) -> None:
    checkpoint = CACHE / f"lora-{name}.pt"
    state = load_checkpoint(checkpoint)
    step = state["step"] if state else 0
    seed_everything(step + 31)
    unet = load_generator().unet.to(device())
    parameters = add_lora(unet)
    optimizer = torch.optim.AdamW(parameters, lr=args.rate, betas=(0.9, 0.99), weight_decay=0.01)
    if state:
        set_peft_model_state_dict(unet, state["lora"])
        optimizer.load_state_dict(state["optimizer"])
    lesson = Lesson(LORA_LOOKS[name], args.ring, seed=step + 70_000)
    for _ in range(PREFILL):
        lesson.fill(64)
    progress, saved = Progress(step, args.steps, args.batch), time.monotonic()
    while step < args.steps:
        lesson.fill(args.fresh)
        xt, t, words, x0 = lesson.batch(unet, args.batch)
        with mixed():
            v = unet(xt, t, words).sample
        loss = ((lesson.noise.x0(xt, v.float(), t) - x0) ** 2).mean()
        for group in optimizer.param_groups:
            group["lr"] = warm_cosine(step, args.steps, args.rate, warmup=30, hold=0.4)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        step += 1
        progress.update(step, loss.item(), name)
        if time.monotonic() - saved > args.save_every or step == args.steps:
            saved = time.monotonic()
            adapter = get_peft_model_state_dict(unet)
            save_checkpoint(checkpoint, {"step": step, "lora": adapter, "optimizer": optimizer.state_dict()})
            save_lora(unet, name, LORA_LOOKS[name], args.to / f"{name}.safetensors")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=list(LORA_LOOKS), choices=list(LORA_LOOKS))
    parser.add_argument("--steps", type=int, default=600, help="updates in all; the decay is fitted to it")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--fresh", type=int, default=2, help="new scenes per update")
    parser.add_argument("--ring", type=int, default=4096, help="scenes kept encoded")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--save-every", type=float, default=120, help="seconds between checkpoints")
    parser.add_argument("--to", type=Path, default=POCKET / "loras")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    for name in args.names:
        train(name, args)


if __name__ == "__main__":
    main()
