"""LoRAs per row of a call: as each alone, as diffusers has them, and nothing changed for those who have none."""

from __future__ import annotations

import gc
import json
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from safetensors.torch import load_file, save_file

from artflow.errors import ArtflowError
from artflow.models import lora_weights
from artflow.models.extras import NONE, Extras
from artflow.models.model import Condition
from artflow.models.packing import pack
from tests.support.loras import write_lora


def some(**loras: float) -> Extras:
    """What a row with these LoRAs has."""
    return Extras(loras=tuple(loras.items()))


def called(model, extras, *, rows=slice(None)):
    """What the UNet predicts for four fixed rows, or some of them."""
    generator = torch.Generator().manual_seed(5)
    latents = torch.randn(4, 4, 8, 8, generator=generator)[rows]
    times = torch.tensor([999.0, 500.0, 100.0, 20.0])[rows]
    inputs = {"text": torch.randn(4, 77, model.text_width, generator=generator)[rows]}
    if model.family == "sdxl":
        inputs["pooled"] = torch.randn(4, model.text_encoders[1].config.projection_dim, generator=generator)[rows]
        inputs["time_ids"] = torch.ones(4, 6)[rows]
    with torch.inference_mode():
        if not any(extras):
            return model.predict(latents, times, inputs)
        return model.predict_with(latents, times, inputs, extras)


@pytest.fixture(params=["sd", "sdxl"])
def model(request, load, tiny, tmp_path):
    """A model with two LoRAs at hand, ``one`` of mixed ranks and alphas, for all of its parts, and ``two``."""
    loaded = load(tiny(family=request.param))
    loaded.lora_folder = tmp_path / "loras"
    parts = dict(zip(("text_encoder", "text_encoder_2"), loaded.text_encoders)) | {"unet": loaded.unet}
    mixed = {"ranks": (4, 2, 8), "alphas": (2.0, None, 8.0, 1.0), "format": "kohya"}
    write_lora(tmp_path / "loras" / "one.safetensors", parts, seed=1, **mixed)
    write_lora(tmp_path / "loras" / "sub" / "two.v2.safetensors", {"unet": loaded.unet}, seed=2)
    return loaded


MIXED = [NONE, some(one=1.0), Extras((("one", 0.5), ("two.v2", -0.7))), some(**{"two.v2": 0.0})]


@pytest.mark.parametrize("packed", [False, True])
def test_each_row_is_as_if_alone_and_those_without_are_the_base(model, packed):
    if packed:
        pack(model)
    base = called(model, [NONE] * 4)
    model.loras.load(["one", "two.v2"])
    assert torch.equal(called(model, [NONE] * 4), base)
    together = called(model, MIXED)
    for i, extras in enumerate(MIXED):
        alone = called(model, [extras], rows=slice(i, i + 1))
        torch.testing.assert_close(together[i : i + 1], alone, atol=1e-4, rtol=1e-4)
    for row in (0, 3):
        torch.testing.assert_close(together[row], base[row], atol=1e-5 if packed else 1e-6, rtol=1e-5)
    assert (together[1] - base[1]).abs().max() > 0.05
    assert torch.equal(called(model, [some(one=0.0)] * 4), base)  # no row uses it: the network itself
    assert torch.equal(called(model, [NONE] * 4), base)


def test_the_weights_are_those_of_the_file_times_alpha_by_rank(model):
    """By hand: each adapted layer's own weight plus what the file adds to it."""
    tensors = load_file(model.lora_folder / "one.safetensors")
    model.loras.load(["one"])
    ours = called(model, [some(one=0.8)] * 4)
    names = {f"lora_unet_{name.replace('.', '_')}": name for name, _ in model.unet.named_modules()}
    with torch.no_grad():
        for key in [key for key in tensors if key.startswith("lora_unet") and key.endswith("down.weight")]:
            layer = key.split(".")[0]
            down, up = tensors[key], tensors[f"{layer}.lora_up.weight"]
            scale = float(tensors.get(f"{layer}.alpha", torch.tensor(down.shape[0]))) / down.shape[0]
            weight = model.unet.get_submodule(names[layer]).weight
            weight += 0.8 * scale * (up.flatten(1) @ down.flatten(1)).view(weight.shape)
    torch.testing.assert_close(ours, called(model, [NONE] * 4), atol=2e-4, rtol=2e-4)


def test_a_lora_for_the_text_towers_changes_the_prompt_and_one_for_the_unet_alone_does_not(model):
    def embedded(*loras):
        return model.prepare([Condition("a cat", more=(("loras", loras),) if loras else ())])[0]["text"]

    plain = embedded()
    assert torch.equal(embedded(("two.v2", 1.0)), plain)
    assert (embedded(("one", 1.0)) - plain).abs().max() > 0.05
    assert torch.equal(embedded(), plain)
    one, two = ((("loras", ((name, 1.0),)),) for name in ("one", "two.v2"))
    assert dict(model.essential(Condition("a", more=one)).more)["loras"] == (("one", 1.0),)
    assert model.essential(Condition("a", more=two)) == Condition("a")
    mixed = model.prepare([Condition("a cat"), Condition("a cat", more=one)])
    torch.testing.assert_close(mixed[0]["text"], plain)
    torch.testing.assert_close(mixed[1]["text"], embedded(("one", 1.0)))


