"""Exports of tables with default settings: columns that are hard for float32 and for 8 bits, and files that fail."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import kerasmlp
from kerasmlp import build_mlp, open_artefact
from kerasmlp.artefacts.tflite_contents import read_contents
from kerasmlp.cli import main
from kerasmlp.data.types import Data
from kerasmlp.errors import OutputExists, ParityError
from kerasmlp.export import ArtefactReport, TFLiteSettings, export_saved_model, export_tflite
from kerasmlp.export.artefact_report import check_report
from kerasmlp.export.tflite.quantizing import quantize, without_outliers
from kerasmlp.run import Run

ROWS = 300


def _towns(generator: np.random.Generator) -> dict[str, Any]:
    lat, lon = 48.85 + generator.normal(0, 0.02, ROWS), 2.35 + generator.normal(0, 0.02, ROWS)
    return {"lat": lat, "lon": lon, "constant": np.full(ROWS, 48.8566)}


def _with_outlier(generator: np.random.Generator) -> dict[str, Any]:
    salary = generator.normal(3, 1, ROWS)
    salary[[5, 250]] = 1e6
    return {"size": generator.normal(0, 1, ROWS), "salary": salary}


def _mixed(generator: np.random.Generator) -> dict[str, Any]:
    size = generator.normal(1e-3, 1e-4, ROWS)
    size[::7] = np.nan
    colours = generator.choice(["red", "green", "blue"], ROWS)
    return {"size": size, "price": generator.normal(2e6, 3e5, ROWS), "colour": colours, "new": size > 1e-3}


# The columns of each table. The first column decides the class.
TABLES: dict[str, Callable[[np.random.Generator], dict[str, Any]]] = {
    "towns a few kilometres apart": _towns,
    "years": lambda g: {"year": 2000 + g.integers(0, 25, ROWS), "price": g.normal(2.5e6, 4e5, ROWS)},
    "milliseconds since 1970": lambda g: {"at": 1.7e12 + g.integers(0, 10**10, ROWS), "n": g.integers(0, 9, ROWS)},
    "an extreme outlier": _with_outlier,
    "numbers, words, booleans and missing values": _mixed,
    "categories only": lambda g: {"colour": g.choice(["red", "green"], ROWS), "town": g.choice(["a", "b", "c"], ROWS)},
}


def _trained(
    table: pd.DataFrame, target: str, folder: Path, *, recipe: str = "table", epochs: int = 6
) -> tuple[Run, Data]:
    data = kerasmlp.data_from_frame(table, target, test_share=0.2, name="table")
    model = build_mlp([data.num_features, 16, data.num_classes], preprocessing=data.preprocessing(recipe), seed=0)
    return kerasmlp.train(model, data, epochs=epochs, learning_rate=0.03, out=folder / "run"), data


def _table(name: str) -> pd.DataFrame:
    generator = np.random.default_rng(0)
    table = pd.DataFrame(TABLES[name](generator))
    first = table.iloc[:, 0]
    is_high = first == "red" if name == "categories only" else first.fillna(0) > first.median()
    # A tenth of the labels is wrong, so that some probabilities are close to each other.
    return table.assign(kind=np.where(is_high ^ (generator.random(ROWS) < 0.1), "high", "low"))


@pytest.fixture(scope="module")
def years(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Data]:
    """A run on a table with a column of years. Tests must not write to it."""
    return _trained(_table("years"), "kind", tmp_path_factory.mktemp("years"))


@pytest.mark.parametrize(
    ("name", "recipe"), [*((name, "table") for name in TABLES), ("years", "plain"), ("an extreme outlier", "plain")]
)
def test_every_table_exports_in_the_default_precisions_and_int8(name: str, recipe: str, tmp_path: Path) -> None:
    run, data = _trained(_table(name), "kind", tmp_path, recipe=recipe)
    precisions = [*TFLiteSettings().precisions(pixels=False), "int8"]
    reports = export_tflite(run, tmp_path / "out", quantize=precisions, data=data)
    assert [(report.precision, report.published) for report in reports] == [
        ("float32", True),
        ("int8-dynamic", True),
        ("int8", True),
    ]
    # Measured over these tables: at most 3e-7 in float32 and 0.02 with 8-bit weights.
    assert (reports[0].max_abs_diff or 0) < 2e-6
    assert (reports[1].max_abs_diff or 0) < 0.05
    contents = read_contents(Path(reports[2].path).read_bytes())
    assert (contents.source.dtype, contents.target.dtype, contents.precision) == ("float32", "float32", "int8")
    assert (contents.weights, contents.values) == (frozenset({"int8"}), frozenset({"int8"}))
    assert contents.operations.index("QUANTIZE") < contents.operations.index("FULLY_CONNECTED")
    expected = open_artefact(run.path).probabilities(data.test.features)
    answers = open_artefact(reports[2].path).probabilities(data.test.features)
    # Rounding to 8 bits changes probabilities by about a hundredth.
    assert np.abs(answers - expected).mean() < 0.03


@pytest.mark.parametrize("name", ["milliseconds since 1970", "numbers, words, booleans and missing values"])
def test_the_saved_model_of_a_table_subtracts_before_it_scales(name: str, tmp_path: Path) -> None:
    run, data = _trained(_table(name), "kind", tmp_path)
    report = export_saved_model(run, tmp_path / "served", data=data)
    assert (report.max_abs_diff or 0) <= 1e-6  # of all signatures


@pytest.mark.parametrize(
    ("name", "low", "first"), [("years", 2000, "SUB"), ("numbers around zero", -1, "FULLY_CONNECTED")]
)
def test_float32_subtracts_the_mean_only_where_folding_would_lose_digits(
    name: str, low: int, first: str, tmp_path: Path
) -> None:
    table = pd.DataFrame({name: low + np.linspace(0, 3, ROWS), "kind": ["a", "b"] * (ROWS // 2)})
    run, data = _trained(table, "kind", tmp_path, recipe="plain", epochs=1)
    (report,) = export_tflite(run, tmp_path / "out", quantize=["float32"], data=data)
    assert read_contents(Path(report.path).read_bytes()).operations[0] == first


def test_calibration_ignores_outliers_but_not_booleans_and_categories() -> None:
    examples = np.array([[5.0, 1.0], [1e6, 0.0]])
    usual = without_outliers(examples, mean=np.array([4.0, 0.0]), factor=np.array([0.5, 1.0]))
    assert usual.tolist() == [[5.0, 1.0], [20.0, 0.0]]


@pytest.mark.parametrize(
    ("examples", "lost", "max_drop", "is_published"),
    [
        (30, 1, 0.005, True),
        (30, 2, 0.005, True),
        (30, 3, 0.005, False),
        (30, 1, 0.0, False),
        (1000, 5, 0.005, True),
        (1000, 6, 0.005, False),
    ],
)
def test_two_test_examples_may_be_lost_by_chance(examples: int, lost: int, max_drop: float, is_published: bool) -> None:
    agreement = 1 - lost / examples
    report = ArtefactReport("a", "tflite", "int8", 1, 1 - lost / examples, 1.0, agreement, 0.1, examples)
    if is_published:
        check_report(report, max_drop)
        return
    with pytest.raises(ParityError, match="int8.*`max_drop`"):
        check_report(report, max_drop)


def test_a_float32_file_may_decide_a_tie_differently_but_nothing_else() -> None:
    report = ArtefactReport("a", "tflite", "float32", 1, 0.9, 0.9, 0.99, 1e-7, 100)
    check_report(report, 0.005, ties=1)
    with pytest.raises(ParityError, match=r"float32.*99\.00%"):
        check_report(report, 0.005, ties=0)


@pytest.fixture
def _int8_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of precision `int8` are calibrated on zeros, so that no value fits their scale."""

    def quantize_badly(content: bytes, precision: str, *, examples: np.ndarray, **options: Any) -> bytes:
        return quantize(content, precision, examples=examples * (precision != "int8"), **options)

    monkeypatch.setattr("kerasmlp.export.tflite.network_files.quantize", quantize_badly)


