"""What the embedded models say about photos whose subjects are known: ``python -m benchmarks.interrogate FOLDER``.

`photos.tsv` has each photo's package, file, and the names that are right for it (several where two classes fit). Photos
come from packages, which are fetched into FOLDER first:

    pip download --no-deps foolbox==3.3.4
    apt-get download gcompris-qt-data=3.1-2 opencv-doc=4.6.0+dfsg-12

and from scikit-image, which is installed. Nothing of this taught anything; `describe.SURE` and the way of looking were
chosen on it.
"""

from __future__ import annotations

import struct
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
from skimage import data

from artflow.images import Picture, decode
from artflow.models.classifier import DRAWING, FOLDER, look
from artflow.models.faces import find_faces
from artflow.modes.describe import describe, subject

PHOTOS = Path(__file__).parent / "photos.tsv"
BINS = (0.0, 0.2, 0.35, 0.5, 0.7, 1.01)


def main(folder: Path) -> None:
    """Print every answer, the hits, and how often the answers of each confidence are right."""
    rows = [line.split("\t") for line in PHOTOS.read_text("utf-8").splitlines()]
    kinds = dict(line.split("\t") for line in (FOLDER / "classes.tsv").read_text("utf-8").splitlines())
    one, five, photos, confidence = [], [], [], []
    said: list[tuple[bool, bool]] = []
    with tempfile.TemporaryDirectory() as temporary:
        find = opened(folder, Path(temporary))
        for package, file, names in rows:
            picture, right = find(package, file), set(names.split("|"))
            seen, faces = look(picture, "cpu"), find_faces(picture)
            found = [name for name, _ in seen.names[:5]]
            one.append(found[0] in right)
            five.append(bool(right.intersection(found)))
            photos.append(seen.media[0][0] != DRAWING)
            shown = subject(seen, faces)
            fits = shown.name in right | {kinds[name] for name in right}
            said.append((shown.sure, fits))
            mark = "photo " if photos[-1] else "DRAWN "
            mark += ("right" if fits else "WRONG") if shown.sure else ("unsure, right" if fits else "unsure, wrong")
            print(f"{mark} | {Path(file).name} | {names} | {describe(picture, seen, faces, 'best').prompt}", flush=True)
            confidence.append((seen.names[0][1], one[-1]))
    print(
        f"\n{len(rows)} photos: top-1 {np.mean(one):.0%}, top-5 {np.mean(five):.0%}, "
        f"taken for photos {np.mean(photos):.0%}"
    )
    plain = [fits for sure, fits in said if sure]
    print(f"said plainly {len(plain)}, right {np.mean(plain):.0%}")
    print("\n| share of the first name | photos | first name right |\n|---|---|---|")
    for least, most in pairwise(BINS):
        hits = [right for share, right in confidence if least <= share < most]
        print(f"| {least:.2f} to {min(most, 1.0):.2f} | {len(hits)} | {np.mean(hits) if hits else 0:.0%} |")


def opened(folder: Path, temporary: Path) -> Callable[[str, str], Picture]:
    """A function that finds a photo by package and file, in the packages of ``folder``."""
    wheel = zipfile.ZipFile(next(folder.glob("foolbox-*.whl")))
    for name in ("gcompris-qt-data", "opencv-doc"):
        subprocess.run(["dpkg-deb", "-x", next(folder.glob(f"{name}_*.deb")), temporary / name], check=True)
    held = {}
    for path in (temporary / "gcompris-qt-data").rglob("*.rcc"):
        held |= {name.split("activities/")[-1]: content for name, content in resources(path.read_bytes())}
    documents = {path.name: path for path in (temporary / "opencv-doc").rglob("*.jpg")}

    def find(package: str, file: str) -> Picture:
        match package:
            case "scikit-image":
                picture: Picture = getattr(data, file)()
                return picture
            case "foolbox":
                content = wheel.read(f"foolbox/data/{file}")
            case "opencv-doc":
                content = documents[file].read_bytes()
            case _:
                content = held[file]
        return decode(content, max_pixels=2**26)

    return find


def resources(content: bytes) -> Iterator[tuple[str, bytes]]:
    """The files in a compiled Qt resource, with their paths; those in another compression than zlib are left out."""
    version, tree, values, names = struct.unpack(">IIII", content[4:20])
    size = 14 if version < 2 else 22

    def walk(number: int, path: str) -> Iterator[tuple[str, bytes]]:
        at = tree + number * size
        name, flags = struct.unpack(">IH", content[at : at + 6])
        if number:
            start = names + name
            (length,) = struct.unpack(">H", content[start : start + 2])
            path += "/" + content[start + 6 : start + 6 + 2 * length].decode("utf-16-be")
        if flags & 2:
            count, first = struct.unpack(">II", content[at + 6 : at + 14])
            for child in range(first, first + count):
                yield from walk(child, path)
        elif not flags & 4:
            start = values + struct.unpack(">I", content[at + 10 : at + 14])[0]
            (length,) = struct.unpack(">I", content[start : start + 4])
            stored = content[start + 4 : start + 4 + length]
            yield path, zlib.decompress(stored[4:]) if flags & 1 else stored

    yield from walk(0, "")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
