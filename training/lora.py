"""``python -m training.lora neon pop-art``: a LoRA for each look of `training.lora_looks`, on the distilled UNet.

From the noised latent of a plain scene the UNet learns to predict the latent of the looked scene. A look changes
colours and lines where they are, so only the UNet's last block learns it, and what comes before is computed once and
kept. The starts are the few-step sampler's: noise alone (canonical scenes), pictures as img2img gives them (scenes and
rough sources) and noised pictures that have the look already, as the second step sees them. Resumes from
``cache/lora-<name>.pt``; the kept starts lie in ``cache/lora_starts.pt``.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from diffusers import UNet2DConditionModel
from diffusers.utils import convert_state_dict_to_diffusers
from peft import LoraConfig, get_peft_model_state_dict, set_peft_model_state_dict
from safetensors.torch import save_file
from torch import nn

from training.common import CACHE, POCKET, Progress, load_checkpoint, save_checkpoint, seed_everything, warm_cosine
from training.data import composer, to_tensor
from training.export import load_generator
from training.generate import Generator
from training.lora_looks import LORA_LOOKS, LoraLook
from training.noising import TIMESTEPS, Noise
from training.words import token_ids

RANK = 16
TARGETS = r"up_blocks\.2\.resnets\.\d\.(conv[12]|time_emb_proj)|conv_out"
SHARES = (0.4, 0.35, 0.25)  # of a batch: from noise, from pictures, from pictures that have the look
SOURCE_SHARE = 0.4  # of the pictures: a rough source instead of the scene
START = (240, 900)  # timesteps where img2img enters and later steps are
CHUNK = 32
Starts = dict[str, torch.Tensor]  # what the last block is given for N starts, their xt and t, and their scene's number


def starts(model: Generator, x: torch.Tensor, t: torch.Tensor, words: torch.Tensor, scene: torch.Tensor) -> Starts:
    """Noise the latents ``x`` [N, C, 16, 16] for ``t`` and keep what reaches the last block, in half precision."""
    noise, found, kept = Noise(torch.device("cpu")), [], {}
    handle = model.unet.up_blocks[-1].register_forward_pre_hook(
        lambda module, args, kwargs: kept.update(kwargs), with_kwargs=True
    )
    for at in torch.arange(len(x)).split(CHUNK):
        xt = noise.add(x[at], torch.randn_like(x[at]), t[at])
        with torch.no_grad():
            model.unet(xt, t[at], words[at])
        first, second = kept["res_hidden_states_tuple"]
        part = {"hidden": kept["hidden_states"], "first": first, "second": second, "temb": kept["temb"], "xt": xt}
        found.append({name: value.half() for name, value in part.items()})
    handle.remove()
    joined = {name: torch.cat([part[name] for part in found]) for name in found[0]}
    return {**joined, "t": t, "scene": scene}


def last_block(unet: UNet2DConditionModel, some: Starts) -> torch.Tensor:
    """v [N, C, 16, 16] from what the last block is given."""
    hidden, first, second = (
        some[name].float().contiguous(memory_format=torch.channels_last) for name in ("hidden", "first", "second")
    )
    out = unet.up_blocks[-1](hidden, temb=some["temb"].float(), res_hidden_states_tuple=(first, second))
    return unet.conv_out(unet.conv_act(unet.conv_norm_out(out)))


def compose(model: Generator, count: int, path: Path) -> dict:
    """``count`` scenes with captions' embeddings, and their starts from noise and from pictures; kept in ``path``."""
    state = load_checkpoint(path)
    if state:
        return state
    source = composer(70_000)
    scenes = [source.one(canonical=i % 2 == 0) for i in range(count)]
    pictures = to_tensor([s.image for s in scenes]) / 2 + 0.5
    plain = torch.cat([model.encode(part) for part in pictures.split(CHUNK)])
    rough = torch.cat([model.encode(part / 2 + 0.5) for part in to_tensor([s.source for s in scenes]).split(CHUNK)])
    with torch.no_grad():
        words = model.text(token_ids(model.tokenizer, [s.caption for s in scenes])).last_hidden_state
    canonical, every = torch.arange(0, count, 2), torch.arange(count)
    ends = torch.full((len(canonical),), TIMESTEPS - 1)
    x = torch.where(torch.rand(count, 1, 1, 1) < SOURCE_SHARE, rough, plain)
    state = {
        "images": torch.from_numpy(np.stack([s.image for s in scenes])), "words": words,
        "noise": starts(model, plain[canonical], ends, words[canonical], canonical),
        "pictures": starts(model, x, torch.randint(*START, (count,)), words, every),
    }  # fmt: skip
    save_checkpoint(path, state)
    return state


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


