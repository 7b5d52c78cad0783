"""Pictures that people bring: right colours, upright, and one sentence for what cannot be used."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from trimviz.pictures import open_picture

RED, GREEN = (200, 30, 30), (30, 160, 60)


def two_halves(mode: str = "RGB") -> Image.Image:
    """Red on the left, green on the right, 40 x 20."""
    image = Image.new("RGB", (40, 20), RED)
    image.paste(GREEN, (20, 0, 40, 20))
    return image.convert(mode)


def save(path, image: Image.Image, **options):
    image.save(path, **options)
    return path


def halves_of(image: Image.Image) -> tuple[tuple[int, ...], tuple[int, ...]]:
    shown = np.asarray(image)
    return tuple(shown[10, 5].tolist()), tuple(shown[10, 34].tolist())


@pytest.mark.parametrize(
    ("name", "mode", "slack"),
    [
        ("plain.png", "RGB", 0),
        ("plain.jpg", "RGB", 6),
        ("plain.webp", "RGB", 12),
        ("plain.bmp", "RGB", 0),
        ("plain.tiff", "RGB", 0),
        ("print.jpg", "CMYK", 8),
        ("print.tiff", "CMYK", 1),
        ("palette.png", "P", 12),
        ("palette.gif", "P", 12),
        ("alpha.png", "RGBA", 0),
        ("luminance.jpg", "YCbCr", 6),
    ],
)
def test_colours_survive(tmp_path, name, mode, slack):
    image = two_halves().quantize(16) if mode == "P" else two_halves(mode)
    opened = open_picture(save(tmp_path / name, image))
    assert opened.mode == "RGB" and opened.size == (40, 20)
    for got, expected in zip(halves_of(opened), (RED, GREEN), strict=True):
        assert np.abs(np.subtract(got, expected)).max() <= slack, (got, expected)


@pytest.mark.parametrize("mode", ["1", "L", "LA"])
def test_grey_is_grey(tmp_path, mode):
    image = Image.new("L", (8, 8), 255).convert(mode)
    assert open_picture(save(tmp_path / "grey.png", image)).getpixel((3, 3)) == (255, 255, 255)


def test_sixteen_bits_are_scaled_and_not_clipped(tmp_path):
    levels = np.linspace(0, 65535, 64).astype(np.uint16).reshape(1, -1).repeat(4, axis=0)
    for name in ("deep.png", "deep.tiff"):
        shown = np.asarray(open_picture(save(tmp_path / name, Image.fromarray(levels))))
        assert np.abs(shown[0, :, 0].astype(float) - levels[0] / 257).max() <= 1
    dark = Image.fromarray(np.full((4, 4), 128, dtype=np.uint16))  # so dark that eight bits would hold it
    assert open_picture(save(tmp_path / "dark.png", dark)).getpixel((0, 0))[0] <= 1


def test_floats_are_taken_as_a_scale_from_black_to_white():
    ramp = Image.fromarray(np.linspace(0, 1, 16, dtype=np.float32).reshape(1, -1).repeat(2, axis=0))
    shown = np.asarray(open_picture(ramp))[0, :, 0]
    assert shown[0] == 0 and shown[-1] == 255 and (np.diff(shown.astype(int)) > 0).all()


def test_transparency_shows_white(tmp_path):
    clear = Image.new("RGBA", (4, 4), (0, 0, 0, 0))
    assert open_picture(save(tmp_path / "clear.png", clear)).getpixel((0, 0)) == (255, 255, 255)
    palette = Image.new("P", (4, 4), 0)
    palette.putpalette([0, 0, 0, 255, 0, 0])
    assert open_picture(save(tmp_path / "clear.gif", palette, transparency=0)).getpixel((0, 0)) == (255, 255, 255)


def test_the_first_frame_of_an_animation_is_taken(tmp_path):
    frames = [Image.new("RGB", (8, 8), colour) for colour in (RED, GREEN)]
    for name in ("moving.gif", "moving.webp", "moving.png"):
        path = save(tmp_path / name, frames[0], save_all=True, append_images=frames[1:], duration=100)
        assert np.abs(np.subtract(open_picture(path).getpixel((4, 4)), RED)).max() <= 12


@pytest.mark.parametrize(("orientation", "left"), [(1, RED), (3, GREEN), (2, GREEN)])
def test_a_photograph_held_sideways_is_upright(tmp_path, orientation, left):
    exif = Image.Exif()
    exif[0x0112] = orientation
    opened = open_picture(save(tmp_path / "phone.png", two_halves(), exif=exif))
    assert halves_of(opened)[0] == left


def test_a_quarter_turn_changes_sides(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    opened = open_picture(save(tmp_path / "phone.png", two_halves(), exif=exif))
    assert opened.size == (20, 40) and opened.getpixel((10, 5)) == RED


def test_a_single_pixel_is_a_picture(tmp_path):
    assert open_picture(save(tmp_path / "dot.png", Image.new("RGB", (1, 1), RED))).getpixel((0, 0)) == RED


def test_a_picture_in_memory_is_taken_and_left_as_it_was():
    image = two_halves("RGBA")
    assert halves_of(open_picture(image)) == (RED, GREEN) and image.mode == "RGBA"


def bomb(width: int, height: int) -> bytes:
    """A small PNG whose header says that it is enormous."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 64)) + chunk(b"IEND", b"")
    )


def truncated(kind: str) -> bytes:
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(buffer, kind)
    return buffer.getvalue()[: len(buffer.getvalue()) // 2]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"this is no picture", "not a picture"),
        (b"", "not a picture"),
        (b"\x89PNG\r\n\x1a\n", "not a picture|damaged"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not a picture"),
        (truncated("PNG"), "damaged or cut off"),
        (truncated("JPEG"), "damaged or cut off"),
        (truncated("GIF"), "damaged or cut off"),
        (truncated("WEBP"), "not a picture|damaged"),
        (bomb(200_000, 200_000), "more pixels than are safe|at most"),
        (bomb(10_000, 9_000), "at most"),
        (bomb(20_000, 20), "too thin"),
    ],
)
def test_what_cannot_be_used_is_refused_in_a_sentence(tmp_path, content, sentence):
    path = tmp_path / "brought.png"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=sentence) as caught:
        open_picture(path)
    assert "\n" not in str(caught.value) and str(tmp_path) not in str(caught.value)


def test_a_wide_picture_is_taken(tmp_path):
    assert open_picture(save(tmp_path / "wide.png", Image.new("RGB", (20_000, 300)))).size == (20_000, 300)


def test_a_missing_file_and_a_folder_are_refused_in_a_sentence(tmp_path):
    for path in (tmp_path / "nothing.png", tmp_path):
        with pytest.raises(ValueError, match="There is no file"):
            open_picture(path)
