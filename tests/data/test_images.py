"""The reader of image files and the writer of PNG."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kerasmlp.data.images import encode_png, is_image_shape, read_image, read_image_header, scale_pixels
from kerasmlp.errors import InvalidValue


@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 1), (4, 5, 3)], ids=str)
def test_pixels_written_as_png_are_read_back(tmp_path: Path, shape: tuple[int, ...]) -> None:
    assert is_image_shape(shape)
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    (tmp_path / "image.png").write_bytes(encode_png(pixels))
    expected = pixels[:, :, 0] if shape[2:] == (1,) else pixels
    np.testing.assert_array_equal(read_image(tmp_path / "image.png"), expected)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_the_header_says_what_reading_gives(tmp_path: Path, mode: str) -> None:
    image = Image.fromarray(np.zeros((4, 5), np.uint16)) if mode == "I;16" else Image.new(mode, (5, 4))
    image.save(tmp_path / "image.png")
    header, pixels = read_image_header(tmp_path / "image.png"), read_image(tmp_path / "image.png")
    assert pixels.shape == (header.height, header.width, *(() if header.is_grey else (3,)))
    assert (header.width, header.height, header.is_grey) == (5, 4, mode in ("1", "L", "LA", "I;16"))
    assert pixels.dtype == np.uint8


def test_transparent_pixels_are_shown_on_white(tmp_path: Path) -> None:
    pixels = np.array([[[10, 20, 30, 255], [10, 20, 30, 0], [0, 0, 0, 51]]], np.uint8)
    Image.fromarray(pixels).save(tmp_path / "image.png")
    np.testing.assert_array_equal(
        read_image(tmp_path / "image.png"), [[[10, 20, 30], [255, 255, 255], [204, 204, 204]]]
    )


def test_a_narrower_image_averages_and_a_wider_one_interpolates(tmp_path: Path) -> None:
    (tmp_path / "image.png").write_bytes(encode_png(np.array([[0, 100, 200, 40]], np.uint8)))
    np.testing.assert_array_equal(read_image(tmp_path / "image.png", size=(1, 2)), [[50, 120]])
    wider = read_image(tmp_path / "image.png", size=(1, 8))
    assert len(np.unique(wider)) > 4  # between the old values


@pytest.mark.parametrize(("channels", "shape"), [(1, (4, 5)), (3, (4, 5, 3))])
def test_the_number_of_channels_can_be_chosen(tmp_path: Path, channels: int, shape: tuple[int, ...]) -> None:
    for name, pixels in (("grey", np.zeros((4, 5), np.uint8)), ("colour", np.zeros((4, 5, 3), np.uint8))):
        (tmp_path / f"{name}.png").write_bytes(encode_png(pixels))
        assert read_image(tmp_path / f"{name}.png", channels=channels).shape == shape


def test_scaled_pixels_reach_both_ends_of_the_range() -> None:
    scaled = scale_pixels(np.array([[0, 255]], np.uint8), (-1.0, 3.0))
    assert scaled.dtype == np.float32
    np.testing.assert_array_equal(scaled, [[-1.0, 3.0]])
    np.testing.assert_array_equal(scale_pixels(np.arange(256), None), np.arange(256))


def test_the_error_names_a_file_that_is_not_an_image(tmp_path: Path) -> None:
    (tmp_path / "notes.png").write_bytes(b"hello")
    for read in (read_image, read_image_header):
        with pytest.raises(InvalidValue, match=r"notes\.png"):
            read(tmp_path / "notes.png")
