"""What is installed here, what of it does not fit together, and the pip line that mends it.

``python -m artflow doctor`` prints it, with what one acceleration needs: ``python -m artflow doctor xformers``.
"""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import get_args

from packaging.requirements import Requirement
from packaging.version import Version

from artflow.errors import ArtflowError
from artflow.models.acceleration import MODULES, Kind, install_command, requirement
from artflow.models.dtypes import CUDA_TORCH

REQUIREMENTS = Path(__file__).parent.parent / "requirements.txt"
PYTHONS = (Version("3.11"), Version("3.14"))  # the first, and the first that is too new


@dataclass(frozen=True)
class Check:
    """One thing that was looked at. ``mend`` is the command that would make it right; empty: nothing to do."""

    name: str
    found: str
    wanted: str = ""
    ok: bool = True
    mend: str = ""


class DependencyChecker:
    """Looks at what is installed. ``requirements`` are the app's, one a line."""

    def __init__(self, requirements: Path = REQUIREMENTS) -> None:
        self._requirements = requirements

    def check_all(self, acceleration: str = "none") -> list[Check]:
        """Everything the app needs, and what ``acceleration`` (`settings.ModelSettings.acceleration`) needs.

        Raises:
            ArtflowError: ``unknown_acceleration``, naming those there are.
        """
        if acceleration not in get_args(Kind):
            known = ", ".join(get_args(Kind))
            sentence = f"There is no acceleration {acceleration[:60]!r}; there are {known}."
            raise ArtflowError("unknown_acceleration", sentence)
        return [self._python(), *self._packages(), *self._device(), *self._acceleration(acceleration)]

    @staticmethod
    def _python() -> Check:
        found = Version(platform.python_version())
        first, end = PYTHONS
        return Check("Python", str(found), f">={first},<{end}", first <= found < end)

    def _packages(self) -> Iterator[Check]:
        for line in self._requirements.read_text("utf-8").splitlines():
            if line.strip() and not line.startswith(("#", "-")):
                needed = Requirement(line)
                if needed.marker is None or needed.marker.evaluate():
                    yield installed(needed)

    @staticmethod
    def _device() -> Iterator[Check]:
        import torch

        driver = nvidia_driver()
        build = f"CUDA {torch.version.cuda}" if torch.version.cuda else "for CPUs"
        if driver is None:
            yield Check("GPU", "no NVIDIA GPU was found; torch is built " + build)
        elif torch.version.cuda is None:
            yield Check("GPU", f"{driver}, but torch is built for CPUs", "a build for CUDA", False, CUDA_TORCH)
        elif not torch.cuda.is_available():
            wanted = f"a driver for {build}, or an older build of torch"
            yield Check("GPU", f"{driver}, which torch ({build}) cannot use", wanted, False)
        else:
            free, total = (amount / 2**30 for amount in torch.cuda.mem_get_info())
            yield Check("GPU", f"{driver}, {build}, {free:.1f} of {total:.1f} GiB free")

    @staticmethod
    def _acceleration(kind: str) -> Iterator[Check]:
        if kind in MODULES:
            yield built_for_torch(requirement(kind), install_command(kind))
        if kind in ("xformers", "tensorrt") and nvidia_driver() is None:
            yield Check(kind, "no NVIDIA GPU", "an NVIDIA GPU; without one the plain path runs", False)
        if kind == "compile":
            compilers = ("cl",) if sys.platform == "win32" else ("g++", "c++", "clang++")
            found = next((path for name in compilers if (path := shutil.which(name))), None)
            mend = "" if found else "apt-get install g++"
            yield Check("C++ compiler", found or "not found", "one, to compile for CPUs", found is not None, mend)


def installed(needed: Requirement) -> Check:
    """Whether a requirement is met by what is installed."""
    wanted = str(needed.specifier)
    mend = f'pip install "{needed}"'
    try:
        found = metadata.version(needed.name)
    except metadata.PackageNotFoundError:
        return Check(needed.name, "not installed", wanted, False, mend)
    # "2.13.0+cpu" is 2.13.0 for who asks for at most that.
    ok = needed.specifier.contains(Version(found).public, prereleases=True)
    return Check(needed.name, found, wanted, ok, "" if ok else mend)


def built_for_torch(wanted: Requirement, mend: str) -> Check:
    """Whether an acceleration is installed, and in the build for the installed torch, as its own metadata says."""
    name, torch = wanted.name, metadata.version("torch")
    check = installed(Requirement(name))
    if not check.ok:
        return Check(name, check.found, str(wanted.specifier), False, mend)
    for need in map(Requirement, metadata.requires(name) or ()):
        if need.name == "torch" and not need.specifier.contains(Version(torch).public, prereleases=True):
            found = f"{check.found}, built for torch {need.specifier}, beside torch {torch}"
            return Check(name, found, str(wanted.specifier), False, mend)
    return Check(name, check.found)


def nvidia_driver() -> str | None:
    """The first NVIDIA GPU and its driver, as ``nvidia-smi`` names them; None where there is none."""
    if (program := shutil.which("nvidia-smi")) is None:
        return None
    asked = [program, "--query-gpu=name,driver_version", "--format=csv,noheader"]
    said = subprocess.run(asked, capture_output=True, text=True, timeout=20, check=False)
    if said.returncode or not said.stdout.strip():
        return None
    name, driver = (part.strip() for part in said.stdout.splitlines()[0].split(","))
    return f"{name}, driver {driver}"


def report(checks: list[Check]) -> str:
    """The checks as lines for a terminal, those that fail with what mends them."""
    width = max(len(check.name) for check in checks)
    lines = []
    for check in checks:
        wanted = f" (wanted: {check.wanted})" if check.wanted and not check.ok else ""
        lines.append(f"{'ok ' if check.ok else 'BAD'}  {check.name:<{width}}  {check.found}{wanted}")
        if check.mend and not check.ok:
            lines.append(f"{'':<{width + 7}}{check.mend}")
    return "\n".join(lines)
