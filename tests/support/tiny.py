"""Small models with seeded random weights, for tests and benchmarks only.

They have the layout and config keys of a Stable Diffusion folder. Plain random weights would hardly react to their
inputs (cross-attention and time embeddings start out tiny), so the layers that carry the prompt and the timestep are
scaled up and the outputs have unit variance: different prompts, pictures and timesteps give clearly different results.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import torch
from diffusers import AutoencoderKL, AutoencoderTiny, ControlNetModel, T2IAdapter, UNet2DConditionModel
from tokenizers.pre_tokenizers import ByteLevel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from artflow.models.weight_loading import weight_loading_lock

Family = Literal["sd", "sdxl"]
Prediction = Literal["epsilon", "v_prediction", "sample"]

TEXT_WIDTH = 32
SECOND_TEXT_WIDTH = 48  # SDXL's towers differ in width, too
TOKENS = 77


@torch.no_grad()
def build_tiny(
    folder: str | Path,
    *,
    family: Family = "sd",
    vae: Literal["tiny", "kl"] = "tiny",
    prediction_type: Prediction = "epsilon",
    scheduler: Literal["lcm", "euler"] = "lcm",
    seed: int = 0,
    channels: tuple[int, ...] = (32, 64),
    time_cond: bool = False,
    inpaint: bool = False,
    variant: str | None = None,
) -> Path:
    """Write a tiny diffusers model folder and return its path.

    The UNet has 4 latent channels, the VAE 8 pixels a latent, the tokenizer one token a byte and 77 tokens.
    ``scheduler="euler"`` uses trailing spacing, as SD-Turbo does. ``time_cond`` gives the UNet the guidance
    embedding of LCM-distilled models, ``inpaint`` the 9 input channels of inpaint models. ``variant="fp16"`` writes
    half-precision files with that name, as the Hub has them. The same ``seed`` gives the same weights; torch's global
    generator is left as it was.
    """
    folder = Path(folder)
    # A model that another thread loads meanwhile would leave these without their first weights.
    with weight_loading_lock(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        unet = _unet(family, channels, time_cond, 9 if inpaint else 4)
        autoencoder = _tiny_vae() if vae == "tiny" else _kl_vae()
        texts = [_text(CLIPTextModel, TEXT_WIDTH)]
        if family == "sdxl":
            texts.append(_text(CLIPTextModelWithProjection, SECOND_TEXT_WIDTH))
    parts = {"unet": unet, "vae": autoencoder} | dict(zip(("text_encoder", "text_encoder_2"), texts))
    with weight_loading_lock():
        for name, part in parts.items():
            if variant == "fp16":
                part.half()
            part.save_pretrained(folder / name, variant=variant)
    tokenizer = byte_tokenizer()
    tokenizers = ["tokenizer", "tokenizer_2"][: len(texts)]
    for name in tokenizers:
        tokenizer.save_pretrained(folder / name)
    _scheduler(scheduler, prediction_type).save_pretrained(folder / "scheduler")
    _write_index(folder, family, vae, scheduler, tokenizers)
    return folder


@torch.no_grad()
def build_tiny_vae(folder: str | Path, *, seed: int = 0, latent_channels: int = 4) -> Path:
    """Write a tiny ``AutoencoderTiny`` folder of its own, laid out as ``madebyollin/taesd`` is."""
    with weight_loading_lock(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        _tiny_vae(latent_channels).save_pretrained(folder)
    return Path(folder)


@torch.no_grad()
def build_tiny_controlnet(folder: str | Path, model: str | Path, *, seed: int = 0) -> Path:
    """Write a ``ControlNetModel`` folder for the UNet of a model's folder, whose outputs do not begin at zero."""
    with weight_loading_lock(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        unet = UNet2DConditionModel.from_pretrained(Path(model) / "unet")
        network = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=(8, 8, 16, 16))
        zeros = (network.controlnet_cond_embedding.conv_out, *network.controlnet_down_blocks)
        for layer in (*zeros, network.controlnet_mid_block):
            layer.weight.normal_(std=0.3)
        network.save_pretrained(folder)
    return Path(folder)


