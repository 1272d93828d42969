"""Sets of TensorFlow Datasets: images, arrays and dictionaries, versions and splits, read at once or in pieces."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow_datasets as tfds

from kerasmlp import load_data
from kerasmlp.errors import InvalidValue
from tests.helpers.same_data import assert_same_data

COUNT = 60
PORTS = ("port=Ryde", "port=Rye")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with three prepared sets that TensorFlow Datasets has no code for."""
    folder = tmp_path_factory.mktemp("tfds")
    generator = np.random.default_rng(0)
    label = tfds.features.ClassLabel(names=["ant", "bee", "cow"])

    def store(name: str, features: dict[str, Any], example: Any, *splits: str) -> None:
        tfds.dataset_builders.store_as_tfds_dataset(
            name,
            "1.0.0",
            tfds.features.FeaturesDict(features),
            {split: [(number, example(number)) for number in range(COUNT)] for split in splits},
            data_dir=folder,
            disable_shuffling=True,
        )

    store(
        "scans",
        {"image": tfds.features.Image(shape=(4, 3, 1)), "label": label, "id": np.int64},
        lambda number: {"image": generator.integers(0, 256, (4, 3, 1), np.uint8), "label": number % 3, "id": number},
        "train",
        "test",
    )
    store(
        "leaves",
        {"features": tfds.features.Tensor(shape=(4,), dtype=np.float32), "label": label},
        lambda number: {"features": generator.normal(size=4).astype(np.float32), "label": number % 2},
        "train",
    )
    store(
        "people",
        {
            "age": np.float32,
            "member": np.bool_,
            "port": tfds.features.ClassLabel(names=["Rye", "Ryde"]),
            "job": tfds.features.Text(),
            "where": {"x": np.float32, "yz": tfds.features.Tensor(shape=(2,), dtype=np.float32)},
            "notes": tfds.features.Sequence(tfds.features.Text()),
            "survived": tfds.features.ClassLabel(names=["no", "yes"]),
        },
        lambda number: {
            "age": 20 + number,
            "member": number % 3 == 0,
            "port": -1 if number == 5 else number % 2,
            "job": ["cook", "maid"][number % 2],
            "where": {"x": number / 7, "yz": [number / 2, -number]},
            "notes": ["a", "b"],
            "survived": number // 2 % 2,
        },
        "train",
        "test",
    )
    return folder


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize(
    ("name", "options", "shape"),
    [
        ("scans", {}, (4, 3, 1)),
        ("scans:1.0.0", {"split": "train[:50%]", "test_split": "train[50%:]"}, (4, 3, 1)),
        ("scans", {"split": "train+test", "test_share": 0.25}, (4, 3, 1)),
        ("leaves", {"test_share": 0.2}, (4,)),
        ("people", {"target": "survived"}, (10,)),
        ("people", {"target": "survived", "test_share": 0.2, "time": "age"}, (9,)),
    ],
    ids=lambda value: str(value) if isinstance(value, str) else None,
)
def test_a_streamed_set_is_the_same_data_as_one_read_at_once(
    prepared: Path, name: str, options: dict[str, Any], shape: tuple[int, ...]
) -> None:
    read = load_data(name, data_dir=prepared, **options)
    assert read.feature_shape == shape
    assert_same_data(load_data(name, data_dir=prepared, stream=True, **options), read)
    assert read.request is not None
    assert load_data(**read.request).fingerprint == read.fingerprint


def test_dictionaries_become_columns_without_features_of_variable_length(prepared: Path) -> None:
    data = load_data("people", data_dir=prepared, target="survived")
    assert data.encoder is not None
    numbers = {"age", "where/x", "where/yz_0", "where/yz_1"}
    assert set(data.encoder.feature_names) - {"port="} == {*numbers, "member", "job=cook", "job=maid", *PORTS}
    columns = [column.name for column in data.encoder.columns]
    assert columns == sorted(columns), "the order of columns is not fixed"
    assert data.class_names == ("no", "yes")
    assert len(data.test) == COUNT


def test_split_and_test_split_choose_the_examples(prepared: Path) -> None:
    data = load_data("scans", data_dir=prepared, split="train[:30]", test_split="test[10:20]")
    assert len(data.train) + len(data.validation) == 30
    whole = load_data("scans", data_dir=prepared)
    np.testing.assert_array_equal(data.test.features, whole.test.features[10:20])


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("scans", {"split": "trian"}, "`scans`.*`trian`.*train"),
        ("scans", {"split": "train[99%:1%]"}, r"`train\[99%:1%\]`"),
        ("scans", {"test_split": "train[50%:]"}, r"`split` `train`.*`test_split` `train\[50%:\]`"),
        ("scans", {"target": "lable"}, "`scans`.*`lable`.*`label`"),
        ("scans", {"group": "id"}, "`scans`.*`group` and `time`"),
        ("people", {}, "`people`.*`target`.*age"),
        ("scans:2.0.0", {}, "`scans:2.0.0`"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_a_request_that_does_not_suit_a_set_is_refused(
    prepared: Path, name: str, options: dict[str, Any], message: str, stream: bool
) -> None:
    with pytest.raises(InvalidValue, match=message):
        load_data(name, data_dir=prepared, stream=stream, **options)


def test_a_set_too_large_for_memory_names_the_stream_option(prepared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kerasmlp._system.memory.available_bytes", lambda: 10)
    for name, target in (("scans", None), ("people", "survived")):
        with pytest.raises(InvalidValue, match=r"10 bytes is free\..*`stream=True`"):
            load_data(name, data_dir=prepared, target=target)


def test_images_of_different_sizes_are_refused(tmp_path: Path) -> None:
    features = {"image": tfds.features.Image(shape=(None, 3, 1)), "label": tfds.features.ClassLabel(num_classes=2)}
    example = {"image": np.zeros((4, 3, 1), np.uint8), "label": 0}
    tfds.dataset_builders.store_as_tfds_dataset(
        "uneven", "1.0.0", tfds.features.FeaturesDict(features), {"train": [(0, example)]}, data_dir=tmp_path
    )
    with pytest.raises(InvalidValue, match="`uneven`.*sizes"):
        load_data("uneven", data_dir=tmp_path)
