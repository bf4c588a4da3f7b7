"""The embedded photo classifier's weights and names: ``python training/convert_efficientnet.py PTH NAMES OUT``.

`artflow/models/efficientnet_lite0/README.md` says where they come from. ``PTH`` is the checkpoint, ``NAMES`` the module
``zero_shot_metadata.py`` of `open_clip`, ``OUT`` the folder to fill. Each batch norm is folded into its convolution.
"""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

EPSILON = 1e-3  # of the batch norms
NORMS = {
    "_conv_stem": "_bn0", "_conv_head": "_bn1", "_expand_conv": "_bn0", "_depthwise_conv": "_bn1",
    "_project_conv": "_bn2",
}  # fmt: skip
OURS = {
    "_conv_stem": "stem", "_conv_head": "head", "_expand_conv": "expand", "_depthwise_conv": "depthwise",
    "_project_conv": "project", "_blocks": "blocks", "_fc": "classes",
}  # fmt: skip


def convert(checkpoint: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights under the names of `artflow.models.classifier.EfficientNetLite0`, in float16."""
    tensors: dict[str, Tensor] = {}
    for name, value in checkpoint.items():
        path, layer, kind = re.fullmatch(r"(?:(.+)\.)?(\w+)\.(\w+)", name).groups(default="")  # type: ignore[union-attr]
        ours = ".".join(OURS.get(part, part) for part in [*path.split("."), layer] if part)
        if layer in NORMS:
            norm = ".".join(part for part in (path, NORMS[layer]) if part)
            scale = checkpoint[f"{norm}.weight"] / (checkpoint[f"{norm}.running_var"] + EPSILON).sqrt()
            tensors[f"{ours}.weight"] = value * scale[:, None, None, None]
            tensors[f"{ours}.bias"] = checkpoint[f"{norm}.bias"] - checkpoint[f"{norm}.running_mean"] * scale
        elif layer == "_fc":
            tensors[f"{ours}.{kind}"] = value
    return {name: value.half().contiguous() for name, value in tensors.items()}


PLAIN = {  # names that are no one thing: they get no article
    "binoculars", "clogs", "jeans", "tights", "pajamas", "parallel bars", "swim trunks", "sunglasses", "velvet fabric",
    "wool", "chain mail", "face powder", "hair spray", "lotion", "sunscreen", "perfume", "guacamole", "consomme",
    "ice cream", "mashed potatoes", "broccoli", "hay", "carbonara", "chocolate syrup", "dough", "meatloaf", "red wine",
    "espresso", "eggnog", "rapeseed", "corn", "toilet paper", "fruit",
}  # fmt: skip
BETTER = {  # names that are lists, or read badly
    "african grey parrot": "African grey parrot", "arabian camel": "Arabian camel", "bell or wind chime": "wind chime",
    "bittern bird": "bittern", "brussels griffon": "Brussels griffon", "crane bird": "crane",
    "ford model t": "Ford Model T",
    "gas mask or respirator": "gas mask", "product packet / packaging": "product packet",
    "red wolf or maned wolf": "red wolf", "spiral or coil": "spiral", "traffic or street sign": "street sign",
    "vaulted or arched ceiling": "vaulted ceiling", "vespa": "Vespa",
}  # fmt: skip
KINDS = {  # what several classes have in common, by their numbers
    "fish": "0-1 389-397", "shark": "2-4", "ray": "5-6", "chicken": "7-8", "bird": "9-24 80-100 127-146",
    "newt or salamander": "25-29", "frog": "30-32", "turtle": "33-37", "lizard": "38-48", "crocodile": "49-50",
    "snake": "52-68", "spider": "72-77", "crab": "118-121", "lobster": "122-124", "whale": "147-148", "dog": "151-268",
    "wolf": "269-271", "fox": "277-280", "cat": "281-285", "big cat": "286-293", "bear": "294-297", "beetle": "300-307",
    "butterfly": "321-326", "rabbit": "330-332", "antelope": "351-353", "ape": "365-369", "monkey": "370-382",
    "lemur": "383-384", "elephant": "101 385-386", "car": "436 468 511 609 627 656 661 751 817",
    "truck": "555 569 675 717 734 864 867", "boat": "403 472 484 510 554 576 625 628 724 780 814 871 914",
    "train": "466 547 565 705 820", "bus": "654 779 874", "guitar": "402 546",
    "ball": "429 430 522 574 722 768 805 852 890", "computer": "527 620 681", "mushroom": "947 991-997",
    "building": "425 437 442 449 483 497 498 538 580 624 663 668 698 727 743 762 832", "cup": "504 967 968",
    "bag": "414 636 728 748", "clock": "409 530 892", "gun": "413 763 764", "shoe": "502 514 630 770 774",
    "hat": "439 452 515 808", "bottle": "440 720 737 898 907", "telephone": "487 528 707", "fruit": "948-957",
    "vegetable": "936-946", "bridge": "821 839 888", "airplane": "404 895",
}  # fmt: skip


def names(source: str) -> list[tuple[str, str]]:
    """What the thousand classes are called, each with what it has in common with others, or "".

    Both as they are said: "a tabby cat", "a cat". ``source`` is `open_clip`'s module with its friendly names.
    """
    kinds = {}
    for kind, numbers in KINDS.items():
        for first, last in re.findall(r"(\d+)(?:-(\d+))?", numbers):
            kinds |= dict.fromkeys(range(int(first), int(last or first) + 1), _said(kind))
    for statement in ast.parse(source).body:
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "IMAGENET_CLASSNAMES":
            friendly: tuple[str, ...] = ast.literal_eval(statement.value)
            return [(_said(name), kinds.get(number, "")) for number, name in enumerate(friendly)]
    raise ValueError("there are no IMAGENET_CLASSNAMES")


def _said(name: str) -> str:
    name = re.sub(r" \(.*| / .*", "", BETTER.get(name, name))
    if name in PLAIN:
        return name
    vowel = name[0] in "aeiouAEIOU" or name.startswith("hourglass")
    return f"{'an' if vowel and not re.match('uni|one|Eu', name) else 'a'} {name}"


if __name__ == "__main__":
    pth, metadata, out = map(Path, sys.argv[1:4])
    out.mkdir(exist_ok=True)
    save_file(convert(torch.load(pth, map_location="cpu", weights_only=True)), out / "model.safetensors")
    (out / "classes.tsv").write_text("".join(f"{name}\t{kind}\n" for name, kind in names(metadata.read_text())))
