"""presets/models.yaml, and who may name what."""

from __future__ import annotations

import subprocess
import sys

import pytest

from artflow.errors import ArtflowError
from artflow.models.catalog import ROOT, load_catalog

YAML = """
models:
  - id: small
    source: {folder: some/folder}
  - id: owner/big
    source: {hub: owner/big}
    gpu_default: true
"""


@pytest.fixture
def catalog(tmp_path):
    (tmp_path / "models.yaml").write_text(YAML)
    return load_catalog(tmp_path / "models.yaml")


def test_the_catalogue_that_ships():
    catalog = load_catalog()
    assert catalog.ids == [
        "pocket",
        "painter",
        "stabilityai/sd-turbo",
        "stabilityai/sdxl-turbo",
        "SimianLuo/LCM_Dreamshaper_v7",
        "Lykon/dreamshaper-8-lcm",
        "stable-diffusion-v1-5/lcm-lora",
    ]
    assert catalog.default(has_gpu=False).source.folder == ROOT / "artflow/models/pocket"
    turbo = catalog.default(has_gpu=True)
    assert (turbo.source.hub, turbo.tiny_vae, turbo.variant) == (
        "stabilityai/sd-turbo",
        "madebyollin/taesd",
        "fp16",
    )
    assert all(m.title and m.description and m.examples for m in catalog.models)


def test_without_a_gpu_the_first_model_is_the_default(catalog):
    assert catalog.default(has_gpu=False).id == "small"
    assert catalog.default(has_gpu=True).id == "owner/big"


def test_relative_folders_are_those_beside_the_package(catalog):
    assert catalog.get("small").source.folder == ROOT / "some/folder"


def test_users_can_only_name_what_is_in_the_catalogue(catalog, tmp_path, tiny):
    assert catalog.get("owner/big").source.hub == "owner/big"
    for name in (str(tiny()), "someone/else", "../small", ""):
        with pytest.raises(ArtflowError, match="there are small, owner/big") as caught:
            catalog.get(name)
        assert caught.value.code == "unknown_model"


def test_the_operator_can_name_a_folder_a_file_or_a_hub_id(catalog, tmp_path, tiny):
    checkpoint = tmp_path / "mine.safetensors"
    checkpoint.touch()
    assert catalog.find("small") == catalog.get("small")
    assert catalog.find(str(tiny())).source.folder == tiny()
    assert catalog.find(str(checkpoint)).source.file == checkpoint
    assert catalog.find(" someone/else-1.0 ").source.hub == "someone/else-1.0"


@pytest.mark.parametrize(
    "text",
    ["", "nope", "a/b/c", "../x", "/etc", "missing/file.safetensors", "x" * 500, "~nobody-here/x/y", "a\0b"],
)
def test_anything_else_is_refused_by_name(catalog, text):
    with pytest.raises(ArtflowError) as caught:
        catalog.find(text)
    assert caught.value.code == "unknown_model"
    assert repr(text[:90])[:-1] in caught.value.message
    assert "owner/name" in caught.value.message and len(caught.value.message) < 400


def test_pickled_checkpoints_are_refused(catalog, tmp_path):
    (tmp_path / "model.ckpt").touch()
    with pytest.raises(ArtflowError, match=r"model\.ckpt is a pickled file") as caught:
        catalog.find(str(tmp_path / "model.ckpt"))
    assert caught.value.code == "unsafe_weights"


@pytest.mark.parametrize(
    ("yaml", "reason"),
    [
        ("models: [{id: a, source: {}}]", "models.0.source: .*exactly one of folder, hub, file"),
        ("models: [{id: a, source: {hub: a/b, folder: c}}]", "exactly one of folder, hub, file"),
        ("models: [{id: a, source: {file: a.ckpt}}]", "has to be a .safetensors file, not a.ckpt"),
        ("models: [{id: a, source: {hub: no-owner}}]", "models.0.source.hub"),
        ("models: [{id: a, source: {hub: a/b}, wdith: 512}]", "models.0.wdith: Extra inputs"),
        (
            "models: [{id: a, source: {hub: a/b}}, {id: a, source: {hub: a/c}}]",
            "more than one model is called a",
        ),
        ("models: []", "models: "),
        ("models: [", "could not be read"),
    ],
)
def test_a_wrong_catalogue_says_where_and_why(tmp_path, yaml, reason):
    path = tmp_path / "models.yaml"
    path.write_text(yaml)
    with pytest.raises(ArtflowError, match=reason) as caught:
        load_catalog(path)
    assert caught.value.code == "bad_catalog"
    assert str(path) in caught.value.message


def test_reading_the_catalogue_imports_nothing_heavy():
    code = (
        "import sys, artflow.models.catalog, artflow.models.dtypes, artflow.models.hub, artflow.models.acceleration\n"
        "artflow.models.catalog.load_catalog()\n"
        "print(sorted({'torch', 'diffusers', 'transformers'} & set(sys.modules)))"
    )
    assert subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, text=True).strip() == "[]"
