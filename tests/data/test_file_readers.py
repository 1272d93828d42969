"""IDX files and data sets of openml.org."""

from __future__ import annotations

import gzip
import types
import urllib.error
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kerasmlp import load_data
from kerasmlp.data.readers.choosing import read_source
from kerasmlp.data.readers.idx import read_array
from kerasmlp.data.source import SourceOptions
from kerasmlp.errors import InvalidValue, NotFound
from tests.helpers.image_files import IMAGES, LABELS, idx, write_idx


@pytest.mark.parametrize("zipped", [False, True])
def test_idx_files_are_read_by_their_folder_or_by_any_of_the_files(tmp_path: Path, zipped: bool) -> None:
    folder = write_idx(tmp_path / "tiny", zipped=zipped)
    data = load_data(folder, validation_share=0.2)
    assert (data.name, data.feature_shape, data.feature_range) == ("tiny", (4, 5), (0, 255))
    assert (len(data.train), len(data.validation), len(data.test)) == (24, 6, 9)
    np.testing.assert_array_equal(data.test.features, IMAGES[:9])
    np.testing.assert_array_equal(data.test.labels, LABELS[:9])
    file = next(path for path in folder.iterdir() if "labels" in path.name)
    assert load_data(file, validation_share=0.2).fingerprint == data.fingerprint
    assert data.request is not None
    assert load_data(**data.request).fingerprint == data.fingerprint


def test_idx_files_may_have_no_test(tmp_path: Path) -> None:
    folder = write_idx(tmp_path / "tiny")
    for file in folder.glob("t10k*"):
        file.unlink()
    data = load_data(folder)
    assert len(data.train) + len(data.validation) + len(data.test) == len(IMAGES)


@pytest.mark.parametrize(("kind", "dtype"), [(0x09, ">i1"), (0x0B, ">i2"), (0x0C, ">i4"), (0x0D, ">f4"), (0x0E, ">f8")])
def test_idx_files_can_have_any_type_of_the_format(tmp_path: Path, kind: int, dtype: str) -> None:
    array = np.arange(-3, 3, dtype=dtype).reshape(2, 3)
    (tmp_path / "any").write_bytes(idx(array, kind))
    read = read_array(tmp_path / "any")
    assert read.dtype == np.dtype(dtype).newbyteorder("=")
    np.testing.assert_array_equal(read, array)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "nothing"),
        (b"\1\0\x08\3" + bytes(20), "01 00 08 03"),
        (b"\0\0\x07\3" + bytes(20), "00 00 07 03"),
        (idx(IMAGES)[:-1], r"616 .*\(30, 4, 5\).*615"),
        (idx(IMAGES) + b"\0", "616 .*617"),
        (gzip.compress(idx(IMAGES), mtime=0)[:-9], "unzipped"),
        (gzip.compress(idx(IMAGES), mtime=0)[:40] + b"\xff" * 40, "unzipped"),
        (idx(IMAGES[:29]), "29 .*30 "),
    ],
    ids=["empty", "first byte", "type", "too short", "too long", "truncated gzip", "damaged gzip", "too few images"],
)
def test_the_error_names_a_damaged_idx_file(tmp_path: Path, content: bytes, message: str) -> None:
    folder = write_idx(tmp_path / "tiny")
    (folder / "train-images-idx3-ubyte").write_bytes(content)
    with pytest.raises(InvalidValue, match=rf"train-images-idx3-ubyte` .*{message}"):
        load_data(folder)


def test_the_error_names_a_missing_idx_file(tmp_path: Path) -> None:
    folder = write_idx(tmp_path / "tiny")
    (folder / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(NotFound, match=r"tiny.*labels.*`t10k-labels-idx1-ubyte\.gz`"):
        load_data(folder)


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1])
def test_a_test_share_is_between_0_and_1(share: float) -> None:
    with pytest.raises(InvalidValue, match=rf"`test_share` .*{share}"):
        load_data("digits", test_share=share)


def test_the_choice_of_the_test_does_not_depend_on_the_seed() -> None:
    first, second = (load_data("digits", test_share=0.3, seed=seed) for seed in (0, 1))
    np.testing.assert_array_equal(first.test.features, second.test.features)
    assert len(first.test) == 539  # 0.3 of each of ten classes, each rounded
    assert first.fingerprint == second.fingerprint == load_data("digits").fingerprint
    assert not np.array_equal(first.validation.features, second.validation.features)


def test_openml_data_sets_that_are_known_to_be_images_become_images(monkeypatch: pytest.MonkeyPatch) -> None:
    def fetch(name: str, **options: Any) -> Any:
        assert (name, options["as_frame"]) == ("mnist_784", False)
        flat = np.random.default_rng(0).integers(0, 256, (40, 784)).astype(np.float64)
        return types.SimpleNamespace(data=flat, target=np.array(list("0123") * 10, object))

    monkeypatch.setattr("sklearn.datasets.fetch_openml", fetch)
    data = load_data("openml:mnist_784", test_share=0.2)
    assert (data.name, data.feature_shape, data.feature_range) == ("mnist_784", (28, 28), (0, 255))
    assert data.class_names == ("0", "1", "2", "3")


def test_numbers_of_openml_are_classes_named_as_written_or_quantities(monkeypatch: pytest.MonkeyPatch) -> None:
    features, numbers = np.random.default_rng(0).normal(size=(60, 3)), np.arange(60) % 3 * 5.0
    found = types.SimpleNamespace(data=features, target=numbers)
    monkeypatch.setattr("sklearn.datasets.fetch_openml", lambda name, **options: found)
    data = load_data("openml:wine", test_share=0.2)
    assert data.class_names == ("0.0", "10.0", "5.0")  # sorted as text
    regression = load_data("openml:wine", test_share=0.2, task="regression")
    assert regression.train.labels.dtype == np.float32
    assert set(regression.train.labels.ravel().tolist()) == {0, 5, 10}
    assert regression.request is not None
    assert load_data(**regression.request).fingerprint == regression.fingerprint
    assert read_source("openml:wine").fingerprint(regression.spec) == regression.fingerprint
    assert read_source("openml:wine", SourceOptions(task="regression")).fingerprint(data.spec) == data.fingerprint


def test_labels_in_idx_files_can_be_quantities(tmp_path: Path) -> None:
    data = load_data(write_idx(tmp_path / "tiny"), task="regression")
    assert (data.task.kind, data.train.labels.dtype.name) == ("regression", "float32")
    assert data.request is not None
    assert load_data(**data.request).fingerprint == data.fingerprint


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (urllib.error.URLError("no route"), "`iris`.*no route"),
        (ValueError("No active dataset iris found"), "`iris`.*No active"),
    ],
)
def test_the_error_says_why_an_openml_data_set_cannot_be_read(
    monkeypatch: pytest.MonkeyPatch, error: Exception, message: str
) -> None:
    def fetch(name: str, **options: Any) -> Any:
        raise error

    monkeypatch.setattr("sklearn.datasets.fetch_openml", fetch)
    with pytest.raises(NotFound, match=message):
        load_data("openml:iris")


def test_openml_needs_a_name_and_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidValue, match="`openml:`"):
        load_data("openml:")
    words = types.SimpleNamespace(data=np.array([["red"], ["blue"]], object), target=np.array(["a", "b"], object))
    monkeypatch.setattr("sklearn.datasets.fetch_openml", lambda name, **options: words)
    with pytest.raises(InvalidValue, match="colours.*numbers"):
        load_data("openml:colours")
