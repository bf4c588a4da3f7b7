"""ComfyUI's graphs: the texts, the size and the checkpoint behind the sampler that drew the picture.

`graph` reads both formats, `values` tells what nodes put out, `conditions` finds the prompts, `samplers` the rest.
"""

from __future__ import annotations

from artflow.metadata.comfyui.graph import of_prompt, of_workflow
from artflow.metadata.comfyui.samplers import settings
from artflow.metadata.values import Metadata, json_object, normalized


def read(prompt: str, workflow: str) -> Metadata | None:
    """The parameters out of the two texts of a picture (JSON each, or empty); None where they hold no graph of ours."""
    ran, drawn = json_object(prompt), json_object(workflow)
    editor = of_workflow(drawn) if drawn else {}
    if ran:
        nodes = of_prompt(ran)
        for key, node in nodes.items():
            if key in editor:
                node.shown = editor[key].shown
        values, missing = settings(nodes)
        if values or missing:
            return normalized("ComfyUI", values, {}, missing)
    values, missing = settings(editor)
    return normalized("ComfyUI", values, {}, missing) if values or missing else None
