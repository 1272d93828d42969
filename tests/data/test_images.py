"""The reader of image files and the writer of PNG."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kerasmlp.data.images import (
    encode_png,
    find_orientation,
    is_image_shape,
    read_image,
    read_image_header,
    scale_pixels,
)
from kerasmlp.errors import InvalidValue
from tests.helpers.image_bombs import BOMBS
from tests.helpers.image_kinds import encode_image, make_image_kinds

KINDS = make_image_kinds()


@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 1), (4, 5, 3)], ids=str)
def test_pixels_written_as_png_are_read_back(tmp_path: Path, shape: tuple[int, ...]) -> None:
    assert is_image_shape(shape)
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    (tmp_path / "image.png").write_bytes(encode_png(pixels))
    expected = pixels[:, :, 0] if shape[2:] == (1,) else pixels
    np.testing.assert_array_equal(read_image(tmp_path / "image.png"), expected)


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_image_is_read_as_it_should_be_shown_and_announced_by_its_header(
    tmp_path: Path, name: str
) -> None:
    path = tmp_path / f"image{KINDS[name].suffix}"
    path.write_bytes(KINDS[name].content)
    pixels = read_image(path)
    assert pixels.dtype == np.uint8
    np.testing.assert_array_equal(pixels, KINDS[name].pixels)
    header = read_image_header(path)
    assert pixels.shape == (header.height, header.width, *(() if header.is_grey else (3,)))


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


def test_a_tall_image_is_resized_first_along_its_rows(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 6), np.uint8)
    (tmp_path / "image.png").write_bytes(encode_png(pixels))
    narrow = Image.fromarray(pixels).resize((3, 40), Image.Resampling.BOX)
    np.testing.assert_array_equal(
        read_image(tmp_path / "image.png", size=(4, 3)), np.asarray(narrow.resize((3, 4), Image.Resampling.BOX))
    )


@pytest.mark.parametrize("exif", [b"", b"II", b"Exif\0\0MM\0*\xff\xff\xff\xff", b"II*\0\x08\0\0\0\xff\xff", bytes(99)])
def test_damaged_exif_data_turn_nothing(exif: bytes) -> None:
    assert find_orientation(exif) == 1


def test_the_error_names_a_file_that_is_not_an_image(tmp_path: Path) -> None:
    (tmp_path / "notes.png").write_bytes(b"hello")
    for read in (read_image, read_image_header):
        with pytest.raises(InvalidValue, match=r"notes\.png"):
            read(tmp_path / "notes.png")


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_pixels_without_a_known_brightest_value_are_refused(tmp_path: Path, dtype: type) -> None:
    (tmp_path / "deep.tif").write_bytes(encode_image(np.ones((4, 5), dtype), "TIFF"))
    for read in (read_image, read_image_header):
        with pytest.raises(InvalidValue, match=r"deep\.tif.* 32 .* 8 or 16 bits"):
            read(tmp_path / "deep.tif")


def test_an_image_with_too_many_pixels_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 40)
    (tmp_path / "large.png").write_bytes(encode_png(np.zeros((9, 9), np.uint8)))
    with pytest.raises(InvalidValue, match=r"large\.png.*too many pixels.*81.*80.*smaller"):
        read_image(tmp_path / "large.png")


@pytest.mark.parametrize("size", [(10, 11), (110, 1), (1, 110)], ids=str)
def test_an_image_above_the_limit_is_refused_by_its_header(tmp_path: Path, size: tuple[int, int]) -> None:
    path = tmp_path / "large.png"
    path.write_bytes(encode_png(np.zeros(size, np.uint8))[:60])  # nothing is left to decode
    for read in (read_image, read_image_header):
        with pytest.raises(InvalidValue, match=rf"large\.png.*{size[0]} x {size[1]} .*109 pixels.*`max_image_pixels`"):
            read(path, max_pixels=109)
    path.write_bytes(encode_png(np.zeros(size, np.uint8)))
    assert read_image(path, max_pixels=110).shape == size


@pytest.mark.parametrize("name", sorted(BOMBS.keys() - {"only a PNG's header"}))
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_images_that_a_server_refuses_are_refused_here_too(tmp_path: Path, name: str) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(BOMBS[name]())
    for read in (read_image, read_image_header):
        with pytest.raises(InvalidValue, match=r"bomb\.png"):
            read(path)


def test_an_image_that_would_grow_while_it_is_resized_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "high.png"
    path.write_bytes(encode_png(np.zeros((26, 1), np.uint8)))
    assert read_image(path, size=(4, 4), max_pixels=104).shape == (4, 4)
    with pytest.raises(InvalidValue, match=r"high\.png.*26 x 1 .*at most 25 on a side"):
        read_image(path, size=(4, 4), max_pixels=103)


def test_pillows_own_warning_is_an_error_if_warnings_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 80)
    (tmp_path / "large.png").write_bytes(encode_png(np.zeros((9, 9), np.uint8)))
    with pytest.raises(InvalidValue, match=r"large\.png.*too many pixels"):
        read_image(tmp_path / "large.png")


DAMAGED = (
    *("16-bit grey", "2-bit palette with opacities", "JPEG, CMYK", "TIFF, two pages"),
    *("TIFF, RGB with opacity, compressed", "GIF, animated", "WebP, transparent", "BMP"),
)


@pytest.mark.parametrize("name", DAMAGED)
@pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # Pillow's remarks about what it skips
def test_damaged_images_are_read_or_refused_by_name(tmp_path: Path, name: str) -> None:
    suffix, content, _ = KINDS[name]
    path, generator, messages = tmp_path / f"damaged{suffix}", np.random.default_rng(0), []
    for number in range(60):
        damaged = bytearray(content[: generator.integers(1, len(content))] if number % 2 else content)
        for position in generator.integers(0, len(damaged), 3):
            damaged[position] = generator.integers(256)
        path.write_bytes(bytes(damaged))
        try:
            assert read_image(path, size=(3, 3), channels=1).shape == (3, 3)
        except InvalidValue as error:
            messages.append(str(error))
    assert messages
    assert all("damaged" in message for message in messages)