def test_each_tower_has_its_own_part_of_a_lora(load, tiny, tmp_path):
    model = load(tiny(family="sdxl"))
    model.lora_folder = tmp_path
    first, second = model.text_encoders
    write_lora(tmp_path / "first.safetensors", {"text_encoder": first})
    write_lora(tmp_path / "both.safetensors", {"text_encoder": first, "text_encoder_2": second})
    plain, alone, both = model.encode_texts(
        [Condition("a cat", more=((("loras", ((name, 1.0),)),) if name else ())) for name in ("", "first", "both")],
        hidden=True,
    )[0].hidden_states[-1]
    assert (alone - plain).abs().max() > 0.05
    torch.testing.assert_close(both, alone)


@pytest.mark.parametrize("format", ["kohya", "dotted", "diffusers", "peft"])
def test_the_formats_of_the_field(load, tiny, tmp_path, format):
    model = load(tiny())
    model.lora_folder = tmp_path
    write_lora(tmp_path / "same.safetensors", {"unet": model.unet}, seed=3, ranks=(4, 2), format=format)
    write_lora(tmp_path / "plain.safetensors", {"unet": model.unet}, seed=3, ranks=(4, 2), format="kohya")
    model.loras.load(["same", "plain"])
    assert torch.equal(called(model, [some(same=1.0)] * 4), called(model, [some(plain=1.0)] * 4))


def refusal(model, name):
    before = dict(model.loras.loaded)
    with pytest.raises(ArtflowError) as caught:
        model.loras.load([name])
    assert model.loras.loaded == before
    return caught.value.message


def test_what_does_not_fit_is_refused_and_named(load, tiny, tmp_path):
    model, other = load(tiny()), load(tiny(family="sdxl"))
    model.lora_folder = tmp_path
    base = called(model, [NONE] * 4)
    write_lora(tmp_path / "other.safetensors", {"unet": other.unet})
    assert refusal(model, "other") == "'other' is a LoRA for a model with texts 80 wide; this model is tiny."
    write_lora(tmp_path / "larger.safetensors", {"unet": load(tiny(channels=(64, 64))).unet})
    assert "proj_in.lora_A.weight of 64" in refusal(model, "larger")
    pair = {"unet.no_such.lora_A.weight": torch.ones(2, 4), "unet.no_such.lora_B.weight": torch.ones(4, 2)}
    save_file(pair, tmp_path / "a.safetensors")
    assert "no_such.lora_A.weight" in refusal(model, "a")
    save_file({"lora_unet_x.hada_w1_a": torch.ones(2, 2)}, tmp_path / "b.safetensors")
    assert "a LoHa" in refusal(model, "b")
    (tmp_path / "c.safetensors").write_bytes(b"\x80\x04 pickled")
    assert "cannot be read as safetensors" in refusal(model, "c")
    assert refusal(model, "nobody").startswith("There is no LoRA 'nobody'; there are a, b, blueprint, c, larger, neon")
    assert refusal(model, "../secret").startswith("There is no LoRA '../secret'")
    assert torch.equal(called(model, [NONE] * 4), base)


def test_the_least_used_go_when_the_budget_is_full_and_none_that_a_plan_holds(load, tiny, tmp_path, monkeypatch):
    monkeypatch.setattr("artflow.models.lora.JUST_ASKED", 0.0)
    model = load(tiny())
    model.lora_folder = tmp_path
    for i, name in enumerate("abcd"):
        write_lora(tmp_path / f"{name}.safetensors", {"unet": model.unet}, seed=i)
    model.loras.load(["a"])
    model.lora_budget = 2 * model.loras.memory_bytes

    class Plan:
        """Who has a plan with LoRAs."""

    first = called(model, [some(a=1.0)] * 4)
    plan = Plan()
    model.hold(plan, ["a"])
    model.loras.load(["b"])
    model.loras.load(["c"])
    assert set(model.loras.loaded) == {"a", "c"}
    torch.testing.assert_close(called(model, [some(a=1.0)] * 4), first)
    with pytest.raises(ArtflowError, match="'b' is not loaded any more"):
        called(model, [some(b=1.0)] * 4)
    with pytest.raises(ArtflowError, match=r"no room for the LoRA 'd' .* models.lora_memory_mb"):
        model.loras.load(["a", "c", "d"])
    del plan
    gc.collect()
    model.loras.load(["d"])
    assert "d" in model.loras.loaded and len(model.loras.loaded) == 2


