"""Acceleration is a wish: what cannot be had is said in one sentence, and the plain path runs."""

from __future__ import annotations

import weakref
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
import torch

from artflow.models import acceleration
from artflow.models.acceleration import accelerate


@pytest.fixture(scope="module")
def model(tiny, load):
    """As small as a UNet with a text condition gets: compilers take seconds for each layer."""
    return load(tiny(channels=(8,)))


@pytest.fixture(autouse=True)
def fresh_compiler():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@torch.inference_mode()
def denoise(model, rows: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(rows)
    latents = torch.randn(rows, 4, 8, 8, generator=generator).contiguous(memory_format=torch.channels_last)
    text = torch.randn(rows, 77, 32, generator=generator)
    times = torch.full((rows,), 499.0)
    return model.unet(latents, times, encoder_hidden_states=text, return_dict=False)[0]


@torch.inference_mode()
def decode(model, latents: torch.Tensor) -> torch.Tensor:
    return model.vae.decode(latents, return_dict=False)[0]


def test_none_changes_nothing(model):
    result = accelerate(model, "none")
    assert (result.active, result.problem, result.fixed_batches) == ("none", None, False)


@pytest.mark.parametrize(
    ("kind", "command"),
    [
        ("xformers", 'pip install --no-deps "xformers=='),
        ("tensorrt", f'pip install "torch-tensorrt=={".".join(torch.__version__.split(".")[:2])}.*"'),
        ("openvino", 'pip install "openvino>='),
    ],
)
def test_one_that_is_not_installed_names_the_command_that_installs_it(model, monkeypatch, kind, command):
    monkeypatch.setattr(acceleration, "find_spec", lambda module: None)
    before = denoise(model)
    result = accelerate(model, kind)
    assert (result.asked, result.active) == (kind, "none")
    assert (result.problem or "").startswith(
        f"{kind} is not installed, so the plain path runs; install it with: {command}"
    )
    assert torch.equal(denoise(model), before)


def test_xformers_says_that_it_needs_a_gpu(model, monkeypatch):
    monkeypatch.setattr(acceleration, "find_spec", lambda module: object())
    result = accelerate(model, "xformers")
    assert result.active == "none"
    assert result.problem == "xformers needs a CUDA GPU and the model is on cpu, so the plain path runs."


def test_compiled_code_gives_the_same_pictures_is_kept_and_can_be_taken_away(model, tmp_path, monkeypatch):
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
    plain = denoise(model)
    picture = decode(model, plain)
    result = accelerate(model, "compile", tmp_path / "engines")
    assert result.fixed_batches

    assert torch.allclose(denoise(model), plain, atol=1e-4)
    assert torch.allclose(decode(model, plain), picture, atol=1e-4)
    assert (result.active, result.problem) == ("compile", None)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] >= 2  # the UNet and the decoder were compiled

    assert any((tmp_path / "engines").rglob("*")), "the next start finds it there"

    result.remove()
    assert result.active == "none" and not result.fixed_batches
    assert torch.equal(denoise(model), plain)


def test_a_compilation_that_fails_falls_back_and_says_why(model, monkeypatch):
    plain = denoise(model)
    monkeypatch.setattr("torch._inductor.config.cpp.cxx", ("/no/such/compiler",))
    monkeypatch.setattr("torch._inductor.config.force_disable_caches", True)
    result = accelerate(model, "compile")

    assert torch.equal(denoise(model), plain)  # the person who asked first gets the picture

    assert result.active == "none"
    assert result.problem.startswith("The model could not be compiled, so the plain path runs: ")
    assert "/no/such/compiler" in result.problem and "apt-get install g++" in result.problem
    assert "forward" not in vars(model.unet) and "forward" not in vars(model.vae.decoder)


def test_a_wrong_input_is_not_taken_for_a_failed_compilation(model, monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)
    result = accelerate(model, "compile")
    with pytest.raises(RuntimeError):
        model.unet(torch.zeros(1, 3, 8, 8), 1, encoder_hidden_states=torch.zeros(1, 77, 32))
    assert (result.active, result.problem) == ("compile", None)
    result.remove()


