"""`load_data` finds the reader of each kind of source, and says what is wrong with others."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kerasmlp import load_data
from kerasmlp.data.readers.choosing import READERS, read_source
from kerasmlp.data.source import SourceOptions
from kerasmlp.errors import InvalidValue, NotFound, WorkFailed


def _write_npz(path: Path, **changes: Any) -> Path:
    generator = np.random.default_rng(0)
    arrays: dict[str, Any] = {
        "x_train": generator.integers(0, 256, (30, 4, 5), np.uint8),
        "y_train": np.arange(30) % 3,
        "x_test": generator.integers(0, 256, (9, 4, 5), np.uint8),
        "y_test": np.arange(9) % 3,
    }
    arrays.update(changes)
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return path


def test_an_npz_in_keras_layout_keeps_dtype_and_test_set(tmp_path: Path) -> None:
    data = load_data(_write_npz(tmp_path / "tiny.npz"), validation_share=0.2)
    assert (data.name, data.feature_shape, data.train.features.dtype.name) == ("tiny", (4, 5), "uint8")
    assert (len(data.train), len(data.validation), len(data.test)) == (24, 6, 9)
    assert data.feature_range == (0, 255)
    assert data.request is not None
    assert load_data(**data.request).fingerprint == data.fingerprint


@pytest.mark.parametrize("names", [("x_train", "y_train"), ("x", "y")])
def test_test_share_takes_a_test_set_from_an_npz_without_one(tmp_path: Path, names: tuple[str, str]) -> None:
    whole = dict(np.load(_write_npz(tmp_path / "tiny.npz")))
    np.savez(tmp_path / "all.npz", **{names[0]: whole["x_train"], names[1]: whole["y_train"], "about": np.array("me")})
    data = load_data(tmp_path / "all.npz", validation_share=0.25, test_share=0.2)
    assert (len(data.train), len(data.validation), len(data.test)) == (18, 6, 6)
    assert data.request is not None
    assert load_data(**data.request).fingerprint == data.fingerprint


def test_mnist_as_npz_has_its_70_000_images(mnist_path: Path) -> None:
    data = load_data(mnist_path)
    assert (data.feature_shape, len(data.train) + len(data.validation), len(data.test)) == ((28, 28), 60_000, 10_000)


def test_mnist_from_tensorflow_datasets_equals_the_npz(mnist_path: Path, tfds_dir: Path) -> None:
    prepared, stored = load_data("mnist", data_dir=tfds_dir), load_data(mnist_path)
    assert prepared.feature_shape == (28, 28, 1)
    assert (prepared.class_names, prepared.feature_range) == (stored.class_names, stored.feature_range)
    # Both have the same 10,000 images in different orders. If the sums per class are equal, no label is wrong.
    for label in range(10):
        sums = [data.test.features[data.test.labels == label].sum(dtype=np.int64) for data in (prepared, stored)]
        assert sums[0] == sums[1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y_test": None}, "y_test.*x_train, y_train, x_test"),
        ({"y_train": None}, "y_train.*x_train, x_test, y_test"),
        ({"x": np.zeros((30, 4)), "y": np.zeros(30), "y_train": None}, r"tiny\.npz.*x, y, x_train.*pair"),
        ({"train_images": np.zeros((30, 4))}, "several.*x_train, train_images"),
        ({"y_train": np.arange(29) % 3}, "`x_train` and `y_train`.*30 and 29"),
        ({"x_train": np.full((30, 4, 5), np.nan)}, "`x_train`.*nan"),
        ({"x_train": np.zeros((30, 4, 5), object)}, r"`x_train` of .*tiny\.npz.*`numpy\.stack"),
        ({"y_train": np.array(["a", "b"] * 15, object)}, r"`y_train` of .*tiny\.npz.*`labels\.astype\(str\)`"),
    ],
)
def test_an_npz_with_unusable_arrays_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidValue, match=message):
        load_data(_write_npz(tmp_path / "tiny.npz", **changes))


def test_files_and_folders_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    whole = _write_npz(tmp_path / "tiny.npz")
    truncated = tmp_path / "truncated.npz"
    truncated.write_bytes(whole.read_bytes()[:-200])
    with pytest.raises(InvalidValue, match=r"truncated\.npz"):
        load_data(truncated)
    empty = tmp_path / "empty.npz"
    empty.touch()
    with pytest.raises(InvalidValue, match=r"empty\.npz.*empty"):
        load_data(empty)
    bare = tmp_path / "bare.npz"
    with bare.open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(InvalidValue, match=r"bare\.npz"):
        load_data(bare)
    with pytest.raises(NotFound, match=r"tinny\.npz.*`tiny\.npz`"):
        load_data(tmp_path / "tinny.npz")
    with pytest.raises(InvalidValue, match=r"folder.*IDX.*`digits`"):
        load_data(tmp_path)
    text = tmp_path / "notes.rtf"
    text.write_text("hello")
    with pytest.raises(InvalidValue, match=r"notes\.rtf.*`digits`"):
        load_data(text)


def test_a_misspelt_name_gets_a_suggestion_and_the_known_sources() -> None:
    with pytest.raises(InvalidValue, match="`mnits`.*`mnist`.*`digits`.*`openml:NAME`"):
        load_data("mnits")
    with pytest.raises(InvalidValue, match="`digit`.*`digits`"):
        load_data("digit")


def test_a_data_set_that_is_neither_prepared_nor_reachable_names_the_data_dir(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_network(*address: Any) -> None:
        raise OSError("no network")

    monkeypatch.setattr("socket.getaddrinfo", no_network)
    with pytest.raises(NotFound, match=r"`mnist`.*`data_dir`"):
        load_data("mnist", data_dir=tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_download_that_fails_names_the_data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: Any, **options: Any) -> None:
        raise ConnectionResetError

    monkeypatch.setattr("socket.getaddrinfo", lambda *address: [])
    monkeypatch.setattr("tensorflow_datasets.core.DatasetBuilder.download_and_prepare", broken)
    with pytest.raises(WorkFailed, match=r"`mnist`.*ConnectionResetError.*`data_dir`"):
        load_data("mnist", data_dir=tmp_path)


def test_an_option_is_refused_for_sources_that_it_does_not_apply_to(tmp_path: Path) -> None:
    for source in ("digits", str(_write_npz(tmp_path / "tiny.npz"))):
        wrong: dict[str, Any] = {"data_dir": tmp_path, "target": "y", "split": "train", "stream": True}
        for option, value in wrong.items():
            with pytest.raises(InvalidValue, match=rf"`{option}`.*`{re.escape(source)}`.*TensorFlow Datasets"):
                read_source(source, SourceOptions(**{option: value}))
    with pytest.raises(NotFound, match="absent.*`data_dir`"):
        load_data("mnist", data_dir=tmp_path / "absent")


def test_an_unknown_version_of_a_data_set_is_refused(tfds_dir: Path) -> None:
    assert load_data("mnist:3.0.1", data_dir=tfds_dir).name == "mnist"
    with pytest.raises(InvalidValue, match=r"`mnist:9\.9\.9`"):
        load_data("mnist:9.9.9", data_dir=tfds_dir)


def test_every_source_option_is_taken_by_some_reader_and_no_other_is() -> None:
    taken = {option for reader in READERS for option in reader.options}
    assert taken == {option.name for option in dataclasses.fields(SourceOptions)}
