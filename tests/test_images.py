"""Pictures: what people send becomes pixels or one clear error; what they get carries its recipe."""

from __future__ import annotations

import io
import random
import struct
import sys
import threading
import time
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageFile

from artflow.errors import ArtflowError
from artflow.images import Size, as_png, check_size, decode, encode_jpeg, fit, format_of
from tests.corpus.profiles import of_grey

LIMIT = 16_000_000


def saved(image: Image.Image, kind: str, **options) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def gradient() -> Image.Image:
    x = np.linspace(0, 255, 48, dtype=np.uint8)
    rising, falling = np.tile(x, (32, 1)), np.tile(x[::-1], (32, 1))
    return Image.fromarray(np.stack([rising, np.full((32, 48), 90, np.uint8), falling], 2))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_the_three_formats(kind: str) -> None:
    options = {"JPEG": {"quality": 100, "subsampling": 0}, "WEBP": {"lossless": True}}.get(kind, {})
    picture = decode(saved(gradient(), kind, **options), max_pixels=LIMIT)
    assert picture.shape == (32, 48, 3) and picture.dtype == np.uint8
    assert np.abs(picture.astype(int) - np.array(gradient())).max() <= (4 if kind == "JPEG" else 0)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGBA", "LA", "CMYK", "I;16", "RGB"])
def test_every_kind_of_pixels_becomes_rgb(mode: str) -> None:
    if mode == "I;16":
        data = saved(Image.fromarray(np.full((8, 8), 128 * 257, np.uint16)), "PNG")
    else:
        data = saved(Image.new("RGB", (8, 8), "gray").convert(mode), "JPEG" if mode == "CMYK" else "PNG")
    picture = decode(data, max_pixels=LIMIT)
    assert picture.shape == (8, 8, 3)
    if mode not in ("1", "P"):  # these have no grey of their own: it is a pattern of what they have
        assert np.abs(picture.astype(int) - 128).max() <= 6
    assert abs(picture.mean() - 128) < 40
    with_alpha = decode(data, max_pixels=LIMIT, keep_alpha=True)
    assert (with_alpha[..., :3] == picture).all() and (with_alpha[..., 3] == 255).all()


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_photos_are_upright(orientation: int, kind: str) -> None:
    """The eight EXIF orientations of one picture, whose top left corner is red."""
    upright = Image.new("RGB", (48, 32), "white")
    upright.paste("red", (0, 0, 16, 8))
    undo = {
        2: [Image.Transpose.FLIP_LEFT_RIGHT], 3: [Image.Transpose.ROTATE_180], 4: [Image.Transpose.FLIP_TOP_BOTTOM],
        5: [Image.Transpose.TRANSPOSE], 6: [Image.Transpose.ROTATE_90], 7: [Image.Transpose.TRANSVERSE],
        8: [Image.Transpose.ROTATE_270],
    }  # fmt: skip
    stored = upright
    for step in undo.get(orientation, []):
        stored = stored.transpose(step)
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"quality": 100, "subsampling": 0} if kind == "JPEG" else {}
    picture = decode(saved(stored, kind, exif=exif, **options), max_pixels=LIMIT)
    assert picture.shape == (32, 48, 3)
    assert np.abs(picture.astype(int) - np.array(upright)).max() <= (4 if kind == "JPEG" else 0)


@pytest.mark.parametrize(
    ("mode", "options"),
    [
        ("RGB", {}), ("RGB", {"quality": 100, "subsampling": 0}), ("RGB", {"subsampling": 1}),
        ("RGB", {"optimize": True}), ("RGB", {"progressive": True}), ("RGB", {"restart_marker_rows": 1}),
        ("RGB", {"keep_rgb": True}), ("L", {}),
    ],
)  # fmt: skip
def test_plain_jpegs_are_read_without_pillows_decoder_to_the_same_pixels(mode: str, options: dict, monkeypatch) -> None:
    data = saved(gradient().convert(mode), "JPEG", **options)
    expected = np.array(Image.open(io.BytesIO(data)).convert("RGB"))
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda self: pytest.fail("decoded by Pillow"))
    assert np.array_equal(decode(data, max_pixels=LIMIT), expected)
    with_alpha = decode(data, max_pixels=LIMIT, keep_alpha=True)
    assert np.array_equal(with_alpha[..., :3], expected) and (with_alpha[..., 3] == 255).all()


