"""The tables of scikit-learn, which are read like tables of one's own."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from kerasmlp import load_data
from kerasmlp.cli.entry_point import main
from kerasmlp.data.readers.built_in_tables import BUILT_IN_TABLES, built_in_frame
from kerasmlp.data.readers.choosing import read_source
from kerasmlp.errors import InvalidValue

# scikit-learn's description of each table: rows, feature columns, classes.
CLASSIFIED = {
    "iris": (150, 4, ("setosa", "versicolor", "virginica")),
    "wine": (178, 13, ("class_0", "class_1", "class_2")),
    "breast_cancer": (569, 30, ("benign", "malignant")),
}


@pytest.mark.parametrize("name", sorted(CLASSIFIED))
def test_a_built_in_table_has_the_columns_and_classes_of_scikit_learn(name: str) -> None:
    import sklearn.datasets

    rows, num_features, class_names = CLASSIFIED[name]
    original = getattr(sklearn.datasets, f"load_{name}")()
    data = load_data(name)
    assert (data.name, data.class_names, data.num_features) == (name, class_names, num_features)
    assert data.encoder is not None
    assert [column.name for column in data.encoder.columns] == list(original.feature_names)
    assert len(data.train) + len(data.validation) + len(data.test) == rows
    # Each example has the class that scikit-learn gives it.
    frame = built_in_frame(name)
    np.testing.assert_array_equal(frame.drop(columns=BUILT_IN_TABLES[name]).to_numpy(), original.data)
    assert frame[BUILT_IN_TABLES[name]].tolist() == original.target_names[original.target].tolist()


def test_diabetes_has_a_target_of_numbers_and_columns_in_their_own_units() -> None:
    frame = built_in_frame("diabetes")
    assert list(frame.columns) == ["age", "sex", "bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6", "progression"]
    assert (len(frame), frame["progression"].min(), frame["progression"].max()) == (442, 25, 346)
    assert frame["age"].between(19, 79).all()


def test_a_built_in_table_is_split_like_any_table(tmp_path: Path) -> None:
    path = tmp_path / "flowers.csv"
    built_in_frame("iris").to_csv(path, index=False)
    ours, theirs = load_data("iris", seed=3), load_data(path, target="species", seed=3)
    assert ours.fingerprint == theirs.fingerprint
    for part in ("train", "validation", "test"):
        np.testing.assert_array_equal(getattr(ours, part).features, getattr(theirs, part).features)
        np.testing.assert_array_equal(getattr(ours, part).labels, getattr(theirs, part).labels)


def test_the_request_of_a_built_in_table_loads_it_again() -> None:
    data = load_data("wine", drop=["hue"], columns={"proline": "dropped"}, test_share=0.3, seed=1)
    assert data.request is not None
    again = load_data(**{**data.request, "seed": 1})
    assert data.num_features == again.num_features == 11
    np.testing.assert_array_equal(data.test.features, again.test.features)


def test_another_column_of_a_built_in_table_may_be_the_target() -> None:
    data = load_data("diabetes", target="sex")
    assert (data.num_classes, data.num_features) == (2, 10)
    assert data.encoder is not None
    assert "progression" in [column.name for column in data.encoder.columns]


@pytest.mark.parametrize("name", ["digits", *BUILT_IN_TABLES])
def test_a_name_means_the_built_in_data_even_next_to_a_file_of_that_name(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).mkdir()
    assert read_source(name).name == name
    with pytest.raises(InvalidValue, match="folder with neither"):
        read_source(f"./{name}")


@pytest.mark.parametrize(("option", "value"), [("separator", ";"), ("stream", True), ("image_size", (8, 8))])
def test_options_of_files_do_not_apply_to_built_in_tables(option: str, value: object) -> None:
    with pytest.raises(InvalidValue, match=f"`{option}` does not apply to scikit-learn's tables such as `iris`"):
        load_data("iris", **{option: value})  # type: ignore[arg-type]


def test_a_misspelt_name_is_corrected() -> None:
    pytest.importorskip("tensorflow_datasets", reason="TensorFlow Datasets is an optional extra")
    with pytest.raises(InvalidValue, match=r"`breast_cancr`.*`breast_cancer`.*`iris`, `wine`"):
        load_data("breast_cancr")


def test_a_network_trained_on_a_built_in_table_is_judged_by_its_own_test_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["train", "iris", "--hidden", "4", "--members", "1", "--epochs", "2", "--out", "run"]) == 0
    assert main(["evaluate", "run", "iris"]) == 0
    captured = capfd.readouterr()
    assert "sepal length (cm)" in captured.err + captured.out
    assert re.search(r"test examples +30\b", captured.out)  # a fifth of 150 rows
