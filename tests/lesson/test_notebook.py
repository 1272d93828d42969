"""The split of the original notebook, as arrays and as `Data`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import kerasmlp
from kerasmlp import load_data
from kerasmlp.errors import InvalidValue
from kerasmlp.lesson.comparison import load_comparison_data
from kerasmlp.lesson.notebook import load_notebook_data, notebook_split
from tests.lesson.test_comparison import write_npz


def test_the_split_is_that_of_scikit_learn_in_its_order() -> None:
    from sklearn.model_selection import train_test_split

    numbers = np.arange(70) * 3
    expected = train_test_split(numbers, test_size=0.15, random_state=42)
    for part, positions in zip(expected, notebook_split(70), strict=True):
        np.testing.assert_array_equal(numbers[positions], part)


def test_the_test_of_the_data_is_the_validation_of_the_comparison() -> None:
    data, arrays = load_notebook_data("digits"), load_comparison_data("digits")
    assert len(data.test) == len(arrays.x_val) == 270
    ours = sorted((image.reshape(-1) / 16).tolist() for image in np.asarray(data.test.features))
    assert ours == sorted(arrays.x_val.tolist())
    rest = np.concatenate([data.train.features, data.validation.features])
    ours = sorted((image.reshape(-1) / 16).tolist() for image in rest)
    assert ours == sorted(arrays.x_train.tolist())


def test_the_data_are_those_of_the_source_and_validation_is_taken_as_usual(tmp_path: Path) -> None:
    path = write_npz(tmp_path / "data.npz")
    data = load_notebook_data(path, validation_share=0.2, seed=3)
    assert data.fingerprint == load_data(path).fingerprint
    assert (data.name, data.feature_range, data.class_names) == ("data", (0.0, 255.0), ("0", "1", "2"))
    assert (len(data.validation), len(data.test)) == (6, 6)
    other_seed = load_notebook_data(path, validation_share=0.2, seed=4)
    np.testing.assert_array_equal(other_seed.test.features, data.test.features)
    assert not np.array_equal(other_seed.validation.features, data.validation.features)


def test_load_data_refuses_to_repeat_the_split_instead_of_giving_another_test(tmp_path: Path) -> None:
    data = load_notebook_data("digits")
    assert data.request is not None
    with pytest.raises(InvalidValue, match="`test_share` .*load_notebook_data"):
        load_data(**data.request)
    model = kerasmlp.build_mlp([64, 10], input_shape=(8, 8), preprocessing=data.preprocessing(), seed=0)
    run = kerasmlp.train(model, data, epochs=1, out=tmp_path / "run")
    with pytest.raises(InvalidValue, match="`test_share` .*load_notebook_data"):
        run.load_data()
    # With the data passed, the test is the notebook's.
    assert kerasmlp.evaluate(run.path, data).accuracy == pytest.approx(run.metrics["test_accuracy"])


def test_a_word_is_not_a_test_share() -> None:
    with pytest.raises(InvalidValue, match="`test_share` .*'notebook'"):
        load_data("digits", test_share="notebook")  # type: ignore[arg-type]
