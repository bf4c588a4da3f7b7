"""UNet and autoencoder run by OpenVINO, on a CPU or an Intel GPU, in place of torch.

Each network is converted once (torch's tracing, OpenVINO's own front end) with any batch and size, and kept in
``engine_dir`` under a hash of its weights. Torch's own stays in memory: calls with LoRAs or control run on it, and
those of sizes that the conversion does not know.
"""

from __future__ import annotations

import copy
import hashlib
import json
import logging
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import openvino
import torch
from torch import nn

from artflow.machine import cores
from artflow.models.families.unet import UNetModel
from artflow.models.weight_loading import weight_loading_lock

if TYPE_CHECKING:
    from artflow.models.model import Model

log = logging.getLogger(__name__)

Undo = Callable[[], None]


class NotForOpenVino(Exception):
    """The model is of a kind that is not converted; the message says why."""


class Network:
    """A converted network. Safe from several threads at once; each has a request of its own."""

    def __init__(self, converted: openvino.Model, core: openvino.Core, device: str, *, half: bool) -> None:
        hints: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1}
        if device == "CPU":
            hints |= {"INFERENCE_NUM_THREADS": cores(), "INFERENCE_PRECISION_HINT": "bf16" if half else "f32"}
        self._compiled = core.compile_model(converted, device, hints)
        self._local = threading.local()

    def __call__(self, *given: torch.Tensor) -> torch.Tensor:
        """What the torch module would give, in float32, on the CPU."""
        if not hasattr(self._local, "request"):
            self._local.request = self._compiled.create_infer_request()
        values = [tensor.detach().float().contiguous().numpy() for tensor in given]
        return torch.from_numpy(self._local.request.infer(values, share_inputs=True)[0].copy())


def accelerate_with_openvino(model: Model, engine_dir: Path | None) -> list[Undo]:
    """Let a model's networks be run by OpenVINO; returns what takes that back.

    Raises:
        NotForOpenVino: for a model that it does not run.
    """
    if not isinstance(model, UNetModel):
        raise NotForOpenVino(f"{model.spec.title} is no diffusion model with a UNet")
    if model.device.type != "cpu":
        raise NotForOpenVino(f"the model is on {model.device.type}; openvino computes on CPUs and Intel GPUs")
    core = openvino.Core()
    device = next((name for name in core.available_devices if name.startswith("GPU")), "CPU")
    if engine_dir is not None:
        engine_dir.mkdir(parents=True, exist_ok=True)
        core.set_property({"CACHE_DIR": str(engine_dir / "openvino")})
    half = model.dtype != torch.float32
    make = partial(_network, core=core, device=device, half=half, engine_dir=engine_dir)
    unet, vae = model.unet, model.vae
    network = make("unet", _Positional(unet), _unet_examples(model))
    encoder = make("encoder", vae.encoder, (torch.zeros(2, 3, 64, 64),))
    decoder = make("decoder", vae.decoder, (torch.zeros(2, model.latent_channels, 8, 8),))
    return [_run_unet(unet, network), _run(vae.encoder, encoder), _run(vae.decoder, decoder)]


class _Positional(nn.Module):
    """The UNet with the arguments that it needs here, one after the other."""

    def __init__(self, unet: Any) -> None:
        super().__init__()
        self.unet = unet

    def forward(
        self, latents: torch.Tensor, timesteps: torch.Tensor, text: torch.Tensor, *more: torch.Tensor
    ) -> torch.Tensor:
        rest = list(more)
        guidance = rest.pop(0) if self.unet.config.time_cond_proj_dim is not None else None
        added = {"text_embeds": rest[0], "time_ids": rest[1]} if rest else None
        sample: torch.Tensor = self.unet(
            latents, timesteps, encoder_hidden_states=text, timestep_cond=guidance, added_cond_kwargs=added,
            return_dict=False,
        )[0]  # fmt: skip
        return sample


