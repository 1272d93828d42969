"""What targets are: classes, labels or numbers, the same from every source, and what is learnt from numbers."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

import kerasmlp
from kerasmlp import data_from_arrays, data_from_dataset, data_from_frame, load_data
from kerasmlp.data.types import Data
from kerasmlp.errors import InvalidType, InvalidValue
from tests.helpers.same_data import assert_same_data
from tests.helpers.tables import houses_frame, write

ROWS = 240
GENERATOR = np.random.default_rng
X = GENERATOR(1).normal(size=(ROWS, 3)).astype(np.float32)
COUNT = np.arange(ROWS)

# A target, and what it looks like. Of arrays and of tables alike.
ONE_TARGET: dict[str, tuple[Any, str]] = {
    "texts": (np.array(["low", "high"])[COUNT % 2], "classification"),
    "booleans": (COUNT % 3 == 0, "classification"),
    "0 and 1": (COUNT % 2, "classification"),
    "few whole numbers": (COUNT % 20 * 1000, "classification"),
    "whole numbers written with a point": (COUNT % 5 * 2.0, "classification"),
    "many numbers from 0": (COUNT % 30, "classification"),
    "many numbers from 1": (COUNT % 30 + 1, "classification"),
    "many other whole numbers": (COUNT % 21 * 1000, "regression"),
    "many negative whole numbers": (COUNT % 40 - 20, "regression"),
    "many whole numbers written with a point": (COUNT % 21 * 10.0, "regression"),
    "two numbers that are not whole": (COUNT % 2 + 0.5, "regression"),
    "measured numbers": (X[:, 0].astype(np.float64), "regression"),
}
SEVERAL_TARGETS: dict[str, tuple[np.ndarray, str]] = {
    "booleans": (X[:, :2] > 0, "multi_label"),
    "0 and 1": ((X[:, :2] > 0).astype(int), "multi_label"),
    "0.0 and 1.0": ((X[:, :2] > 0).astype(np.float64), "multi_label"),
    "whole numbers": (np.stack([COUNT % 7, COUNT % 3], axis=1), "regression"),
    "measured numbers": (X[:, :2].astype(np.float64), "regression"),
    "booleans and numbers": (np.stack([COUNT % 2, X[:, 0]], axis=1), "regression"),
}


def table(**targets: Any) -> pd.DataFrame:
    """Three features and targets."""
    return pd.DataFrame({"a": X[:, 0], "b": X[:, 1], "c": X[:, 2], **targets})


def learnt(data: Data) -> Any:
    """The task of the data, with the attributes of its kind."""
    return data.task


def read_in_all_ways(folder: Path, rows: pd.DataFrame, **options: Any) -> list[Data]:
    """The rows from a frame, a CSV file and a Parquet file, at once and streamed."""
    paths = [write(folder / f"rows.{suffix}", rows) for suffix in ("csv", "parquet")]
    files = [load_data(path, stream=stream, verbose=0, **options) for path in paths for stream in (False, True)]
    return [data_from_frame(rows, name="rows", **options), *files]


@pytest.mark.parametrize("case", ONE_TARGET)
def test_one_target_is_understood_in_the_same_way_in_arrays_frames_and_files(tmp_path: Path, case: str) -> None:
    values, kind = ONE_TARGET[case]
    found = [data_from_arrays(X, values), *read_in_all_ways(tmp_path, table(y=values), target="y")]
    assert [data.task.kind for data in found] == [kind] * 6
    assert len({data.fingerprint for data in found[1:]}) == 1
    assert len({data.class_names for data in found}) == 1
    shape = () if kind == "classification" else (1,)
    assert {data.train.labels.shape[1:] for data in found} == {shape}
    assert {data.train.labels.dtype.name for data in found} == {"int32" if kind == "classification" else "float32"}


@pytest.mark.parametrize("case", SEVERAL_TARGETS)
def test_several_targets_are_understood_in_the_same_way_everywhere(tmp_path: Path, case: str) -> None:
    values, kind = SEVERAL_TARGETS[case]
    rows = table(y=values[:, 0], z=values[:, 1])
    found = [data_from_arrays(X, values), *read_in_all_ways(tmp_path, rows, target=["y", "z"])]
    assert [data.task.kind for data in found] == [kind] * 6
    assert [data.task.names for data in found] == [("target_1", "target_2"), *[("y", "z")] * 5]
    assert {data.train.labels.dtype.name for data in found} == {"int32" if kind == "multi_label" else "float32"}
    assert {(data.num_outputs, data.class_names) for data in found} == {(2, ())}
    np.testing.assert_array_equal(_sorted(_targets(found[1])), _sorted(values.astype(np.float32)))


def test_one_hot_rows_and_codes_are_classes(tmp_path: Path) -> None:
    assert data_from_arrays(X, np.eye(3)[COUNT % 3]).class_names == ("0", "1", "2")
    path = tmp_path / "codes.csv"
    path.write_text("x,y\n" + "\n".join(f"{i / 2},{i % 30 * 7:03}" for i in range(ROWS)))
    assert load_data(path, target="y").class_names[1] == "007"


def test_targets_may_be_named_in_one_text(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.csv", table(y=X[:, 0], z=X[:, 1]))
    assert load_data(path, target="y,z").task.names == ("y", "z")
    assert load_data(path, target="y").num_features == 4


def test_the_task_that_was_asked_for_is_used_instead() -> None:
    rows = table(y=COUNT % 7)
    assert data_from_frame(rows, "y").num_classes == 7
    assert data_from_frame(rows, "y", task="regression").num_outputs == 1
    assert learnt(data_from_frame(rows, "y", quantiles=[0.1, 0.9])).quantiles == (0.1, 0.9)
    assert learnt(data_from_frame(rows.assign(y=COUNT % 7 + 1), "y", log_target=True)).log
    assert data_from_frame(rows.assign(y=COUNT % 7 / 2), "y", task="classification").class_names[1] == "0.5"
    assert data_from_arrays(X, COUNT % 2, task="multi_label").task.names == ("target",)


@pytest.mark.parametrize("stored", ["float32", "float64", "int64"])
@pytest.mark.parametrize("targets", [1, 2])
def test_arrays_in_a_file_may_hold_numbers_to_predict(tmp_path: Path, stored: str, targets: int) -> None:
    values = np.round(100 * X[:, :targets] + 500).astype(stored)
    values = values[:, 0] if targets == 1 else values
    np.savez(tmp_path / "both.npz", x=X, y=values)
    np.savez(tmp_path / "keras.npz", x_train=X, y_train=values, x_test=X[:50], y_test=values[:50])
    for name, num_test in (("both", 48), ("keras", 50)):
        data = load_data(tmp_path / f"{name}.npz")
        assert (data.task.kind, data.num_outputs, len(data.test)) == ("regression", targets, num_test)
        assert data.test.labels.dtype == np.float32
    np.testing.assert_array_equal(data.test.labels, values[:50].reshape(50, targets).astype(np.float32))


@pytest.mark.parametrize("width", [1, 2])
def test_a_dataset_gives_the_same_numbers_streamed_and_in_memory(width: int) -> None:
    targets = X[:, 0] * 10 if width == 1 else X[:, :2] * 10
    dataset = tf.data.Dataset.from_tensor_slices((X, targets))
    read, streamed = (data_from_dataset(dataset, test_share=0.2, stream=stream) for stream in (False, True))
    assert_same_data(streamed, read)
    assert (read.task, read.num_outputs) == (streamed.task, width)
    arrays = data_from_arrays(X, targets, test_share=0.2)
    np.testing.assert_array_equal(_sorted(arrays.test.labels), _sorted(read.test.labels))


@pytest.mark.parametrize("target", ["price", ["price", "rooms"]])
@pytest.mark.parametrize("options", [{}, {"log_target": True}, {"quantiles": (0.1, 0.9)}])
@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_streamed_table_of_numbers_gives_the_same_data(
    tmp_path: Path, suffix: str, options: dict[str, Any], target: str | Sequence[str]
) -> None:
    path = write(tmp_path / f"houses.{suffix}", houses_frame())
    read, streamed = (load_data(path, target=target, stream=stream, verbose=0, **options) for stream in (False, True))
    assert_same_data(streamed, read)
    again = load_data(path, target=target, stream=True, verbose=0, **options)  # from the cache
    assert again.task == streamed.task
    assert read.request is not None
    assert load_data(**json.loads(json.dumps(read.request))).task == read.task


def test_a_split_keeps_the_share_of_small_and_of_large_numbers() -> None:
    price = np.exp(GENERATOR(3).normal(size=2000))
    rows = pd.DataFrame({"x": GENERATOR(4).normal(size=2000), "price": price})
    data = data_from_frame(rows, "price", test_share=0.1, validation_share=0.1)
    edges = np.quantile(price, np.linspace(0, 1, 11)[1:-1])
    for part, size in ((data.test, 200), (data.validation, 180)):
        tenths = np.bincount(np.searchsorted(edges, part.labels[:, 0]), minlength=10)
        assert len(part) == pytest.approx(size, abs=10)
        assert tenths.max() - tenths.min() <= 2


def test_the_split_of_numbers_ignores_the_order_of_rows_and_its_test_ignores_the_seed() -> None:
    rows = houses_frame()
    data = data_from_frame(rows, "price")
    shuffled = data_from_frame(rows.sample(frac=1, random_state=0), "price")
    assert data.fingerprint == shuffled.fingerprint
    for part in ("train", "validation", "test"):
        one, other = (_sorted(getattr(each, part).labels) for each in (data, shuffled))
        np.testing.assert_array_equal(one, other)
    again = data_from_frame(rows, "price", seed=1)
    np.testing.assert_array_equal(_sorted(data.test.labels), _sorted(again.test.labels))
    assert set(data.validation.labels[:, 0]) != set(again.validation.labels[:, 0])


def test_what_is_learnt_from_numbers_comes_from_training_alone() -> None:
    y = 1000 + 5 * X[:, :1]
    test = 1e6 + X[:50, :1]
    data = data_from_arrays(X, y, X[:50], test)
    np.testing.assert_allclose(learnt(data).means, data.train.labels.mean(axis=0, dtype=np.float64))
    np.testing.assert_allclose(learnt(data).scales, data.train.labels.std(axis=0, dtype=np.float64), rtol=1e-6)


def test_the_logarithm_of_targets_is_learnt_in_their_own_units() -> None:
    y = np.exp(4 * X[:, 0].astype(np.float64))
    data = data_from_arrays(X, y, log_target=True)
    logs = np.log(data.train.labels.astype(np.float64))
    np.testing.assert_allclose(learnt(data).log_means, logs.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(learnt(data).log_scales, logs.std(axis=0), rtol=1e-6)
    output: Any = np.zeros((2, 1), np.float32)
    for layer in data.postprocessing():
        output = layer(output)
    np.testing.assert_allclose(output, np.exp(learnt(data).log_means[0]), rtol=1e-5)


def test_a_network_reads_the_targets_of_later_files_as_it_learnt_them(tmp_path: Path) -> None:
    rows = houses_frame().assign(price=lambda frame: frame["price"].round(-4))
    data = data_from_frame(rows, "price")
    spec = data.spec
    few = write(tmp_path / "few.csv", rows.head(40).assign(price=[100_000, 200_000] * 20))  # which look like classes
    later = load_data(few, target="price", spec=spec, test_share=0.5)
    assert later.task == data.task
    assert set(later.test.labels[:, 0]) <= {100_000.0, 200_000.0}
    with pytest.raises(InvalidValue, match="`few`.*price, rooms.*price"):
        load_data(few, target="price,rooms", spec=spec)


FIVE_THOUSAND = pd.DataFrame({"a": GENERATOR(2).normal(size=5000), "y": np.arange(5000) * 3 + 2})
REFUSED: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "5,000 classes in a table": (
        lambda: data_from_frame(FIVE_THOUSAND, "y", task="classification"),
        InvalidValue,
        "5,000 different numbers.*`task=regression`",
    ),
    "5,000 classes in arrays": (
        lambda: data_from_arrays(FIVE_THOUSAND[["a"]], FIVE_THOUSAND["y"], task="classification"),
        InvalidValue,
        "5,000 different numbers.*`task=regression`",
    ),
    "measured numbers as classes in arrays": (
        lambda: data_from_arrays(X, X[:, 0], task="classification"),
        InvalidValue,
        "`y_train`.*whole numbers",
    ),
    "text to predict in a table": (
        lambda: data_from_frame(table(y=["lo", "hi"] * 120), "y", task="regression"),
        InvalidValue,
        "`frame`, row 1: the column `y` needs numbers.*`lo`",
    ),
    "a word among numbers to predict": (
        lambda: data_from_frame(table(y=[*COUNT[:-1].astype(str), "soon"]), "y", quantiles=(0.1, 0.9)),
        InvalidValue,
        "`frame`, row 240: the column `y` needs numbers for quantiles; got `soon`",
    ),
    "text to predict in arrays": (
        lambda: data_from_arrays(X, np.array(["lo", "hi"] * 120), task="regression"),
        InvalidType,
        "`y_train`.*`task=regression`.*'lo'",
    ),
    "text to predict in a dataset": (
        lambda: data_from_dataset(tf.data.Dataset.from_tensor_slices((X, ["lo", "hi"] * 120)), task="regression"),
        InvalidType,
        "`y_train`.*`task=regression`.*'lo'",
    ),
    "NaN among several targets": (
        lambda: data_from_frame(table(y=X[:, 0], z=np.where(COUNT == 17, np.nan, X[:, 1])), ["y", "z"]),
        InvalidValue,
        "row 18 has no target in the column `z`",
    ),
    "NaN in the test": (
        lambda: data_from_frame(table(y=X[:, 0]), "y", test=table(y=np.where(COUNT == 3, np.nan, X[:, 0]))),
        InvalidValue,
        "`test`, row 4 has no target in the column `y`",
    ),
    "infinity in arrays": (
        lambda: data_from_arrays(X, np.where(COUNT == 17, np.inf, X[:, 0])),
        InvalidValue,
        "`y_train`.*inf at index 17",
    ),
    "a constant among several targets": (
        lambda: data_from_frame(table(y=X[:, 0], z=2.5), ["y", "z"]),
        InvalidValue,
        "`z` is 2.5 in all training",
    ),
    "a label that no example has": (
        lambda: data_from_frame(table(y=COUNT % 2 == 0, z=False), ["y", "z"]),
        InvalidValue,
        "no training example has the label `z`",
    ),
    "several classes": (
        lambda: data_from_frame(table(y=COUNT % 3, z=COUNT % 2), ["y", "z"], task="classification"),
        InvalidValue,
        "`task=classification` needs one target column; got `y`, `z`",
    ),
    "no target": (lambda: data_from_frame(table(), []), InvalidValue, "`target` needs at least one"),
    "a target twice": (lambda: data_from_frame(table(y=X[:, 0]), ["y", "y"]), InvalidValue, "`y` more than once"),
    "numbers as labels": (
        lambda: data_from_arrays(X, X[:, :2], task="multi_label"),
        InvalidValue,
        "`y_train`.*0 or 1.*`task=multi_label`.* at index 0",
    ),
    "the logarithm of a negative number": (
        lambda: data_from_arrays(X, X[:, 0], log_target=True),
        InvalidValue,
        "`log_target=True`.*above 0.*least is -",
    ),
    "the logarithm of classes": (
        lambda: data_from_arrays(X, COUNT % 2, log_target=True, task="classification"),
        InvalidValue,
        "`log_target=True`.*`task=classification`",
    ),
    "quantiles of labels": (
        lambda: data_from_arrays(X, COUNT % 2, quantiles=(0.1, 0.9), task="multi_label"),
        InvalidValue,
        "`quantiles`.*`task=multi_label`",
    ),
    "no quantiles": (lambda: data_from_arrays(X, X[:, 0], task="quantiles"), InvalidValue, "needs `quantiles`"),
    "an unknown task": (
        lambda: data_from_arrays(X, X[:, 0], task="regresion"),
        InvalidValue,
        "`task`.*'regresion'.*`regression`",
    ),
    "a task of a source that has only classes": (
        lambda: load_data("digits", task="regression"),
        InvalidValue,
        "`task` does not apply to .*`digits`",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_targets_that_cannot_be_learnt_are_refused(case: str) -> None:
    attempt, error, message = REFUSED[case]
    with pytest.raises(error, match=message):
        attempt()


@pytest.mark.parametrize(
    "quantiles", [(0.9, 0.1), (0.5, 0.5), (0, 0.5), (0.5, 1), (0.5,), (-0.1, 0.5), (np.nan, 0.5), ("x", "y"), 0.5]
)
def test_quantiles_out_of_order_or_range_are_refused(quantiles: Any) -> None:
    with pytest.raises((InvalidValue, InvalidType), match="`quantiles` needs two or more numbers between 0 and 1"):
        data_from_arrays(X, X[:, 0], quantiles=quantiles)


@pytest.mark.parametrize(
    ("targets", "options", "message"),
    [
        (X[:, 0], {"objective": "val_accuracy"}, "`objective=val_accuracy`: regression.*val_rmse, val_mae, val_loss"),
        (X[:, 0], {"loss": "hubert"}, "`loss=hubert`: regression.*mse, mae, huber, poisson.*`huber`"),
        (X[:, 0], {"loss": "poisson"}, "`loss=poisson`.*`log_target=True`"),
        (X[:, 0], {"threshold": 0.5}, "`threshold=0.5`.*regression has none"),
        (X[:, 0], {"class_weight": "balanced"}, "`class_weight`.*regression"),
        (
            COUNT % 4,
            {"objective": "val_auc"},
            "`objective=val_auc`: classification of 4 classes.*val_balanced_accuracy",
        ),
        (COUNT % 4, {"objective": "val_rmse"}, "`objective=val_rmse`: classification.*val_log_loss"),
        (COUNT % 4, {"threshold": 0.5}, "`threshold=0.5` needs two classes.* 4"),
        (COUNT % 2, {"threshold": 1.5}, "`threshold`.*`1.5`"),
        (COUNT % 2, {"threshold": "cost=1"}, "`cost=1`"),
        (COUNT % 2, {"loss": "mse"}, "`loss=mse`: classification.*cross_entropy"),
    ],
)
def test_settings_that_do_not_suit_the_task_are_refused(
    tmp_path: Path, targets: np.ndarray, options: dict[str, Any], message: str
) -> None:
    data = data_from_arrays(X, targets)
    model = kerasmlp.build_mlp([3, data.num_outputs], postprocessing=data.postprocessing())
    with pytest.raises(InvalidValue, match=message):
        kerasmlp.train(model, data, epochs=1, out=tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()


def _sorted(rows: np.ndarray) -> np.ndarray:
    rows = np.asarray(rows).reshape(len(rows), -1)
    return rows[np.lexsort(rows.T)]


def _targets(data: Data) -> np.ndarray:
    return np.concatenate([part.labels for part in (data.train, data.validation, data.test)]).astype(np.float32)


def test_several_targets_are_found_by_name_in_a_later_file(tmp_path: Path) -> None:
    path = tmp_path / "houses.csv"
    houses_frame(60).assign(rent=lambda table: table["price"] / 200).to_csv(path, index=False)
    data = load_data(path, target=["price", "rent"])
    for target in (["rent", "price"], None):
        np.testing.assert_array_equal(load_data(path, target=target, spec=data.spec).test.labels, data.test.labels)
    with pytest.raises(InvalidValue, match="targets rent, size; the network answers price, rent"):
        load_data(path, target=["rent", "size"], spec=data.spec)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (1.7e9 + np.arange(60) * 0.5, "`y` are so close together that float32 rounds them by up to"),
        (1e-40 * np.arange(60), "standard deviation of `y` is 1.7e-39"),
    ],
)
def test_targets_that_float32_cannot_tell_apart_are_refused(values: np.ndarray, message: str, tmp_path: Path) -> None:
    features = np.arange(120.0).reshape(60, 2)
    with pytest.raises(InvalidValue, match=message.replace("`y`", "`y_train`")):
        data_from_arrays(features, values, test_share=0.2, task="regression")
    with pytest.raises(InvalidValue, match=message):
        data_from_frame(pd.DataFrame({"x": features[:, 0], "y": values}), "y", test_share=0.2, task="regression")
    data_from_arrays(features, np.full(60, 0.1) + values * 0 + np.arange(60), test_share=0.2)


@pytest.mark.parametrize("slip", ["1,5", "$5", "5%"])
def test_a_number_in_another_style_does_not_make_a_target_classes(slip: str, tmp_path: Path) -> None:
    rows = [f"{i},{10 + i % 40 / 10:.1f}" for i in range(299)]
    path = tmp_path / "slip.csv"
    path.write_text("\n".join(["x;y", *[row.replace(",", ";") for row in rows], f"3;{slip}"]) + "\n")
    with pytest.raises(InvalidValue, match=rf"target `y` holds numbers except for `{re.escape(slip)}`"):
        load_data(path, target="y", test_share=0.2)