@pytest.mark.usefixtures("_int8_is_broken")
def test_a_precision_that_fails_is_reported_beside_those_that_were_published(
    years: tuple[Run, Data], tmp_path: Path
) -> None:
    run, data = years
    with pytest.raises(ParityError, match="int8.*table_int8.tflite") as caught:
        export_tflite(run, tmp_path, quantize=["float32", "int8", "int8-dynamic"], data=data)
    reports = caught.value.reports
    assert [(report.precision, report.published) for report in reports] == [
        ("float32", True),
        ("int8", False),
        ("int8-dynamic", True),
    ]
    assert reports[1].reason == str(caught.value)
    assert sorted(path.name for path in tmp_path.glob("*.tflite")) == [
        "table_float32.tflite",
        "table_int8_dynamic.tflite",
    ]
    rows = json.loads((tmp_path / "report.json").read_text())["artefacts"]
    assert [(row["published"], "reason" in row) for row in rows] == [(True, False), (False, True), (True, False)]


@pytest.mark.usefixtures("_int8_is_broken")
def test_the_command_lists_what_was_published_and_fails_only_for_what_was_asked_for(
    years: tuple[Run, Data], tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, data = years
    monkeypatch.setattr(Run, "load_data", lambda self: data)
    command = ["export", str(run.path), "--tflite", str(tmp_path), "--quantize", "float32,int8"]
    assert main([*command, "--json"]) == 1
    said = capfd.readouterr()
    rows = json.loads(said.out)["artefacts"]
    assert [(row["precision"], row["published"]) for row in rows] == [("float32", True), ("int8", False)]
    assert "table_int8.tflite" in said.err
    assert main(command) == 1
    assert "not published" in capfd.readouterr().out
    monkeypatch.setattr("kerasmlp.export.tflite.settings.MEASURED_PRECISIONS", ("float32", "int8"))
    assert main([*command[:4], "--json"]) == 0
    rows = json.loads(capfd.readouterr().out)["artefacts"]
    assert [(row["precision"], row["published"]) for row in rows] == [("float32", True), ("int8", False)]


def test_the_same_export_again_checks_the_files_and_another_is_refused(years: tuple[Run, Data], tmp_path: Path) -> None:
    run, data = years
    (first,) = export_tflite(run, tmp_path, quantize=["float32"], data=data, c_array=True)
    content = Path(first.path).read_bytes()
    again = export_tflite(run, tmp_path, quantize=["float32", "int8-dynamic"], data=data, c_array=True)
    assert [report.published for report in again] == [True, True]
    assert Path(first.path).read_bytes() == content
    before = sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises(OutputExists, match="table_float32.tflite`.*`overwrite=True`"):
        export_tflite(run, tmp_path, quantize=["float16", "float32"], data=data, author="Ada Lovelace")
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    (tmp_path / "table_float32.h").write_text("mine")
    with pytest.raises(OutputExists, match="table_float32.h`"):
        export_tflite(run, tmp_path, quantize=["float32"], data=data, c_array=True)


@pytest.mark.parametrize(
    ("file", "target"),
    [
        ("c29_latlon.csv", "zone"),
        ("c29b_year.csv", "kind"),
        ("adult_3000.csv", "income"),
        ("cleveland.csv", "num"),
        ("winequality_semicolon.csv", "quality"),
    ],
)
def test_a_real_table_exports_with_default_settings(file: str, target: str, tmp_path: Path) -> None:
    if "KERASMLP_CASES" not in os.environ:
        pytest.skip("the variable KERASMLP_CASES does not name a folder with tables")
    data = kerasmlp.load_data(Path(os.environ["KERASMLP_CASES"]) / file, target=target, test_share=0.2)
    model = build_mlp([data.num_features, 16, data.num_classes], preprocessing=data.preprocessing(), seed=0)
    # With less training, many answers are nearly ties, and rounding may change three of 321.
    run = kerasmlp.train(model, data, epochs=20, out=tmp_path / "run")
    reports = export_tflite(run, tmp_path / "out", data=data)
    assert all(report.published for report in reports)
    assert (reports[0].max_abs_diff or 0) < 2e-6
