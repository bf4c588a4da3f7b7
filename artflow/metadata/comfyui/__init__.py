"""ComfyUI's graphs: the texts, the size and the checkpoint behind the sampler that drew the picture.

`graph` reads both formats, `values` tells what nodes put out, `conditions` finds the prompts, `samplers` the rest.
"""

from __future__ import annotations

from artflow.metadata.comfyui.graph import of_prompt, of_workflow
from artflow.metadata.comfyui.samplers import settings
from artflow.metadata.values import Metadata, json_object, normalized

LONGEST = 1_200_000  # characters of a graph; the largest of ComfyUI's own templates has less than half
MOST_BESIDE = 500_000


def read(prompt: str, workflow: str) -> Metadata | None:
    """The parameters out of the two texts of a picture (JSON each, or empty); None where they hold no graph of ours."""
    ran = json_object(prompt) if len(prompt) <= LONGEST else None
    # Beside the graph that was run, the editor's only adds what its nodes showed.
    drawn = json_object(workflow) if len(workflow) <= (MOST_BESIDE if ran else LONGEST) else None
    if ran:
        nodes = of_prompt(ran)
        editor = of_workflow(drawn) if drawn else {}
        for key, node in nodes.items():
            if key in editor:
                node.shown, node.outputs = editor[key].shown, editor[key].outputs
        values, missing = settings(nodes)
        if values or missing:
            return normalized("ComfyUI", values, {}, missing)
    values, missing = settings(of_workflow(drawn)) if drawn else ({}, ())
    return normalized("ComfyUI", values, {}, missing) if values or missing else None