def _unet_examples(model: UNetModel) -> tuple[torch.Tensor, ...]:
    config, size = model.unet.config, 8 * _divisor(model.unet)
    examples = [torch.zeros(2, config.in_channels, size, size), torch.zeros(2)]
    examples.append(torch.zeros(2, 7, config.cross_attention_dim))
    if config.time_cond_proj_dim is not None:
        examples.append(torch.zeros(2, config.time_cond_proj_dim))
    if config.addition_embed_type == "text_time":
        ids = 6
        pooled = config.projection_class_embeddings_input_dim - ids * config.addition_time_embed_dim
        examples += [torch.zeros(2, pooled), torch.zeros(2, ids)]
    return tuple(examples)


def _network(
    name: str, module: nn.Module, examples: Sequence[torch.Tensor], *, core: openvino.Core, device: str, half: bool,
    engine_dir: Path | None,
) -> Network:  # fmt: skip
    path = None if engine_dir is None else engine_dir / f"{name}-{_key(module)}.xml"
    if path is not None and path.is_file():
        return Network(core.read_model(path), core, device, half=half)
    if half:
        module = copy.deepcopy(module).float()
    with _tracing():
        converted = openvino.convert_model(module, example_input=tuple(examples))
    for given, example in zip(converted.inputs, examples, strict=True):
        # Batch, sides and number of tokens may be any; the rest is the network's own.
        free = {0} | ({2, 3} if example.ndim == 4 else {1} if example.ndim == 3 else set())
        sides = [-1 if axis in free else length for axis, length in enumerate(example.shape)]
        given.get_node().set_partial_shape(openvino.PartialShape(sides))
    converted.validate_nodes_and_infer_types()
    if path is not None:
        openvino.save_model(converted, path, compress_to_fp16=half)
    return Network(converted, core, device, half=half)


@contextmanager
def _tracing() -> Iterator[None]:
    """Nobody loads meanwhile: tracing changes the whole process, as loading does.

    It warns of every decision that Python takes in the networks; those that depend on sizes are looked after in
    `_run_unet`.
    """
    with weight_loading_lock(), torch.inference_mode(False), torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore", torch.jit.TracerWarning)
        yield


def _key(module: nn.Module) -> str:
    """A hash of what a conversion is made of."""
    digest = hashlib.blake2b(openvino.__version__.encode(), digest_size=16)
    digest.update(json.dumps({k: str(v) for k, v in getattr(module, "config", {}).items()}).encode())
    for key, tensor in module.state_dict().items():
        digest.update(f"{key} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def _divisor(unet: Any) -> int:
    """What the sides of a latent have to be divisible by: others are upsampled to stated sizes, which is not traced."""
    return int(2 ** (len(unet.config.block_out_channels) - 1))


def _run_unet(unet: Any, network: Network) -> Undo:
    plain, divisor = unet.forward, _divisor(unet)

    def forward(sample: torch.Tensor, timestep: torch.Tensor, **given: Any) -> Any:
        text, guidance = given.pop("encoder_hidden_states"), given.pop("timestep_cond", None)
        added, as_tuple = given.pop("added_cond_kwargs", None), given.pop("return_dict", True) is False
        others = any(value is not None for value in given.values())
        if others or not as_tuple or sample.shape[2] % divisor or sample.shape[3] % divisor:
            return plain(
                sample, timestep, encoder_hidden_states=text, timestep_cond=guidance, added_cond_kwargs=added,
                return_dict=not as_tuple, **given,
            )  # fmt: skip
        more = [guidance] if guidance is not None else []
        more += [added["text_embeds"], added["time_ids"]] if added else []
        return (network(sample, timestep, text, *more).to(sample.dtype),)

    return _replaced(unet, forward)


def _run(module: nn.Module, network: Network) -> Undo:
    plain = module.forward

    def forward(x: torch.Tensor, *more: Any) -> torch.Tensor:
        if any(one is not None for one in more):
            return plain(x, *more)
        return network(x).to(x.dtype)

    return _replaced(module, forward)


def _replaced(module: nn.Module, forward: Callable[..., Any]) -> Undo:
    module.forward = forward
    return lambda: module.__dict__.pop("forward", None)
