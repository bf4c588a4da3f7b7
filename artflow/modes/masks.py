"""Masks, the area to work on, and blending: geometry on pictures.

A *mask* is ``uint8`` of shape (height, width): 255 where the picture is replaced, 0 where it stays. The *area* is the
part of the picture that the model works on; *extent* is the size at which it does.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from artflow.errors import ArtflowError
from artflow.images import Picture, Size, bands

Mask = NDArray[np.uint8]
S = TypeVar("S", bound=np.generic)
MaskEdge = Literal["inwards", "centred", "outwards"]
TINT = (225, 60, 200)
NEARBY = 3  # pixels around one of a stroke's middle line; fewer would take the dents of an edge for strokes
COARSE = 256  # pixels of the longer side at which colours are matched coarsely
HEALED = 2**22  # pixels that are healed at once, in floating point


class Bounds(NamedTuple):
    """A part of a picture, in pixels; right and bottom are outside."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def size(self) -> Size:
        """Its width and height."""
        return Size(self.right - self.left, self.bottom - self.top)

    def cut(self, picture: NDArray[S]) -> NDArray[S]:
        """That part of a picture or mask (a view)."""
        return picture[self.top : self.bottom, self.left : self.right]


def check_mask(mask: Mask, picture: Picture) -> None:
    """Refuse unusable masks.

    Raises:
        ArtflowError: ``empty_mask`` where nothing is painted, ``bad_mask`` for another size than the picture's.
    """
    if mask.shape != picture.shape[:2]:
        sizes = Size(mask.shape[1], mask.shape[0]), Size(picture.shape[1], picture.shape[0])
        raise ArtflowError("bad_mask", f"The mask is {sizes[0]} and the picture {sizes[1]}; they must be of one size.")
    if not mask.any():
        raise ArtflowError("empty_mask", "The mask is empty; paint over what to change.")


def whole(picture: Picture) -> Bounds:
    """All of a picture."""
    return Bounds(0, 0, picture.shape[1], picture.shape[0])


def box(mask: Mask, margin: int) -> Bounds:
    """The mask's bounding box, extended by ``margin`` pixels on each side within the picture."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    height, width = mask.shape
    left, top = max(int(columns[0]) - margin, 0), max(int(rows[0]) - margin, 0)
    return Bounds(left, top, min(int(columns[-1]) + 1 + margin, width), min(int(rows[-1]) + 1 + margin, height))


def around(mask: Mask, padding: int, native: Size) -> Bounds:
    """The mask's bounding box with ``padding`` pixels, extended to the aspect of ``native`` within the picture."""
    painted = box(mask, 0)
    height, width = mask.shape
    box_width, box_height = painted.size.width + 2 * padding, painted.size.height + 2 * padding
    scale = max(box_width / native.width, box_height / native.height)
    box_width, box_height = min(width, round(scale * native.width)), min(height, round(scale * native.height))
    left = _placed((painted.left + painted.right) / 2 - box_width / 2, width - box_width)
    top = _placed((painted.top + painted.bottom) / 2 - box_height / 2, height - box_height)
    return Bounds(left, top, left + box_width, top + box_height)


def _placed(start: float, most: int) -> int:
    return int(min(max(round(start), 0), most))


def extent_for(size: Size, native: Size, multiple: int) -> Size:
    """The size at which the model works on an area: the area's aspect, the longer side of ``native``."""
    factor = max(native) / max(size)
    return size.scaled(factor, multiple)


def covering(mask: Mask, size: Size) -> Mask:
    """A mask at another size, 0 or 255; even the thinnest stroke is kept."""
    if mask.shape == (size.height, size.width):
        return mask
    shares = cv2.resize((mask > 127).astype(np.float32), size, interpolation=cv2.INTER_AREA)
    return np.where(shares > 0, np.uint8(255), np.uint8(0))


