"""`data_from_arrays` and `Data`: splits, labels, preprocessing, and arrays that no network can learn from."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasmlp import data_from_arrays, data_from_frame, load_data
from kerasmlp.data.types import Data
from kerasmlp.errors import InvalidType, InvalidValue


def _arrays(count: int = 40, classes: int = 4) -> tuple[np.ndarray, np.ndarray]:
    return np.arange(count * 3, dtype=np.float32).reshape(count, 3), np.arange(count) % classes


@settings(max_examples=30, deadline=None)  # the first example imports NumPy's generator
@given(st.lists(st.integers(1, 30), min_size=2, max_size=5), st.floats(0.05, 0.6), st.integers(0, 1000))
def test_a_split_has_every_example_once_and_every_class_in_training(counts: list[int], share: float, seed: int) -> None:
    labels = np.repeat(np.arange(len(counts)), counts)
    features = np.arange(len(labels), dtype=np.int64)[:, np.newaxis]
    if not any(round(share * count) and count > 1 for count in counts):
        with pytest.raises(InvalidValue, match="`validation_share="):
            data_from_arrays(features, labels, features, labels, validation_share=share, seed=seed)
        return
    data = data_from_arrays(features, labels, features, labels, validation_share=share, seed=seed)
    together = np.concatenate([data.train.features, data.validation.features])
    assert sorted(together.ravel()) == list(range(len(labels)))
    assert set(data.train.labels) == set(labels)
    for label, count in enumerate(counts):
        assert (data.validation.labels == label).sum() == min(round(share * count), count - 1)
    np.testing.assert_array_equal(labels[np.asarray(data.train.features).ravel()], data.train.labels)


def test_the_seed_determines_validation_and_nothing_else() -> None:
    first, same, other = (load_data("digits", seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.validation.features, same.validation.features)
    assert not np.array_equal(first.validation.features, other.validation.features)
    np.testing.assert_array_equal(first.test.features, other.test.features)
    assert first.fingerprint == other.fingerprint


def test_the_fingerprint_changes_with_a_single_value() -> None:
    x, y = _arrays()
    changed = x.copy()
    changed[7, 1] += 1
    prints = {data_from_arrays(features, y, x, y).fingerprint for features in (x, x.copy(), changed)}
    assert len(prints) == 2


def test_digits_are_scans_of_8x8_pixels_as_uint8(digits: Data) -> None:
    assert digits.train.features.dtype == np.uint8
    assert (digits.feature_shape, digits.num_features, digits.num_classes) == ((8, 8), 64, 10)
    assert len(digits.train) + len(digits.validation) + len(digits.test) == 1797
    assert digits.feature_range == (0, 16)
    assert np.asarray(digits.train.features).max() == 16


def test_preprocessing_rescales_pixels_to_the_range_from_0_to_1(digits: Data) -> None:
    out = np.asarray(digits.preprocessing()(np.asarray(digits.train.features, np.float32)))
    assert (out.min(), out.max()) == (0, 1)


def test_preprocessing_standardises_measured_features_over_training_examples() -> None:
    generator = np.random.default_rng(0)
    x = generator.normal([5.0, -300.0, 7.0], [2.0, 50.0, 0.0], size=(400, 3))
    data = data_from_arrays(x, np.arange(400) % 2, x + 1000, np.arange(400) % 2)
    out = np.asarray(data.preprocessing("plain")(data.train.features))
    # float32 rounds values around -300 by about 1e-5 of their standard deviation of 50.
    np.testing.assert_allclose(out.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(out.std(axis=0), [1, 1, 0], atol=1e-4)


def test_labels_may_be_strings_or_any_whole_numbers() -> None:
    x, _ = _arrays()
    data = data_from_arrays(x, np.array(["cat", "dog"] * 20), x, np.array(["dog", "cat"] * 20))
    assert data.class_names == ("cat", "dog")
    np.testing.assert_array_equal(data.test.labels[:2], [1, 0])
    assert data_from_arrays(x, np.array([3.0, 70.0] * 20), x, np.array([3, 70] * 20)).class_names == ("3", "70")


X, Y = _arrays()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((X[:0], Y[:0], X, Y), InvalidValue, r"`x_train`.*\(0, 3\)"),
        ((X.ravel(), Y, X, Y), InvalidValue, r"`x_train`.*\(120,\)"),
        ((X, Y[:-1], X, Y), InvalidValue, "`x_train` and `y_train`.*40 and 39"),
        ((X, Y, X, Y[:-1]), InvalidValue, "`x_test` and `y_test`.*40 and 39"),
        ((X, Y, X[:, :2], Y), InvalidValue, r"`x_train` and `x_test`.*\(3,\) and \(2,\)"),
        ((np.where(X == 4, np.nan, X), Y, X, Y), InvalidValue, r"`x_train`.*nan.*\(1, 1\)"),
        ((np.where(X == 4, 1e300, X.astype(np.float64)), Y, X, Y), InvalidValue, "`x_train`.*inf.*float32"),
        ((X.astype(str), Y, X, Y), InvalidType, "`x_train`.*<U"),
        ((X, Y * 0, X, Y * 0), InvalidValue, "`0`.*nothing to learn"),
        ((X, Y, X, Y + 1), InvalidValue, "`4`.*`y_test`.*`y_train`"),
        ((X, np.ones((40, 4, 1)), X, Y), InvalidValue, r"`y_train`.*\(40, 4, 1\)"),
        ((X, Y + 0.5, X, Y[:, np.newaxis] * [0.5, 1]), InvalidValue, "1 in `y_train`, 2 in `y_test`"),
    ],
)
@pytest.mark.filterwarnings("ignore:overflow encountered in cast")  # because 1e300 is cast to float32
def test_arrays_that_cannot_be_learnt_from_are_refused(arguments: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        data_from_arrays(*arguments)


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, 1.5])
def test_a_validation_share_outside_its_range_is_refused(share: float) -> None:
    with pytest.raises(InvalidValue, match=rf"`validation_share`.*{re.escape(str(share))}"):
        data_from_arrays(X, Y, X, Y, validation_share=share)


def test_there_is_one_class_name_per_class() -> None:
    assert data_from_arrays(X, Y, X, Y, class_names=("a", "b", "c", "d")).class_names == ("a", "b", "c", "d")
    with pytest.raises(InvalidValue, match="`class_names`.*4.*2"):
        data_from_arrays(X, Y, X, Y, class_names=("a", "b"))


def test_data_are_described_by_values_for_json_and_made_from_them_again(digits: Data) -> None:
    table = {"size": range(40), "colour": ["red", "blue"] * 20, "kind": ["a", "a", "b", "b"] * 10}
    for data in (digits, data_from_frame(pd.DataFrame(table), "kind", test_share=0.2)):
        config = json.loads(json.dumps(data.to_config()))
        again = Data.from_config(config, train=data.train, validation=data.validation, test=data.test)
        assert again.to_config() == data.to_config()
        assert (again.class_names, again.feature_range) == (data.class_names, data.feature_range)
        assert (again.encoder, again.fingerprint) == (data.encoder, data.fingerprint)


@pytest.mark.parametrize("source", [_arrays(), pd.DataFrame({"x": [1.0]}), None])
def test_a_source_that_is_no_name_and_no_path_is_refused(source: Any) -> None:
    kind = type(source).__name__
    with pytest.raises(InvalidType, match=rf"`source` needs a name or a path; got {kind}\..*`data_from_arrays`"):
        load_data(source)
