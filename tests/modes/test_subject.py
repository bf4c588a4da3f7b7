"""The subject of a photo: found to its edges, and cut out without a halo; as a filter, too."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from skimage import data

from artflow.errors import ArtflowError
from artflow.images import Picture
from artflow.modes.alpha import Alpha
from artflow.modes.filters import apply, new_layer
from artflow.modes.filters.live import filtered
from artflow.modes.subject import cut_out, subject_alpha
from artflow.pipeline import Pipeline
from artflow.settings import load_settings

CUT = new_layer("remove_background")


def disc(size: int = 300) -> tuple[Picture, Picture, Alpha]:
    """A red disc with an edge 20 pixels soft, before a bright green wall: as seen, the disc alone, its true alpha."""
    y, x = np.mgrid[0:size, 0:size]
    alpha = np.clip((size / 3 - np.hypot(y - size / 2, x - size / 2)) / 20 + 0.5, 0, 1)
    front = np.empty((size, size, 3), np.uint8)
    front[:] = (200, 40, 30)
    mixed = front * alpha[..., None] + np.array([60, 220, 90]) * (1 - alpha[..., None])
    return np.rint(mixed).astype(np.uint8), front, np.rint(alpha * 255).astype(np.uint8)


@pytest.mark.parametrize("scale", [1, 3])
def test_the_subject_of_a_photo_is_found_at_any_size(scale: int) -> None:
    """The cup on its saucer, and not the table."""
    photo = cv2.resize(data.coffee(), None, fx=scale, fy=scale)
    alpha = subject_alpha(photo)
    assert alpha.shape == photo.shape[:2] and alpha.dtype == np.uint8
    cup, table = (alpha[200 * scale, 300 * scale], alpha[380 * scale, 30 * scale])
    assert cup > 250 and table < 5
    soft = (alpha > 5) & (alpha < 250)
    assert 0 < soft.mean() < 0.15


def test_no_background_stays_in_soft_edges() -> None:
    """In the photo the edge is up to half green; in what is cut out it is red, as the disc is."""
    seen, front, alpha = disc()
    made = cut_out(seen, alpha)
    edge = (alpha > 25) & (alpha < 230)
    before, after = (np.abs(p[..., :3].astype(int) - front)[edge].mean() for p in (seen, made))
    assert before > 50 and after < 3, (before, after)
    assert (made[..., 3] == alpha).all()


def test_what_is_all_subject_keeps_every_byte() -> None:
    seen, _, alpha = disc()
    noise = np.random.default_rng(0).integers(0, 256, seen.shape, np.uint8)
    assert (cut_out(noise, alpha)[alpha == 255, :3] == noise[alpha == 255]).all()


def test_a_tall_picture_is_the_same_in_bands(monkeypatch: pytest.MonkeyPatch) -> None:
    seen, _, alpha = disc()
    whole = cut_out(seen, alpha)
    monkeypatch.setattr("artflow.modes.subject.HEALED", 300 * 40)
    assert np.abs(cut_out(seen, alpha).astype(int) - whole).max() <= 1


def test_a_picture_of_nothing_is_one_sentence() -> None:
    with pytest.raises(ArtflowError, match="Nothing stands out") as caught:
        subject_alpha(np.full((64, 64, 3), 127, np.uint8))
    assert caught.value.code == "no_subject"


# -- as a filter --------------------------------------------------------------------------------------------------


def test_the_filter_gives_alpha_and_filters_after_it_keep_it() -> None:
    made = apply((CUT, new_layer("invert", {"amount": 1}), new_layer("flip")), data.coffee())
    assert made.shape == (400, 600, 4)
    assert made[200, 299, 3] > 250 and made[380, 569, 3] < 5  # mirrored


def test_what_was_clear_already_stays_clear() -> None:
    photo = np.dstack([data.coffee(), np.full((400, 600), 255, np.uint8)])
    photo[:, :150, 3] = 0
    made = apply((CUT,), photo)
    assert not made[:, :150, 3].any() and made[200, 300, 3] > 250


def test_live_pictures_have_no_alpha() -> None:
    made = filtered(data.coffee(), [{"filter": "remove_background"}], 600)
    assert made.shape == (400, 600, 3) and (made[380, 30] > 250).all()


def test_the_pipeline_finds_it_where_the_device_is() -> None:
    pipeline = Pipeline(load_settings(environ={}))
    assert (pipeline.subject(data.coffee()) == subject_alpha(data.coffee())).mean() > 0.99
    pipeline.close()