def feathered(mask: Mask, feather: int, edge: MaskEdge) -> NDArray[np.float32]:
    """Opacity of the result, 0 to 1: it rises smoothly over ``feather`` pixels at the mask's edge, on the side named.

    ``inwards``: 0 up to the edge, 1 from ``feather`` pixels inside of it on; ``outwards``: 1 in the mask, 0 from so
    many outside of it on; ``centred``: half of each. A stroke that is too thin for that is opaque in its middle.
    """
    hard = (mask > 127).astype(np.uint8)
    if feather <= 0:
        return hard.astype(np.float32)
    outer = feather_outside(feather, edge)
    inner = feather - outer
    position = np.where(hard, _distance(hard) - 0.5, 0.5 - _distance(1 - hard))  # from the edge, positive inside
    position = np.clip(position, -outer, inner + NEARBY).astype(np.float32)
    # Around a stroke's middle line nothing lies much further inside; towards a corner or an edge it does.
    around = cv2.dilate(position, np.ones((2 * NEARBY + 1,) * 2, np.uint8))
    ridge = position >= np.minimum(around - NEARBY / 2, inner)
    risen, rest = position + outer, _distance(np.where(ridge & (hard > 0), np.uint8(0), np.uint8(1)))
    share = risen / np.maximum(risen + rest, 0.5)
    return (share * share * (3 - 2 * share)).astype(np.float32)