def test_a_file_that_was_replaced_is_read_again_and_one_that_is_gone_is_unknown(load, tiny, tmp_path):
    model = load(tiny())
    model.lora_folder = tmp_path
    path = write_lora(tmp_path / "a.safetensors", {"unet": model.unet, "text_encoder": model.text_encoders[0]})
    model.loras.load(["a"])
    before, key = called(model, [some(a=1.0)] * 4), Condition("a cat", more=(("loras", (("a", 1.0),)),))
    cached = model.essential(key)
    write_lora(path, {"unet": model.unet, "text_encoder": model.text_encoders[0]}, seed=7)
    assert dict(model.essential(key).more)["unread"] == ("a",)
    model.loras.load(["a"])
    assert model.essential(key) not in (cached, key)
    assert (called(model, [some(a=1.0)] * 4) - before).abs().max() > 0.05
    path.unlink()
    with pytest.raises(ArtflowError, match="There is no LoRA 'a'"):
        model.loras.load(["a"])


def test_there_is_room_before_a_file_is_read_and_a_refusal_is_told_for_a_while(load, tiny, tmp_path, monkeypatch):
    model, reads = load(tiny()), []
    model.lora_folder = tmp_path
    read = lora_weights.read
    monkeypatch.setattr(lora_weights, "read", lambda name, *more: reads.append(name) or read(name, *more))
    write_lora(tmp_path / "a.safetensors", {"unet": model.unet})
    write_lora(tmp_path / "wide.safetensors", {"unet": load(tiny(channels=(64, 64))).unet})
    budget, model.lora_budget = model.lora_budget, 10
    assert "There is no room for the LoRA 'a'" in refusal(model, "a") and not reads
    model.lora_budget = budget
    assert refusal(model, "wide") == refusal(model, "wide") and reads == ["wide"]
    model.loras.load(["a"])


def test_weights_that_a_packed_copy_has_for_itself_are_counted(load, tiny, tmp_path):
    model = load(tiny())
    model.lora_folder = tmp_path
    write_lora(tmp_path / "a.safetensors", {"unet": model.unet})
    pack(model)
    base = model.memory_bytes
    model.loras.load(["a"])
    fused = sum(p.nbytes for n, p in model.unet.named_parameters() if "to_qkv" in n or "to_kv" in n)
    assert model.memory_bytes - base >= model.loras.loaded["a"].size + fused > model.loras.loaded["a"].size


def test_threads_compute_at_once_while_another_lora_is_read(load, tiny, tmp_path):
    """The engine's thread and the lane's have calls of their own, and a new LoRA comes in beside them."""
    model = load(tiny())
    model.lora_folder = tmp_path
    for i, name in enumerate("abcd"):
        write_lora(tmp_path / f"{name}.safetensors", {"unet": model.unet}, seed=i)
    model.loras.load(["a"])
    wanted = [[some(a=weight)] * 4 for weight in (1.0, -1.0)]
    alone = [called(model, extras) for extras in wanted]

    def many(extras):
        return [called(model, extras) for _ in range(20)]

    with ThreadPoolExecutor(2) as threads:
        running = [threads.submit(many, extras) for extras in wanted]
        model.loras.load(["b", "c", "d"])
        for future, expected in zip(running, alone, strict=True):
            for got in future.result():
                torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)


def test_diffusers_own_metadata_say_what_alpha_is(load, tiny, tmp_path):
    model = load(tiny())
    model.lora_folder = tmp_path
    plain = write_lora(tmp_path / "plain.safetensors", {"unet": model.unet})
    tensors = load_file(plain)
    layers = sorted({key.removeprefix("unet.").split(".lora_")[0] for key in tensors})
    about = {"unet.r": 4, "unet.lora_alpha": 2, "unet.target_modules": layers}
    save_file(tensors, tmp_path / "half.safetensors", {"lora_adapter_metadata": json.dumps(about), "format": "pt"})
    model.loras.load(["plain", "half"])
    torch.testing.assert_close(called(model, [some(half=1.0)] * 4), called(model, [some(plain=0.5)] * 4))


def test_an_lcm_lora_is_fused_into_the_weights_as_a_model_is_loaded(load, tiny, tmp_path):
    plain = load(tiny())
    path = write_lora(tmp_path / "lcm.safetensors", {"unet": plain.unet}, seed=4, alphas=(2.0,), format="kohya")
    plain.lora_folder = tmp_path
    plain.loras.load(["lcm"])
    fused = load(tiny(), lcm_lora=str(path), live_schedule="lcm")
    ours, theirs = called(fused, [NONE] * 4), called(plain, [some(lcm=1.0)] * 4)
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)
    assert fused.memory_bytes == load(tiny()).memory_bytes  # nothing is left beside the weights
    with pytest.raises(ArtflowError, match=r"there is an LCM-LoRA for SD 1.5 and SDXL, and it is neither"):
        load(tiny(), lcm_lora="auto")
