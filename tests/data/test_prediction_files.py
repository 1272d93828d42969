"""Files that a network is asked about: images, tables and arrays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from kerasmlp.data.columns import Column
from kerasmlp.data.prediction_files import read_inputs
from kerasmlp.data.raw_tables import TableOptions
from kerasmlp.data.table_encoding import Encoder
from kerasmlp.data.types import Data
from kerasmlp.errors import InvalidValue, KerasMLPWarning, NotFound
from tests.helpers.image_bombs import BOMBS

PIXELS = (0.0, 255.0)


def test_an_image_of_the_right_size_is_read_pixel_for_pixel(tmp_path: Path, digits: Data) -> None:
    scan = digits.test.features[0]
    Image.fromarray((scan * 15.9375).astype(np.uint8)).save(tmp_path / "scan.png")  # 16 becomes 255
    features = read_inputs(tmp_path / "scan.png", (8, 8), (0, 16))
    assert features.shape == (1, 8, 8)
    # An 8-bit PNG rounds 0..16 down to steps of 16/255.
    np.testing.assert_allclose(features[0], scan, atol=16 / 255)


@pytest.mark.parametrize(
    ("mode", "color"), [("L", 255), ("RGB", (255, 255, 255)), ("RGBA", (255, 255, 255, 255)), ("1", 1)]
)
def test_images_of_any_mode_and_size_become_grey_and_get_the_size_of_the_network(
    tmp_path: Path, mode: str, color: object
) -> None:
    image = Image.new(mode, (50, 40))
    image.paste(color, (0, 0, 25, 40))  # type: ignore[arg-type]
    image.save(tmp_path / "half.png")
    features = read_inputs(tmp_path / "half.png", (4, 6), PIXELS)[0]
    if mode == "RGBA":  # transparent pixels show a white background
        np.testing.assert_array_equal(features, 255)
        return
    np.testing.assert_array_equal(features[:, :3], 255)
    np.testing.assert_array_equal(features[:, 3:], 0)
    inverted = read_inputs(tmp_path / "half.png", (4, 6), PIXELS, invert=True)[0]
    np.testing.assert_array_equal(inverted, 255 - features)


def test_an_image_above_the_limit_is_refused(tmp_path: Path) -> None:
    Image.new("L", (50, 40)).save(tmp_path / "photo.png")
    with pytest.raises(InvalidValue, match=r"photo\.png` has 40 x 50 pixels.*1,999 pixels.*`max_image_pixels`"):
        read_inputs(tmp_path / "photo.png", (4, 6), PIXELS, max_image_pixels=1999)
    assert read_inputs(tmp_path / "photo.png", (4, 6), PIXELS, max_image_pixels=2000).shape == (1, 4, 6)
    (tmp_path / "photo.png").write_bytes(BOMBS["palette"]())
    with pytest.raises(InvalidValue, match=r"photo\.png` has 5,000 x 5,000 pixels.*16,777,216 pixels"):
        read_inputs(tmp_path / "photo.png", (4, 6), PIXELS)


def test_16_bit_images_keep_their_contrast(tmp_path: Path) -> None:
    deep = np.linspace(0, 65535, 64).reshape(8, 8).astype(np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    np.testing.assert_allclose(read_inputs(tmp_path / "deep.png", (8, 8), PIXELS)[0], deep / 257, atol=1)


def test_csv_and_npz_files_are_read_row_by_row(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("a,b,c,d\n1,2,3,4\n\n5,6,7,8.5\n")
    features = read_inputs(tmp_path / "rows.csv", (2, 2), None)
    assert features.tolist() == [[[1, 2], [3, 4]], [[5, 6], [7, 8.5]]]
    np.savez(tmp_path / "only.npz", anything=features)
    np.testing.assert_array_equal(read_inputs(tmp_path / "only.npz", (2, 2), None), features)
    np.savez(tmp_path / "keras.npz", x_train=features[:1], x_test=features)
    np.testing.assert_array_equal(read_inputs(tmp_path / "keras.npz", (2, 2), None), features)


ROWS = [[1.5, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]]


@pytest.mark.parametrize("header", ["", "a,b,c,d\n"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_no_row_is_lost_in_any_usual_form_of_csv(
    tmp_path: Path, header: str, separator: str, newline: str, encoding: str
) -> None:
    text = header + "".join(",".join(map(str, row)) + "\n" for row in ROWS)
    (tmp_path / "rows.csv").write_bytes(text.replace(",", separator).replace("\n", newline).encode(encoding))
    np.testing.assert_array_equal(read_inputs(tmp_path / "rows.csv", (4,), None), ROWS)


def test_a_decimal_comma_is_understood_beside_semicolons(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("1,5;2;3;4\n5;6;7;8\n")
    np.testing.assert_array_equal(read_inputs(tmp_path / "rows.csv", (4,), None), ROWS)


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("5%,2\n7.5%,3\n", [[5, 2], [7.5, 3]]),
        ("$1,2\n$3,4\n", [[1, 2], [3, 4]]),
        ('"1,234,567",2\n"1,000",3\n', [[1234567, 2], [1000, 3]]),
        ("1.234,5;2\n6;0,5\n", [[1234.5, 2], [6, 0.5]]),
        ("1.5\t2e3\n-.5\t+4\n", [[1.5, 2000], [-0.5, 4]]),
    ],
)
def test_numbers_may_be_written_as_in_any_table(tmp_path: Path, text: str, numbers: list[list[float]]) -> None:
    (tmp_path / "rows.csv").write_text(text)
    np.testing.assert_array_equal(read_inputs(tmp_path / "rows.csv", (2,), None), np.array(numbers, np.float32))


def test_a_number_with_two_meanings_is_refused_unless_the_decimal_mark_is_known(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text('"1,234",2\n')
    with pytest.raises(InvalidValue, match="`1,234`.*`decimal="):
        read_inputs(tmp_path / "rows.csv", (2,), None)
    for decimal, number in ((".", 1234), (",", 1.234)):
        features = read_inputs(tmp_path / "rows.csv", (2,), None, options=TableOptions(decimal=decimal))
        np.testing.assert_array_equal(features, np.array([[number, 2]], np.float32))


@pytest.mark.parametrize("suffix", [".txt", ".data", ".tsv", ".csv.gz", ".parquet", ".arrow", ".jsonl"])
def test_a_network_of_arrays_reads_every_kind_of_table(tmp_path: Path, suffix: str) -> None:
    table, path = pd.DataFrame(ROWS, columns=["a", "b", "c", "d"]), tmp_path / f"rows{suffix}"
    if suffix == ".parquet":
        table.to_parquet(path)
    elif suffix == ".arrow":
        table.to_feather(path)
    elif suffix == ".jsonl":
        table.to_json(path, orient="records", lines=True)
    else:
        table.to_csv(path, index=False, sep="\t" if suffix == ".tsv" else ",")
    np.testing.assert_array_equal(read_inputs(path, (4,), None), ROWS)


def test_a_line_that_counts_many_columns_is_no_example_and_this_is_said(tmp_path: Path) -> None:
    counted = np.arange(16)
    (tmp_path / "rows.csv").write_text(f"{','.join(map(str, counted))}\n{','.join(map(str, counted[::-1]))}\n")
    with pytest.warns(KerasMLPWarning, match=r"rows\.csv.*0 to 15"):
        features = read_inputs(tmp_path / "rows.csv", (16,), None)
    np.testing.assert_array_equal(features, [counted[::-1]])
    (tmp_path / "rows.csv").write_text("0,1,2,3\n4,5,6,7\n")  # few columns: an example
    assert len(read_inputs(tmp_path / "rows.csv", (4,), None)) == 2


def test_lines_above_the_numbers_are_skipped_with_a_warning(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("# made by a scanner\n1.5,2,3,4\n5,6,7,8\n")
    with pytest.warns(KerasMLPWarning, match="made by a scanner"):
        np.testing.assert_array_equal(read_inputs(tmp_path / "rows.csv", (4,), None), ROWS)


def test_examples_with_their_axes_in_another_order_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "rows.npy", np.zeros((2, 3, 4, 5)))
    with pytest.raises(InvalidValue, match=r"rows\.npy.*\(3, 4, 5\).*\(4, 5, 3\)"):
        read_inputs(tmp_path / "rows.npy", (4, 5, 3), PIXELS)
    assert read_inputs(tmp_path / "rows.npy", (3, 4, 5, 1), PIXELS).shape == (2, 3, 4, 5, 1)


@pytest.mark.parametrize(
    ("names", "read"),
    [(["X", "Y"], "X"), (["train_images", "test_images"], "test_images"), (["data", "target"], "data")],
)
def test_the_features_to_predict_are_found_by_name(tmp_path: Path, names: list[str], read: str) -> None:
    arrays = {name: np.full((2, 4), index) for index, name in enumerate(names)}
    np.savez(tmp_path / "a.npz", **arrays)  # type: ignore[arg-type]
    np.testing.assert_array_equal(read_inputs(tmp_path / "a.npz", (4,), None), arrays[read])


def test_rows_of_a_table_are_encoded_by_column_name(tmp_path: Path) -> None:
    encoder = Encoder((Column("size", "number"), Column("colour", "category", categories=("blue", "red"))))
    (tmp_path / "rows.csv").write_text("colour,other,size\nred,x,1.5\nblue,y,2\n")
    features = read_inputs(tmp_path / "rows.csv", (3,), None, encoder=encoder)
    np.testing.assert_array_equal(features, np.array([[1.5, 0, 1], [2, 1, 0]], np.float32))
    with pytest.raises(InvalidValue, match=r"`invert`.*rows\.csv"):
        read_inputs(tmp_path / "rows.csv", (3,), None, encoder=encoder, invert=True)
    (tmp_path / "none.csv").write_text("colour,size\n")
    with pytest.raises(InvalidValue, match=r"none\.csv.*row"):
        read_inputs(tmp_path / "none.csv", (3,), None, encoder=encoder)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("broken.png", b"\x89PNG\r\n\x1a\nbroken", r"broken\.png` .* image"),
        ("empty.png", b"", r"empty\.png` .* image"),
        ("empty.csv", b"", r"empty\.csv` is empty"),
        ("header.csv", b"a,b,c,d\n", r"header\.csv` .* row"),
        ("text.csv", b"1,2,3,4\n1,2,x,4\n", "row 2.*`x`"),
        ("underscore.csv", b"1,2,1_0,4\n1,2,3,4\n", "first line.*`1_0`"),
        ("slip.csv", b"1,2,o,4\n1,2,3,4\n", r"slip\.csv`.*first line.*`o`"),
        ("gap.csv", b"1,2,,4\n1,2,3,4\n", r"gap\.csv`: example 1 lacks"),
        ("ragged.csv", b"1,2,3,4\n1,2,3\n", r"ragged\.csv`, row . .*4.*3"),
        ("broken.npy", b"\x93NUMPY\1\0 broken", r"broken\.npy` .*`\.npy`"),
        ("short.csv", b"1,2,3\n", r"short\.csv` .*3 .*4.*\(2, 2\)"),
        ("nan.csv", b"1,2,3,4\n1,2,nan,4\n", "example 2 .*finite"),
        ("broken.npz", b"PK broken", r"broken\.npz` .*`\.npz`"),
        ("song.mp3", b"la la la", r"song\.mp3` .*\.png.*\.csv.*\.npz"),
    ],
)
def test_the_error_names_a_file_that_cannot_be_read(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InvalidValue, match=message):
        read_inputs(tmp_path / name, (2, 2), PIXELS)


def test_a_missing_file_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"absent\.png"):
        read_inputs(tmp_path / "absent.png", (2, 2), PIXELS)


def test_images_are_refused_by_a_network_that_takes_flat_features(tmp_path: Path) -> None:
    Image.new("L", (2, 2)).save(tmp_path / "dot.png")
    with pytest.raises(InvalidValue, match=r"dot\.png.*\(4,\)"):
        read_inputs(tmp_path / "dot.png", (4,), PIXELS)


def test_only_images_can_be_inverted(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("1,2,3,4")
    with pytest.raises(InvalidValue, match=r"`invert`.*rows\.csv"):
        read_inputs(tmp_path / "rows.csv", (2, 2), PIXELS, invert=True)


def test_npz_files_need_one_array_of_numbers(tmp_path: Path) -> None:
    np.savez(tmp_path / "two.npz", a=np.zeros((1, 2, 2)), b=np.zeros((1, 2, 2)))
    with pytest.raises(InvalidValue, match="`x_test`.*a, b"):
        read_inputs(tmp_path / "two.npz", (2, 2), PIXELS)
    np.savez(tmp_path / "words.npz", a=np.array([["a", "b"]]))
    with pytest.raises(InvalidValue, match=r"words\.npz.*<U1 \(1, 2\)"):
        read_inputs(tmp_path / "words.npz", (2,), PIXELS)


def test_you_are_warned_about_categories_that_did_not_occur_in_training(tmp_path: Path) -> None:
    encoder = Encoder((Column("zip", "category", categories=("", "01067")), Column("x", "number")))
    (tmp_path / "known.csv").write_text("zip,x\n01067,1\n,2\n")
    assert read_inputs(tmp_path / "known.csv", (3,), None, encoder=encoder).tolist() == [[0, 1, 1], [1, 0, 2]]
    (tmp_path / "new.csv").write_text("zip,x\n01067,1\n1067,2\n")
    with pytest.warns(KerasMLPWarning, match="`zip`.*`1067`"):
        features = read_inputs(tmp_path / "new.csv", (3,), None, encoder=encoder)
    assert features[1].tolist() == [0, 0, 2]
