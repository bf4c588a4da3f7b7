"""Which files are loaded, by their names alone."""

from __future__ import annotations

import pytest

from artflow.errors import ArtflowError
from artflow.models.weights import choose_weights, require_weights

STEM = "diffusion_pytorch_model"
PLAIN, HALF, PICKLE = f"{STEM}.safetensors", f"{STEM}.fp16.safetensors", f"{STEM}.bin"


@pytest.mark.parametrize(
    ("names", "variant", "chosen"),
    [
        ([PLAIN, HALF, PICKLE], None, (None, [PLAIN])),
        ([PLAIN, HALF, PICKLE], "fp16", ("fp16", [HALF])),
        ([PLAIN, PICKLE], "fp16", (None, [PLAIN])),
        ([HALF, PICKLE], None, ("fp16", [HALF])),
        ([f"{STEM}.non_ema.safetensors", PICKLE], None, None),
        (["taesd_decoder.safetensors", "model.safetensors"], None, None),
    ],
    ids=["plain", "variant", "no such variant", "only fp16", "only another variant", "other names"],
)
def test_the_wanted_variant_then_plain_then_fp16(names, variant, chosen):
    assert choose_weights(names, STEM, variant) == chosen


@pytest.mark.parametrize(
    ("index", "shard"),
    [
        (f"{STEM}.safetensors.index.json", f"{STEM}-0000{{}}-of-00002.safetensors"),
        (f"{STEM}.safetensors.index.fp16.json", f"{STEM}.fp16-0000{{}}-of-00002.safetensors"),
        (f"{STEM}.safetensors.index.fp16.json", f"{STEM}-0000{{}}-of-00002.fp16.safetensors"),
    ],
)
def test_shards_count_only_when_all_of_them_are_there(index, shard):
    both = [index, shard.format(1), shard.format(2)]
    variant = "fp16" if "fp16" in index else None
    assert choose_weights([*both, PICKLE], STEM, variant) == (variant, both)
    assert choose_weights(both[:2], STEM, variant) is None
    assert choose_weights(both[1:], STEM, variant) is None


def test_pickled_weights_are_refused_and_missing_ones_named():
    with pytest.raises(ArtflowError, match=rf"me/model: unet/{PICKLE} is a pickled file") as caught:
        require_weights("me/model", "unet", ["config.json", PICKLE], None)
    assert caught.value.code == "unsafe_weights"
    with pytest.raises(ArtflowError, match=r"no \.safetensors weights in unet/") as caught:
        require_weights("me/model", "unet", ["config.json"], None)
    assert caught.value.code == "model_load_failed"