def test_what_is_under_kept_transparency_stays() -> None:
    image = Image.new("RGBA", (2, 1), (10, 20, 30, 0))
    assert decode(saved(image, "PNG"), max_pixels=LIMIT, keep_alpha=True).tolist() == [[[10, 20, 30, 0]] * 2]


def test_transparency_is_white_paper() -> None:
    image = Image.new("RGBA", (2, 1), (0, 0, 0, 0))
    image.putpixel((1, 0), (0, 0, 255, 128))
    assert decode(saved(image, "PNG"), max_pixels=LIMIT).tolist() == [[[255, 255, 255], [127, 127, 255]]]


def test_one_grey_of_65536_is_transparent() -> None:
    """A PNG of 16 bits names the grey that is not there; its neighbours are, though their 8 bits are the same."""
    data = saved(Image.fromarray(np.array([[0x8040, 0x8041, 0x20FF]], np.uint16)), "PNG", transparency=0x8041)
    assert decode(data, max_pixels=LIMIT, keep_alpha=True).tolist() == [
        [[128, 128, 128, 255], [128, 128, 128, 0], [32, 32, 32, 255]]
    ]
    assert decode(data, max_pixels=LIMIT).tolist() == [[[128] * 3, [255] * 3, [32] * 3]]


def png_header(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 100))


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("side", [4_001, 10_000, 30_000])
def test_a_huge_picture_is_refused_by_its_header(side: int, monkeypatch) -> None:
    """No pixel is decoded for it."""
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("decoded"))
    with pytest.raises(ArtflowError, match=str(LIMIT)) as caught:
        decode(png_header(side, side), max_pixels=LIMIT)
    assert caught.value.code == "picture_too_large"


def test_too_many_bytes_are_refused_before_they_are_looked_at() -> None:
    with pytest.raises(ArtflowError, match="has 2000 bytes; at most 1000") as caught:
        decode(b"x" * 2000, max_pixels=LIMIT, max_bytes=1000)
    assert caught.value.code == "picture_too_large"