@torch.no_grad()
def build_tiny_adapter(folder: str | Path, *, channels: tuple[int, ...] = (32, 64), seed: int = 0) -> Path:
    """Write a ``T2IAdapter`` folder for UNets with blocks of these channels."""
    with weight_loading_lock(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        T2IAdapter(channels=list(channels), num_res_blocks=1).save_pretrained(folder)
    return Path(folder)


def byte_tokenizer(tokens: int = TOKENS) -> CLIPTokenizer:
    """A real ``CLIPTokenizer`` without merges: one token a byte, lower-cased, padded with the end token."""
    alphabet = sorted(ByteLevel.alphabet())
    words = [*alphabet, *(letter + "</w>" for letter in alphabet), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(vocab={w: i for i, w in enumerate(words)}, merges=[], model_max_length=tokens)


def _unet(family: Family, channels: tuple[int, ...], time_cond: bool, in_channels: int) -> UNet2DConditionModel:
    extra: dict[str, Any] = {}
    if family == "sdxl":
        extra = {
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": 8,
            "projection_class_embeddings_input_dim": 6 * 8 + SECOND_TEXT_WIDTH,
            "use_linear_projection": True,
        }
    unet = UNet2DConditionModel(
        sample_size=8,
        in_channels=in_channels,
        out_channels=4,
        layers_per_block=1,
        block_out_channels=channels,
        down_block_types=("CrossAttnDownBlock2D",) * (len(channels) - 1) + ("DownBlock2D",),
        up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * (len(channels) - 1),
        norm_num_groups=8,
        attention_head_dim=4,
        cross_attention_dim=TEXT_WIDTH + (SECOND_TEXT_WIDTH if family == "sdxl" else 0),
        time_cond_proj_dim=32 if time_cond else None,
        **extra,
    ).eval()
    for name, weight in unet.named_parameters():
        if name.endswith("weight") and (".attn2.to_v" in name or ".attn2.to_out" in name):
            weight.mul_(3)  # the prompt
        elif name.endswith(("time_emb_proj.weight", "cond_proj.weight")):
            weight.mul_(6)  # the timestep, the guidance embedding
        elif name.startswith("add_embedding") and name.endswith("weight"):
            weight.mul_(2)  # SDXL's pooled text and sizes
    inputs: dict[str, Any] = {"encoder_hidden_states": torch.randn(2, TOKENS, unet.config.cross_attention_dim)}
    if family == "sdxl":
        sizes = torch.tensor([[64.0, 64, 0, 0, 64, 64]] * 2)
        inputs["added_cond_kwargs"] = {"text_embeds": torch.randn(2, SECOND_TEXT_WIDTH), "time_ids": sizes}
    if time_cond:
        inputs["timestep_cond"] = torch.randn(2, 32)
    output = unet(torch.randn(2, in_channels, 16, 16), torch.tensor([499, 999]), **inputs).sample
    _rescale(unet.conv_out, output, std=1.0)
    return unet


def _tiny_vae(latent_channels: int = 4) -> AutoencoderTiny:
    vae = AutoencoderTiny(
        encoder_block_out_channels=(16,) * 4,
        decoder_block_out_channels=(16,) * 4,
        num_encoder_blocks=(1,) * 4,
        num_decoder_blocks=(1,) * 4,
        latent_channels=latent_channels,
    ).eval()
    picture = torch.rand(2, 3, 8, 8).repeat_interleave(8, 2).repeat_interleave(8, 3) * 2 - 1
    _rescale(vae.encoder.layers[-1], vae.encode(picture).latents, std=1.0)
    decoded = vae.decode(torch.randn(2, latent_channels, 8, 8)).sample
    _rescale(vae.decoder.layers[-1], (decoded + 1) / 2, std=0.25, mean=0.5)
    return vae


def _kl_vae() -> AutoencoderKL:
    vae = AutoencoderKL(
        block_out_channels=(8, 16, 16, 16),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        norm_num_groups=4,
        latent_channels=4,
        scaling_factor=0.18215,
    ).eval()
    picture = torch.rand(2, 3, 8, 8).repeat_interleave(8, 2).repeat_interleave(8, 3) * 2 - 1
    moments = vae.encode(picture).latent_dist
    _rescale(vae.quant_conv, moments.mean, std=1 / vae.config.scaling_factor)
    vae.quant_conv.weight[4:].mul_(0.01)  # a small, nearly constant variance, as trained encoders have
    vae.quant_conv.bias[4:].fill_(-6.0)
    output = vae.decode(torch.randn(2, 4, 8, 8) / vae.config.scaling_factor).sample
    _rescale(vae.decoder.conv_out, output, std=0.5)
    return vae


def _text(kind: type, width: int) -> CLIPTextModel:
    tokenizer = byte_tokenizer()
    return kind(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=width,
            intermediate_size=2 * width,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=TOKENS,
            projection_dim=width,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    ).eval()


def _scheduler(kind: str, prediction_type: Prediction):
    from diffusers import EulerDiscreteScheduler, LCMScheduler

    betas = {
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "prediction_type": prediction_type,
    }
    if kind == "lcm":
        return LCMScheduler(**betas, clip_sample=False, set_alpha_to_one=False)
    return EulerDiscreteScheduler(**betas, timestep_spacing="trailing")


def _rescale(layer: Any, output: torch.Tensor, *, std: float, mean: float = 0.0) -> None:
    """Scale and shift the last ``layer`` so that its ``output`` per channel gets this mean and deviation."""
    got = output.transpose(0, 1).flatten(1)
    rows = slice(0, got.shape[0])
    factor = std / got.std(1)
    bias = layer.bias[rows] if layer.bias is not None else torch.zeros(got.shape[0])
    layer.weight[rows] = layer.weight[rows] * factor.view(-1, 1, 1, 1)
    if layer.bias is not None:
        layer.bias[rows] = (bias - got.mean(1)) * factor + mean


def _write_index(folder: Path, family: Family, vae: str, scheduler: str, tokenizers: list[str]) -> None:
    index: dict[str, Any] = {
        "_class_name": "StableDiffusionPipeline" if family == "sd" else "StableDiffusionXLPipeline",
        "_diffusers_version": "0.30.0",
        "scheduler": ["diffusers", "LCMScheduler" if scheduler == "lcm" else "EulerDiscreteScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderTiny" if vae == "tiny" else "AutoencoderKL"],
    }
    index |= {name: ["transformers", "CLIPTokenizer"] for name in tokenizers}
    if family == "sd":
        index |= {"safety_checker": [None, None], "feature_extractor": [None, None]}
        index["requires_safety_checker"] = False
    else:
        index |= {"text_encoder_2": ["transformers", "CLIPTextModelWithProjection"]}
        index["force_zeros_for_empty_prompt"] = True
    (folder / "model_index.json").write_text(json.dumps(index, indent=2))
