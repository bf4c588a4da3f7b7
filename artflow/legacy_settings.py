"""The keys of the earlier project: where they live now, and which say nothing here any more."""

from __future__ import annotations

import logging
from typing import Any

log = logging.getLogger(__name__)

_FLOW = (
    "enable_similar_image_filter",
    "similar_image_filter_threshold",
    "similar_image_filter_max_skip_frame",
    "jpeg_quality",
    "max_fps",
)
_GENERATION = {
    "width": "width", "height": "height", "steps": "steps", "cfg_scale": "guidance_scale",
    "guidance_scale": "guidance_scale", "seed": "seed", "prompt": "prompt", "negative_prompt": "negative_prompt",
}  # fmt: skip

RENAMED: dict[str, tuple[str, ...]] = {
    "model_id": ("model.model_id",),
    "acceleration": ("model.acceleration",),
    "log_level": ("logging.level",),
    "server.use_safety_checker": ("safety.check",),
    "tensorrt.engine_dir": ("model.engine_dir",),
    "tensorrt.use_cuda_graph": ("model.use_cuda_graph",),
    "pipeline.use_tiny_vae": ("model.use_tiny_vae",),
    "pipeline.warmup": ("model.warmup",),
    "pipeline.use_lcm_lora": ("model.use_lcm_lora",),
    "pipeline.width": ("realtime.generation.width", "canvas.generation.width"),
    "pipeline.height": ("realtime.generation.height", "canvas.generation.height"),
    **{f"performance.{name}": (f"canvas.performance.{name}",) for name in _FLOW},
    **{f"realtime_performance.{name}": (f"realtime.performance.{name}",) for name in _FLOW},
    **{f"canvas_performance.{name}": (f"canvas.performance.{name}",) for name in _FLOW},
    **{f"{mode}_performance.warmup": ("model.warmup",) for mode in ("realtime", "canvas", "txt2img")},
    **{
        f"{group}_generation.{old}": (f"{mode}.generation.{new}",)
        for group, mode in (("realtime", "realtime"), ("canvas", "canvas"), ("txt2img", "text"))
        for old, new in _GENERATION.items()
    },
    "realtime_generation.denoise": ("realtime.generation.strength",),
    "canvas_generation.denoise": ("canvas.generation.strength",),
}
_BATCHED = "frames of all people are batched"
UNUSED = {  # key or whole group: what is so instead
    "config_file": "settings are read from presets/default.yaml",
    "model.vae_id": "a model's entry in presets/models.yaml names its small decoder",
    "pipeline.name": "every mode has a tab and a route",
    "pipeline.mode": "every mode has a tab and a route",
    "pipeline.frame_buffer_size": _BATCHED,
    "pipeline.use_denoising_batch": _BATCHED,
    "realtime_performance.frame_buffer_size": _BATCHED,
    "canvas_performance.frame_buffer_size": _BATCHED,
    "txt2img_performance": "results are PNG files, made when asked for",
    "txt2img_generation.denoise": "text starts from noise alone",
    "server.host": "GRADIO_SERVER_NAME says it",
    "server.port": "GRADIO_SERVER_PORT says it",
    "host": "GRADIO_SERVER_NAME says it",
    "port": "GRADIO_SERVER_PORT says it",
    "logging.format": "logs are JSON lines",
    "cors": "ARTFLOW_SERVER__ORIGINS lists the pages that may connect",
    "cors_origins": "ARTFLOW_SERVER__ORIGINS lists the pages that may connect",
}


def put(tree: dict[str, Any], path: list[str], value: Any) -> None:
    """Set a value deep in a tree; groups are made on the way, and a group is merged into one that is there."""
    for name in path[:-1]:
        child = tree.get(name)
        if not isinstance(child, dict):
            child = tree[name] = {}
        tree = child
    if isinstance(value, dict) and isinstance(tree.get(path[-1]), dict):
        for name, part in value.items():
            put(tree[path[-1]], [name], part)
    else:
        tree[path[-1]] = value


def translate(tree: dict[str, Any]) -> None:
    """Move older keys to where they live now; drop those that say nothing here, with a warning each."""
    for old, paths in RENAMED.items():
        for value in _taken(tree, old.split(".")):
            for new in paths:
                put(tree, new.split("."), value)
    for old, instead in UNUSED.items():
        for value in _taken(tree, old.split(".")):
            log.warning("the setting `%s` (value %r) is not used: %s", old, value, instead)


def _taken(tree: dict[str, Any], path: list[str]) -> list[Any]:
    """The value at ``path``, taken out with the group that it leaves empty; none where there is no such key."""
    group: Any = tree
    for name in path[:-1]:
        group = group.get(name) if isinstance(group, dict) else None
    if not isinstance(group, dict) or path[-1] not in group:
        return []
    value = group.pop(path[-1])
    if len(path) > 1 and not group:
        del tree[path[0]]
    return [value]
