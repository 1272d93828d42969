"""Cautions are given where figures would mislead, and only there: alike for data in memory and streamed."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import kerasmlp
from kerasmlp.data.cautions import example_keys
from kerasmlp.data.describing import data_notes, describe_source
from kerasmlp.data.readers.choosing import read_source
from kerasmlp.data.source import SourceOptions
from kerasmlp.tasks.class_cautions import cautions_about, is_uneven
from tests.helpers.image_files import write_images

ROWS = 400
GENERATOR = np.random.default_rng


def clean() -> pd.DataFrame:
    """Rows about which there is nothing to say: even classes that no column tells for certain."""
    generator = GENERATOR(0)
    x, y = generator.normal(size=(2, ROWS))
    label = np.where(x + generator.normal(size=ROWS) > 0, "yes", "no")
    colour = generator.choice(["red", "green", "blue"], ROWS)
    return pd.DataFrame({"x": x, "y": y, "colour": colour, "flag": generator.random(ROWS) > 0.5, "label": label})


def repeated(table: pd.DataFrame) -> pd.DataFrame:
    return pd.concat([table.head(ROWS // 4)] * 4)


def with_column(name: str, values: Callable[[pd.DataFrame], object]) -> Callable[[pd.DataFrame], pd.DataFrame]:
    return lambda table: table.assign(**{name: values(table)})


def is_yes(table: pd.DataFrame) -> np.ndarray:
    return np.asarray(table["label"] == "yes")


def mostly_no(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(label=np.where(GENERATOR(1).random(ROWS) < 0.1, "yes", "no"))


def numbers_as_labels(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(label=np.round(table["x"] * 10).astype(int) * 1000)


CASES = {
    "repeated rows": (repeated, r"also occur in training.*`keep_duplicates_together=True`", r"repeat the features"),
    "a constant number": (with_column("c", lambda table: 5), "`c` has the same value", ""),
    "a constant category": (with_column("c", lambda table: "only"), "`c` has the same value", ""),
    "two constants": (lambda table: table.assign(c=1, d="x"), "`c`, `d` have one value each", ""),
    "a number that is the label": (
        with_column("leak", lambda table: is_yes(table) * 7),
        r'`leak`.*drop=\["leak"\]',
        "",
    ),
    "a threshold that is the label": (
        with_column("leak", lambda table: np.where(is_yes(table), 2.0, 0.0) + GENERATOR(1).random(ROWS)),
        r"`leak` tells the class of (99|100)",
        "",
    ),
    "a category that is the label": (
        with_column("leak", lambda table: np.where(is_yes(table), "approved", "rejected")),
        r'`leak`.*drop=\["leak"\]',
        "",
    ),
    "a boolean that is the label": (with_column("leak", is_yes), r'drop=\["leak"\]', ""),
    "a date that is the label": (
        with_column("leak", lambda table: np.where(is_yes(table), "2024-03-01", "2024-05-02")),
        r'drop=\["leak"\]',
        "",
    ),
    "missing where the label is no": (
        with_column("leak", lambda table: np.where(is_yes(table), table["x"], np.nan)),
        r'drop=\["leak"\]',
        "",
    ),
    "uneven classes": (mostly_no, r"`no` makes up (89|90|91).* balanced accuracy.*`class_weight=\"balanced\"`", ""),
}


def cautions_of(path: Path, *, stream: bool) -> list[str]:
    return data_notes(kerasmlp.load_data(path, target="label", stream=stream, verbose=0))


def described(path: Path, *, stream: bool) -> list[str]:
    about = describe_source(read_source(str(path), SourceOptions(target="label", stream=stream)))
    cautions: list[str] = about["cautions"]
    return cautions


def save(folder: Path, table: pd.DataFrame) -> Path:
    table.to_csv(folder / "table.csv", index=False)
    return folder / "table.csv"


@pytest.mark.parametrize("stream", [False, True])
def test_there_is_nothing_to_say_about_clean_data(tmp_path: Path, stream: bool) -> None:
    path = save(tmp_path, clean())
    assert cautions_of(path, stream=stream) == []
    assert described(path, stream=stream) == []


@pytest.mark.parametrize("case", CASES)
def test_what_misleads_is_said_before_and_after_the_split(tmp_path: Path, case: str) -> None:
    change, split, unsplit = CASES[case]
    path = save(tmp_path, change(clean()))
    for cautions, expected in ((cautions_of, split), (described, unsplit or split)):
        found = cautions(path, stream=False)
        assert found == cautions(path, stream=True)
        about_rare_classes = [one for one in found if "add more" in one or "no example in" in one]
        others = [one for one in found if one not in about_rare_classes]
        assert len(others) == 1
        assert re.search(expected, others[0])


@pytest.mark.parametrize("stream", [False, True])
def test_many_numbers_that_are_read_as_classes_are_doubted(tmp_path: Path, stream: bool) -> None:
    path = save(tmp_path, numbers_as_labels(clean()))
    data = kerasmlp.load_data(path, target="label", task="classification", stream=stream, verbose=0)
    assert any("quantities" in note for note in data_notes(data))
    data = kerasmlp.load_data(path, target="label", stream=stream, verbose=0)
    assert data.task.kind == "regression"
    assert not any("quantities" in note for note in data_notes(data))


def test_the_number_of_test_rows_that_were_trained_on_is_exact() -> None:
    table = repeated(clean())
    data = kerasmlp.data_from_frame(table, "label")
    trained = {row.tobytes() for row in np.asarray(data.train.features)}
    count = sum(row.tobytes() in trained for row in np.asarray(data.test.features))
    assert data.cautions[0].startswith(f"{count} of {len(data.test)} ")
    together = kerasmlp.data_from_frame(table, "label", keep_duplicates_together=True)
    assert together.cautions == ()


def test_rows_of_few_possible_values_may_repeat() -> None:
    generator = GENERATOR(0)
    table = pd.DataFrame({name: generator.integers(0, 4, ROWS) for name in ("rooms", "floors", "baths")})
    table["label"] = generator.choice(["cheap", "dear"], ROWS)
    assert kerasmlp.data_from_frame(table, "label").cautions == ()


def test_keeping_duplicates_together_is_not_proposed_where_it_cannot_help() -> None:
    table = repeated(clean()).assign(when=lambda rows: np.arange(len(rows)) % 300)
    by_time = kerasmlp.data_from_frame(table, "label", time="when")
    own_test = kerasmlp.data_from_frame(clean(), "label", test=clean().head(50))
    for data in (by_time, own_test):
        assert "also occur in training" in data.cautions[0]
        assert "keep_duplicates_together" not in data.cautions[0]
    trained = {row.tobytes() for row in np.asarray(own_test.train.features)}
    count = sum(row.tobytes() in trained for row in np.asarray(own_test.test.features))
    assert own_test.cautions[0].startswith(f"{count} of 50 ")  # the others are validation examples


def test_unlike_the_network_a_caution_counts_unseen_categories(tmp_path: Path) -> None:
    train, test = clean(), clean().head(100)
    test = test.assign(x=test["x"] + 1, colour=np.where(np.arange(100) < 12, "pink", test["colour"]))
    data = kerasmlp.data_from_frame(train, "label", test=test)
    assert len(data.cautions) == 1
    assert re.match(r"12 of 100 test rows \(12%\).*`colour`", data.cautions[0])
    path = tmp_path / "test.csv"
    test.to_csv(path, index=False)
    for stream in (False, True):
        source = read_source(str(path), SourceOptions(target="label", stream=stream))
        assert source.whole(data.spec).cautions == data.cautions


def test_copies_of_rows_do_not_make_a_column_look_like_the_label() -> None:
    generator = GENERATOR(0)
    rows = pd.DataFrame(generator.normal(size=(150, 3)), columns=["x", "y", "z"])
    rows["label"] = generator.choice(["a", "b", "c"], 150)
    (caution,) = kerasmlp.data_from_frame(pd.concat([rows] * 8), "label").cautions
    assert "also occur in training" in caution


def test_a_column_that_only_names_the_larger_class_is_not_the_label() -> None:
    table = mostly_no(clean()).assign(mostly=lambda rows: np.where(GENERATOR(2).random(ROWS) < 0.98, "a", "b"))
    assert kerasmlp.data_from_frame(table, "label").cautions == ()


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.int64])
def test_arrays_are_checked_for_test_examples_of_training(dtype: type) -> None:
    generator = GENERATOR(0)
    x: np.ndarray = generator.integers(0, 200, (100, 5, 3)).astype(dtype)
    y = np.arange(100) % 2
    x_test = np.concatenate([x[:7], x[:20] + dtype(1)])
    data = kerasmlp.data_from_arrays(x, y, x_test, y[: len(x_test)], validation_share=0.5)
    trained = {row.tobytes() for row in np.asarray(data.train.features)}
    count = sum(row.tobytes() in trained for row in x_test)
    assert 0 < count < 7
    assert data.cautions[0].startswith(f"{count} of 27 ")
    assert kerasmlp.data_from_arrays(x, y, x[:20] + dtype(1), y[:20]).cautions == ()


def test_images_are_checked_in_memory_and_streamed(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "pets")
    for image in list((folder / "cat").iterdir()):
        (image.parent / f"copy-{image.name}").write_bytes(image.read_bytes())
    read, streamed = (kerasmlp.load_data(folder, test_share=0.4, stream=stream, verbose=0) for stream in (False, True))
    assert read.cautions == streamed.cautions
    assert "also occur in training" in read.cautions[0]


def test_keys_are_equal_for_equal_examples_only() -> None:
    base = GENERATOR(0).normal(size=(1, 9)).astype(np.float32)
    flipped = np.repeat(base, 9, axis=0)
    flipped[np.arange(9), np.arange(9)] *= -1
    both = np.concatenate([base, flipped, -base, base[:, ::-1]])
    assert len(np.unique(example_keys(both))) == len(both)
    assert example_keys(base) == example_keys(np.asfortranarray(base))
    assert example_keys(np.array([[0.0]])) == example_keys(np.array([[-0.0]]))


@pytest.mark.parametrize(
    ("names", "are_quantities"),
    [
        ([str(1000 * i) for i in range(30)], True),
        ([str(i / 2) for i in range(25)], True),
        ([str(i) for i in range(17, 90)], True),
        ([str(i) for i in range(26)], False),  # letters by number
        ([str(i) for i in range(1, 102)], False),
        ([f"{7 * i:03}" for i in range(30)], False),  # codes
        ([str(1000 * i) for i in range(20)], False),
        ([f"street {i}" for i in range(30)], False),
    ],
)
def test_many_classes_that_are_numbers_look_like_a_quantity(names: list[str], are_quantities: bool) -> None:
    notes = cautions_about({"train": np.full(len(names), 10)}, tuple(names))
    assert [("quantities" in note) for note in notes] == [True] * are_quantities


@pytest.mark.parametrize(
    ("share", "num_classes", "expected"),
    [(0.5, 2, False), (0.7, 2, False), (0.71, 2, True), (0.5, 5, True), (0.34, 3, False), (0.02, 1000, False)],
)
def test_classes_are_uneven_where_one_is_far_larger_than_an_even_share(
    share: float, num_classes: int, expected: bool
) -> None:
    assert is_uneven(share, num_classes) is expected
