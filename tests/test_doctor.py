"""The doctor: what is installed, what does not fit together, and the command that mends it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from artflow import memory
from artflow.__main__ import main
from artflow.doctor import Check, DependencyChecker, report
from artflow.errors import ArtflowError


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Puts the metadata of packages beside what is installed, where Python finds it first."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def put(name: str, version: str, *requires: str) -> None:
        folder = tmp_path / f"{name.replace('-', '_')}-{version}.dist-info"
        folder.mkdir()
        lines = [f"Name: {name}", f"Version: {version}", *(f"Requires-Dist: {line}" for line in requires)]
        (folder / "METADATA").write_text("Metadata-Version: 2.1\n" + "\n".join(lines) + "\n")

    return put


def found(checks: list[Check], name: str) -> Check:
    return next(check for check in checks if check.name == name)


def test_what_the_app_needs_is_here() -> None:
    checks = DependencyChecker().check_all()
    assert {"Python", "torch", "gradio", "GPU"} <= {check.name for check in checks}
    assert [check for check in checks if not check.ok] == []


def test_a_package_that_is_missing_or_too_old_is_named_with_what_mends_it(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text(
        "numpy>=99\nno-such-package>=1.2\n# words\nonly-there>=1; python_version<'3'\n"
    )
    checks = DependencyChecker(tmp_path / "requirements.txt").check_all()
    assert found(checks, "numpy").mend == 'pip install "numpy>=99"'
    missing = found(checks, "no-such-package")
    assert (missing.found, missing.ok, missing.mend) == ("not installed", False, 'pip install "no-such-package>=1.2"')
    assert "only-there" not in {check.name for check in checks}
    assert "BAD  no-such-package  not installed (wanted: >=1.2)" in report(checks)


@pytest.mark.parametrize(
    ("torch", "command"),
    [
        ("2.8.0+cu128", 'pip install --no-deps "xformers==0.0.32.post2"'),
        ("2.9.1", 'pip install --no-deps "xformers==0.0.33.post2"'),
        ("2.12.0+cu130", 'pip install --no-deps "xformers==0.0.35"'),
    ],
)
def test_the_build_of_xformers_follows_torch(install, torch: str, command: str) -> None:
    install("torch", torch)
    install("xformers", "0.0.1", "torch==2.0.0")
    check = found(DependencyChecker().check_all("xformers"), "xformers")
    assert not check.ok and check.mend == command
    assert check.found == f"0.0.1, built for torch ==2.0.0, beside torch {torch}"


def test_one_that_fits_is_well(install) -> None:
    install("torch", "2.8.0+cu128")
    install("xformers", "0.0.32.post2", "torch==2.8.0", "numpy")
    assert found(DependencyChecker().check_all("xformers"), "xformers").ok


def test_an_acceleration_that_does_not_exist_is_refused_with_those_that_do() -> None:
    with pytest.raises(ArtflowError, match="There is no acceleration 'warp'; there are none, xformers") as caught:
        DependencyChecker().check_all("warp")
    assert caught.value.code == "unknown_acceleration"


def test_an_nvidia_gpu_beside_a_torch_for_cpus_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!{sys.executable}\nprint('NVIDIA L4, 550.54')\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("torch.version.cuda", None)
    check = found(DependencyChecker().check_all(), "GPU")
    assert check.found == "NVIDIA L4, driver 550.54, but torch is built for CPUs"
    assert not check.ok and check.mend.startswith("pip install --force-reinstall torch --index-url https://")


def test_the_command_says_it_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    assert "ok   torch" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["doctor", "warp"])


def test_memory_is_logged_and_given_back(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        assert memory.log("before")["process"] > 1
    assert caplog.records[-1].getMessage() == "before" and caplog.records[-1].process_mb > 1  # type: ignore[attr-defined]
    assert memory.cleanup()["process"] > 1