def train(name: str, args: argparse.Namespace) -> None:
    """Teach one look up to ``args.steps`` updates in all."""
    checkpoint, look, noise = CACHE / f"lora-{name}.pt", LORA_LOOKS[name], Noise(torch.device("cpu"))
    state = load_checkpoint(checkpoint)
    step = state["step"] if state else 0
    seed_everything(step + 31)
    model = load_generator()
    kept = compose(model, args.scenes, CACHE / "lora_starts.pt")
    pictures = to_tensor([look.draw(picture) for picture in kept["images"].numpy()]) / 2 + 0.5
    x0 = torch.cat([model.encode(part) for part in pictures.split(CHUNK)])
    some = torch.randperm(len(x0))[: len(x0) // 3]
    looked = starts(model, x0[some], torch.randint(*START, (len(some),)), kept["words"][some], some)
    model.unet.requires_grad_(False)
    model.unet.add_adapter(LoraConfig(r=RANK, lora_alpha=RANK, init_lora_weights="gaussian", target_modules=TARGETS))
    parameters = [p for p in model.unet.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=args.rate, betas=(0.9, 0.99), weight_decay=0.01)
    if state:
        set_peft_model_state_dict(model.unet, state["lora"])
        optimizer.load_state_dict(state["optimizer"])
    progress, saved = Progress(step, args.steps, args.batch), time.monotonic()
    while step < args.steps:
        parts = []
        for share, kind in zip(SHARES, (kept["noise"], kept["pictures"], looked), strict=True):
            rows = torch.randint(len(kind["t"]), (round(share * args.batch),))
            parts.append({key: value[rows] for key, value in kind.items()})
        batch = {key: torch.cat([part[key] for part in parts]) for key in parts[0]}
        v = last_block(model.unet, batch)
        loss = ((noise.x0(batch["xt"].float(), v, batch["t"]) - x0[batch["scene"]]) ** 2).mean()
        for group in optimizer.param_groups:
            group["lr"] = warm_cosine(step, args.steps, args.rate, warmup=20, hold=0.4)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        step += 1
        progress.update(step, loss.item(), name)
        if time.monotonic() - saved > args.save_every or step == args.steps:
            saved = time.monotonic()
            adapter = get_peft_model_state_dict(model.unet)
            save_checkpoint(checkpoint, {"step": step, "lora": adapter, "optimizer": optimizer.state_dict()})
            save_lora(model.unet, name, look, args.to / f"{name}.safetensors")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=list(LORA_LOOKS), choices=list(LORA_LOOKS))
    parser.add_argument("--steps", type=int, default=300, help="updates in all; the decay is fitted to it")
    parser.add_argument("--batch", type=int, default=20)
    parser.add_argument("--rate", type=float, default=4e-3)
    parser.add_argument("--scenes", type=int, default=640, help="composed once, half of them canonical")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--save-every", type=float, default=120, help="seconds between checkpoints")
    parser.add_argument("--to", type=Path, default=POCKET / "loras")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    for name in args.names:
        train(name, args)


if __name__ == "__main__":
    main()