@pytest.mark.parametrize("data", [b"", b"hello", b"<svg/>", saved(gradient(), "PPM"), saved(gradient(), "ICO")])
def test_what_is_no_picture_is_told_so(data: bytes) -> None:
    with pytest.raises(ArtflowError, match=f"These {len(data)} bytes are no JPEG, PNG, .*BMP picture") as caught:
        decode(data, max_pixels=LIMIT)
    assert caught.value.code == "bad_picture"


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "AVIF", "HEIF", "GIF", "TIFF", "BMP"])
def test_broken_files_are_an_error_or_a_picture_and_nothing_else(kind: str) -> None:
    """Cut anywhere, and with bytes changed at random: whatever the decoder raises is the sender's error."""
    exif = Image.Exif()
    exif[0x0112] = 6
    whole, dice = saved(gradient(), kind, exif=exif), random.Random(1)
    broken = [whole[:length] for length in range(0, len(whole), 7)]
    for _ in range(300):
        data = bytearray(whole)
        for _ in range(dice.randint(1, 8)):
            data[dice.randrange(len(data))] = dice.randrange(256)
        broken.append(bytes(data))
    for data in broken:
        try:
            assert decode(data, max_pixels=LIMIT).dtype == np.uint8
        except ArtflowError as error:
            assert error.code in ("bad_picture", "picture_too_large")
    with pytest.raises(ArtflowError):
        decode(whole[: len(whole) // 2], max_pixels=LIMIT)


def test_sizes_that_the_model_cannot_make_name_the_nearest() -> None:
    assert check_size(64, 128, multiple=8, longest=1024) == Size(64, 128)
    for width, height, words in [
        (500, 512, "width 500 is not a multiple of 8: the nearest are 496 and 504"),
        (512, 513, "height 513 is not a multiple of 8: the nearest are 512 and 520"),
        (8, 512, "width 8 is not allowed: from 16 to 1024"),
        (512, 2048, "height 2048 is not allowed: from 16 to 1024"),
    ]:
        with pytest.raises(ArtflowError, match=words) as caught:
            check_size(width, height, multiple=8, longest=1024)
        assert caught.value.code == "bad_size"


def test_a_scaled_size_stays_a_multiple() -> None:
    assert Size(512, 384).scaled(0.75, 8) == Size(384, 288)
    assert Size(512, 40).scaled(0.1, 8) == Size(48, 8)
    assert str(Size(3, 4)) == "3 x 4"


def test_fit_takes_the_largest_centred_part() -> None:
    wide = np.zeros((10, 40, 3), np.uint8)
    wide[:, 15:25] = 255
    assert fit(wide, Size(10, 10)).min() == 255
    same = np.zeros((10, 40, 3), np.uint8)
    assert fit(same, Size(40, 10)) is same


def test_jpeg_keeps_all_colour_at_high_quality() -> None:
    picture = np.zeros((16, 16, 3), np.uint8)
    picture[:, ::2] = (255, 0, 0)
    fine, coarse = (decode(encode_jpeg(picture, quality), max_pixels=LIMIT) for quality in (95, 85))
    errors = [np.abs(p.astype(int) - picture).mean() for p in (fine, coarse)]
    assert errors[0] < errors[1] / 3


def test_colours_come_back_from_a_jpeg_in_their_places() -> None:
    picture = np.full((16, 16, 3), (200, 100, 20), np.uint8)
    assert np.abs(decode(encode_jpeg(picture, 95), max_pixels=LIMIT).astype(int) - picture).max() <= 2
    assert Image.open(io.BytesIO(encode_jpeg(picture, 95))).getpixel((8, 8))[0] > 190  # for everybody else, too


def test_other_threads_go_on_while_a_jpeg_is_made() -> None:
    """Nobody is asked to give up the interpreter's lock here: others run only while it is released."""
    picture = np.random.default_rng(0).integers(0, 256, (2048, 2048, 3), np.uint8)
    ticks, done = [0], threading.Event()

    def tick() -> None:
        while not done.is_set():
            ticks[0] += 1
            time.sleep(0.0005)

    def rate(work: Callable[[], object]) -> float:
        before, start = ticks[0], time.perf_counter()
        work()
        return (ticks[0] - before) / (time.perf_counter() - start)

    interval = sys.getswitchinterval()
    thread = threading.Thread(target=tick)
    thread.start()
    try:
        sys.setswitchinterval(1_000)
        free = max(rate(lambda: time.sleep(0.05)) for _ in range(5))
        beside = max(rate(lambda: encode_jpeg(picture, 95)) for _ in range(5))
    finally:
        sys.setswitchinterval(interval)
        done.set()
        thread.join()
    assert beside > free / 2


def test_grey_with_one_clear_shade_is_read_by_its_profile_as_any_grey() -> None:
    grey, files = Image.new("L", (4, 4), 100), []
    for clear in ({}, {"transparency": 3}):
        file = io.BytesIO()
        grey.save(file, "PNG", icc_profile=of_grey(1.0), **clear)
        files.append(decode(file.getvalue(), max_pixels=100)[0, 0].tolist())
    assert files == [[168, 168, 168]] * 2


def test_the_format_of_a_broken_file_is_one_sentence() -> None:
    """Pillow raises nearly anything at such files, not only what says that it does not know them."""
    assert format_of(as_png(np.zeros((2, 2, 3), np.uint8))) == "PNG"
    for data in (b"", b"\x89PNG\r\n\x1a\n" + b"nothing" * 50, b"\xff\xd8\xff", b"GIF89a"):
        with pytest.raises(ArtflowError) as raised:
            format_of(data)
        assert raised.value.code == "bad_picture"