def test_more_shapes_are_compiled_than_torch_allows_by_itself_on_whatever_thread_calls(model, monkeypatch):
    """Torch's limit of 8 belongs to a thread, and it is not the loading thread that compiles."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    result = accelerate(model, "compile")
    latents = [torch.zeros(1, 4, 2, 2 + width) for width in range(10)]
    compiled = torch._dynamo.utils.counters["stats"]
    with ThreadPoolExecutor(1, "engine") as engine:
        for latent in latents:
            before = compiled["unique_graphs"]
            engine.submit(decode, model, latent).result()
            assert compiled["unique_graphs"] > before
    result.remove()


def test_memory_that_runs_out_does_not_switch_compiling_off(model, monkeypatch):
    wrapped = RuntimeError("the backend failed")
    wrapped.__cause__ = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
    failures = [torch.OutOfMemoryError("CUDA out of memory"), wrapped]

    def compile_(plain, **_):
        def compiled(*args, **kwargs):
            if failures:
                raise failures.pop()
            return plain(*args, **kwargs)

        return compiled

    monkeypatch.setattr(torch, "compile", compile_)
    result = accelerate(model, "compile")
    for error in (RuntimeError, torch.OutOfMemoryError):
        with pytest.raises(error):
            denoise(model)
    assert denoise(model).isfinite().all()
    assert (result.active, result.problem) == ("compile", None)
    result.remove()


def test_the_tensors_of_a_failed_call_are_gone_when_the_plain_one_runs(model, monkeypatch):
    made: list[weakref.ref] = []

    def compile_(plain, **_):
        def compiled(*args, **kwargs):
            activations = torch.zeros(8)
            made.append(weakref.ref(activations))
            raise RuntimeError("no kernel")

        return compiled

    monkeypatch.setattr(torch, "compile", compile_)
    accelerate(model, "compile")
    alive: list[bool] = []
    watch = model.unet.conv_in.register_forward_pre_hook(lambda *_: alive.append(made[0]() is not None))
    try:
        denoise(model)
    finally:
        watch.remove()
    assert alive == [False]


# --- OpenVINO ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def accelerated(tiny, load, tmp_path_factory):
    """A model that OpenVINO runs, the plain one beside it, and where the conversions are kept."""
    folder = tiny(channels=(8, 16))
    engines = tmp_path_factory.mktemp("engines")
    fast, plain = load(folder), load(folder)
    result = accelerate(fast, "openvino", engines)
    assert (result.active, result.problem) == ("openvino", None)
    return fast, plain, engines, result


@torch.inference_mode()
def denoised(model, rows: int, height: int, width: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(rows)
    latents = torch.randn(rows, 4, height, width, generator=generator)
    inputs = {"text": torch.randn(rows, 77, 32, generator=generator)}
    return model.predict(latents, torch.full((rows,), 499.0), inputs)


@pytest.mark.parametrize(("rows", "height", "width"), [(1, 8, 8), (3, 8, 8), (2, 8, 24), (2, 7, 9)])
def test_openvino_computes_the_same_for_any_batch_and_size(accelerated, rows, height, width):
    fast, plain, *_ = accelerated
    torch.testing.assert_close(
        denoised(fast, rows, height, width), denoised(plain, rows, height, width), atol=1e-4, rtol=1e-4
    )


@torch.inference_mode()
def test_openvino_encodes_and_decodes_the_same_pictures(accelerated):
    fast, plain, *_ = accelerated
    pixels = torch.randint(0, 256, (3, 64, 128, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    latents = plain.encode(pixels)
    torch.testing.assert_close(fast.encode(pixels), latents, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(fast.decode(latents), plain.decode(latents), atol=1e-4, rtol=1e-4)


def test_conversions_are_kept_by_their_weights(accelerated, tiny, load):
    fast, _, engines, _ = accelerated
    kept = sorted(path.name for path in engines.glob("*.xml"))
    assert [name.split("-")[0] for name in kept] == ["decoder", "encoder", "unet"]
    again = load(tiny(channels=(8, 16)))
    assert accelerate(again, "openvino", engines).active == "openvino"
    assert sorted(path.name for path in engines.glob("*.xml")) == kept
    assert torch.equal(denoised(again, 1, 8, 8), denoised(fast, 1, 8, 8))


def test_two_threads_may_call_it_at_once(accelerated):
    fast, plain, *_ = accelerated
    with ThreadPoolExecutor(2) as threads:
        answers = list(threads.map(lambda rows: denoised(fast, rows, 8, 8), [1, 2] * 8))
    for rows, answer in zip([1, 2] * 8, answers, strict=True):
        torch.testing.assert_close(answer, denoised(plain, rows, 8, 8), atol=1e-4, rtol=1e-4)


def test_openvino_can_be_taken_away(tiny, load):
    model = load(tiny(channels=(8,)))
    before = denoise(model)
    accelerate(model, "openvino").remove()
    assert torch.equal(denoise(model), before)


def test_openvino_says_that_it_runs_no_painter():
    class Other:
        spec = type("Spec", (), {"title": "Painter"})

    result = accelerate(Other(), "openvino")
    assert result.problem == (
        "openvino cannot run this model, so the plain path runs: Painter is no diffusion model with a UNet."
    )