def feather_outside(feather: int, edge: MaskEdge) -> int:
    """How many pixels outside of the mask change."""
    return {"inwards": 0, "centred": feather // 2, "outwards": feather}[edge]


def grown(mask: Mask, by: int) -> Mask:
    """The mask with all that is within so many pixels of its edge, 0 or 255."""
    return np.where(_distance((mask <= 127).astype(np.uint8)) < by + 0.5, np.uint8(255), np.uint8(0))


def _distance(hard: Mask) -> NDArray[np.float32]:
    """Each pixel's distance to the nearest that is 0, in pixels."""
    return cv2.distanceTransform(hard, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)


def distance_inside(mask: Mask) -> NDArray[np.float32]:
    """Each masked pixel's distance to the nearest unmasked one, in pixels, minus 1; 0 elsewhere."""
    return np.maximum(_distance((mask > 127).astype(np.uint8)) - 1, 0)


def composed(original: Picture, made: Picture, opacity: NDArray[np.float32]) -> Picture:
    """``made`` over ``original``; where the opacity is 0 the bytes of the original are untouched."""
    result = np.empty_like(original)
    for rows in bands(*original.shape[:2]):  # floating-point copies of a whole photo would take gigabytes
        weight, before = opacity[rows][..., None], original[rows]
        mixed = np.rint(before + weight * (made[rows].astype(np.float32) - before)).astype(np.uint8)
        result[rows] = np.where(weight > 0, mixed, before)
    return result


def tint(picture: Picture, mask: Mask) -> Picture:
    """The picture with the mask as a half transparent colour over it, for display."""
    tinted, painted = picture.copy(), mask > 127
    tinted[painted] = picture[painted] // 2 + np.array(TINT, np.uint8) // 2
    return tinted


def surroundings(picture: Picture, mask: Mask, radius: float) -> Picture:
    """The picture with the masked part filled by a blur of its surroundings: the fill ``blur``.

    A normalised blur, in which masked pixels have no weight. Parts beyond its reach are filled by wider blurs.
    """
    known = (mask <= 127).astype(np.float32)
    filled = picture.astype(np.float32)
    missing = known == 0
    if not known.any():
        return np.full_like(picture, 127)
    while missing.any():
        if radius > max(mask.shape):  # nearly everything is masked
            filled[missing] = picture[known > 0].mean(0)
            break
        weight = blurred(known, radius)
        reached = missing & (weight > 1e-2)
        values = blurred(picture * known[..., None], radius)
        filled[reached] = values[reached] / weight[reached, None]
        missing &= ~reached
        radius *= 2
    return np.rint(filled.clip(0, 255)).astype(np.uint8)


def healed(original: Picture, made: Picture, mask: Mask, reach: float) -> Picture:
    """``made`` with its colours matched to the original's near the seam.

    The correction of the autoencoder's error in the unmasked part is also applied to the masked part, fading over
    ``reach`` pixels, so that the step across the seam is no larger than those inside the picture.
    """
    if not (mask > 127).any() or (mask > 127).all():
        return made
    height, width = mask.shape
    margin = blur_reach(reach)
    result = np.empty_like(made)
    for rows in bands(height, width, HEALED, least=2 * margin):
        top = max(rows.start - margin, 0)  # what is further away has no part in these rows
        around = slice(top, min(rows.stop + margin, height))
        piece = _healed(original[around], made[around], mask[around], reach)
        result[rows] = piece[rows.start - top : rows.stop - top]
    return result


def toned(made: Picture, like: Picture, mask: Mask) -> Picture:
    """``made`` with the coarse colours of ``like`` in the mask, and its own details; as it is at the mask's edge."""
    size = Size(mask.shape[1], mask.shape[0])
    small = size.within(COARSE)
    hard = np.where(mask > 127, np.uint8(255), np.uint8(0))
    shown, wanted, share = (
        cv2.resize(values, small, interpolation=cv2.INTER_AREA).astype(np.float32) for values in (made, like, hard)
    )
    share /= 255
    inside = _distance((share > 0.5).astype(np.uint8))
    reach = min(max(float(inside.max()), 4), COARSE) / 4
    change = blurred((wanted - shown) * share[..., None], reach) / np.maximum(blurred(share, reach), 1e-2)[..., None]
    change = (change * np.clip(inside / (2 * reach), 0, 1)[..., None]).astype(np.float32)
    result = made.copy()
    for rows in bands(size.height, size.width):
        new = np.rint((made[rows] + enlarged_rows(change, size, rows)).clip(0, 255)).astype(np.uint8)
        result[rows] = np.where(mask[rows, :, None] > 127, new, made[rows])
    return result


def enlarged_rows(small: NDArray[np.float32], size: Size, rows: slice) -> NDArray[np.float32]:
    """These rows of a small map (height, width, ...) enlarged to ``size``, of which the whole may take gigabytes."""
    across, down = small.shape[1] / size.width, small.shape[0] / size.height
    place = np.array([[across, 0, across / 2 - 0.5], [0, down, (rows.start + 0.5) * down - 0.5]])
    wanted = (size.width, rows.stop - rows.start)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(small, place, wanted, flags=flags, borderMode=cv2.BORDER_REPLICATE)


def _healed(original: Picture, made: Picture, mask: Mask, reach: float) -> Picture:
    known = (mask <= 127).astype(np.float32)
    difference = (original.astype(np.float32) - made) * known[..., None]
    weight = blurred(known, reach)
    spread = blurred(difference, reach) * (np.clip(2 * weight, 0, 1) / np.maximum(weight, 1e-2))[..., None]
    return np.rint((made + spread).clip(0, 255)).astype(np.uint8)


def blurred(values: NDArray[np.float32], radius: float) -> NDArray[np.float32]:
    """Approximately a Gaussian blur of this standard deviation, by two box blurs, in time independent of the radius."""
    side = _box_side(radius)
    for _ in range(2):
        values = cv2.blur(values, (side, side), borderType=cv2.BORDER_REPLICATE)
    return values


def _box_side(deviation: float) -> int:
    """The odd width of a box that, applied twice, has this standard deviation: twice (side^2 - 1) / 12."""
    return 2 * max(1, round(((6 * deviation**2 + 1) ** 0.5 - 1) / 2)) + 1


def blur_reach(radius: float) -> int:
    """The distance in pixels up to which `healed` reads pixels for a reach of ``radius``."""
    return _box_side(radius) - 1
