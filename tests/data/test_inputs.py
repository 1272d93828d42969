"""Files that a network is asked about."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kerasmlp.data.inputs import read_inputs
from kerasmlp.data.types import Data
from kerasmlp.errors import InvalidValue, NotFound

PIXELS = (0.0, 255.0)


def test_an_image_of_the_right_size_arrives_pixel_for_pixel(tmp_path: Path, digits: Data) -> None:
    scan = digits.test.features[0]
    Image.fromarray((scan * 15.9375).astype(np.uint8)).save(tmp_path / "scan.png")  # 16 becomes 255
    features = read_inputs(tmp_path / "scan.png", (8, 8), (0, 16))
    assert features.shape == (1, 8, 8)
    # An 8-bit PNG rounds 0..16 down to steps of 16/255.
    np.testing.assert_allclose(features[0], scan, atol=16 / 255)


@pytest.mark.parametrize(
    ("mode", "color"), [("L", 255), ("RGB", (255, 255, 255)), ("RGBA", (255, 255, 255, 255)), ("1", 1)]
)
def test_images_of_any_kind_and_size_become_grey_and_small(tmp_path: Path, mode: str, color: object) -> None:
    image = Image.new(mode, (50, 40))
    image.paste(color, (0, 0, 25, 40))  # type: ignore[arg-type]
    image.save(tmp_path / "half.png")
    features = read_inputs(tmp_path / "half.png", (4, 6), PIXELS)[0]
    if mode == "RGBA":  # what is transparent shows white paper
        np.testing.assert_array_equal(features, 255)
        return
    np.testing.assert_array_equal(features[:, :3], 255)
    np.testing.assert_array_equal(features[:, 3:], 0)
    inverted = read_inputs(tmp_path / "half.png", (4, 6), PIXELS, invert=True)[0]
    np.testing.assert_array_equal(inverted, 255 - features)


def test_sixteen_bit_scans_keep_their_contrast(tmp_path: Path) -> None:
    deep = np.linspace(0, 65535, 64).reshape(8, 8).astype(np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    np.testing.assert_allclose(read_inputs(tmp_path / "deep.png", (8, 8), PIXELS)[0], deep / 257, atol=1)


def test_tables_and_arrays_are_read_row_by_row(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("a,b,c,d\n1,2,3,4\n\n5,6,7,8.5\n")
    features = read_inputs(tmp_path / "rows.csv", (2, 2), None)
    assert features.tolist() == [[[1, 2], [3, 4]], [[5, 6], [7, 8.5]]]
    np.savez(tmp_path / "only.npz", anything=features)
    np.testing.assert_array_equal(read_inputs(tmp_path / "only.npz", (2, 2), None), features)
    np.savez(tmp_path / "keras.npz", x_train=features[:1], x_test=features)
    np.testing.assert_array_equal(read_inputs(tmp_path / "keras.npz", (2, 2), None), features)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("broken.png", b"\x89PNG\r\n\x1a\nbroken", "broken.png` cannot be read as an image"),
        ("empty.png", b"", "empty.png` cannot be read as an image"),
        ("empty.csv", b"", "holds no example"),
        ("header.csv", b"a,b,c,d\n", "holds no example"),
        ("text.csv", b"1,2,3,4\n1,2,x,4\n", "line 2: .*'x'"),
        ("ragged.csv", b"1,2,3,4\n1,2,3\n", "line 2 has 3 values; the lines before have 4"),
        ("latin.csv", "1,2,3,\xe4".encode("latin-1"), "is not UTF-8"),
        ("short.csv", b"1,2,3\n", "has 3 features per example; the network takes 4"),
        ("nan.csv", b"1,2,3,4\n1,2,nan,4\n", "example 2 holds a value that is no finite number"),
        ("broken.npz", b"PK broken", "cannot be read as an `.npz`"),
        ("song.mp3", b"la la la", "none of what can be read"),
    ],
)
def test_files_that_cannot_be_read_are_named(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InvalidValue, match=message):
        read_inputs(tmp_path / name, (2, 2), PIXELS)


def test_requests_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no file"):
        read_inputs(tmp_path / "absent.png", (2, 2), PIXELS)
    Image.new("L", (2, 2)).save(tmp_path / "dot.png")
    with pytest.raises(InvalidValue, match="which are no images"):
        read_inputs(tmp_path / "dot.png", (4,), PIXELS)
    (tmp_path / "rows.csv").write_text("1,2,3,4")
    with pytest.raises(InvalidValue, match="goes with images"):
        read_inputs(tmp_path / "rows.csv", (2, 2), PIXELS, invert=True)
    np.savez(tmp_path / "two.npz", a=np.zeros((1, 2, 2)), b=np.zeros((1, 2, 2)))
    with pytest.raises(InvalidValue, match="needs an array `x_test`, or just one; it has a, b"):
        read_inputs(tmp_path / "two.npz", (2, 2), PIXELS)
    np.savez(tmp_path / "words.npz", a=np.array([["a", "b"]]))
    with pytest.raises(InvalidValue, match="needs numbers shaped"):
        read_inputs(tmp_path / "words.npz", (2,), PIXELS)
