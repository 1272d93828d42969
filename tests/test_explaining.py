"""Explanations: columns that decide come first, others change nothing, and dependence is right."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from kerasmlp import build_mlp, data_from_frame, load_data, mlp_for, plots, train
from kerasmlp.cli import main
from kerasmlp.data.types import Data
from kerasmlp.errors import InvalidValue
from kerasmlp.explaining import explain
from kerasmlp.plots import plot_explanation
from kerasmlp.run import Run

GENERATOR = np.random.default_rng(0)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = 900
    size, noise = GENERATOR.normal(100, 20, rows), GENERATOR.normal(0, 1, rows)
    town = GENERATOR.choice(["north", "south", "west"], rows)
    price = 3 * size + 80 * (town == "south") + GENERATOR.normal(0, 5, rows)
    path = tmp_path_factory.mktemp("tables") / "homes.csv"
    pd.DataFrame({"noise": noise, "size": size, "town": town, "price": price}).to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def data(table: Path) -> Data:
    return load_data(table, target="price")


@pytest.fixture(scope="module")
def run(data: Data, tmp_path_factory: pytest.TempPathFactory) -> Run:
    model = build_mlp(
        [data.num_features, 32, 1], preprocessing=data.preprocessing(), postprocessing=data.postprocessing(), seed=0
    )
    return train(model, data, epochs=20, learning_rate=0.01, out=tmp_path_factory.mktemp("runs") / "homes")


def test_columns_that_decide_come_first(run: Run, data: Data) -> None:
    found = explain(run.path, data)
    assert [column.column for column in found.columns] == ["size", "town", "noise"]
    first, second, last = found.columns
    assert first.importance > second.importance > 5 * abs(last.importance)
    assert found.score == "rmse"
    # Exchanging the sizes adds sqrt(2) times what they contribute: 3 x 20.
    assert first.importance == pytest.approx(np.hypot(found.value, 60 * 2**0.5) - found.value, rel=0.25)
    assert explain(run.path, data).columns == found.columns


def test_dependence_follows_the_column_alone(run: Run, data: Data) -> None:
    by_name = {each.column: each for each in explain(run.path, data).dependences}
    size, town = by_name["size"], by_name["town"]
    slope = np.polyfit(size.values, size.answers[:, 0], 1)[0]
    assert slope == pytest.approx(3, rel=0.15)
    assert town.values == ("north", "south", "west")
    north, south, west = town.answers[:, 0]
    assert south - north == pytest.approx(80, abs=15)
    assert west - north == pytest.approx(0, abs=10)


def test_the_command_writes_a_table_a_picture_and_json(run: Run, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", str(run.path)]) == 0
    shown = capfd.readouterr().out
    assert shown.index("size") < shown.index("town") < shown.index("noise")
    assert (run.path / "plots" / "columns.png").read_bytes().startswith(b"\x89PNG")
    assert main(["explain", str(run.path), "--json", "--repeats", "2"]) == 0
    result = json.loads(capfd.readouterr().out)
    assert [column["column"] for column in result["columns"]] == ["size", "town", "noise"]
    assert len(result["dependences"][0]["values"]) == len(result["dependences"][0]["answers"])


@pytest.mark.parametrize(("largest", "scale"), [(99_999.0, "symlog"), (90.0, "linear")])
def test_few_large_values_do_not_hide_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, largest: float, scale: str
) -> None:
    figures: list[Any] = []
    monkeypatch.setattr(plots, "save_figure", lambda figure, path: figures.append(figure))
    values = [-10.0, 0.0, 30.0, 50.0, largest]
    dependence = {"column": "gain", "kind": "number", "values": values, "answers": [[value / 100] for value in values]}
    importance = {"column": "gain", "importance": 1.0, "spread": 0.1}
    explanation = {"columns": [importance], "dependences": [dependence], "names": ["price"], "score": "rmse"}
    plot_explanation(explanation, tmp_path / "columns.png", title="gains")
    assert next(axes for axes in figures[0].get_axes() if axes.get_title() == "gain").get_xscale() == scale


def test_what_cannot_be_explained_is_refused(run: Run, data: Data, digits: Data) -> None:
    with pytest.raises(InvalidValue, match="`repeats` needs to be at least 1; got 0"):
        explain(run.path, data, repeats=0)
    with pytest.raises(InvalidValue, match="digits has no columns to explain"):
        explain(run.path, digits)


def test_missing_values_and_dates_have_no_part_in_the_dependence(tmp_path: Path) -> None:
    rows, generator = 600, np.random.default_rng(1)
    days = np.datetime64("2024-01-01") + np.arange(rows)
    frame = pd.DataFrame({"a": generator.normal(size=rows), "day": days})
    frame["y"] = 10 * frame["a"] + np.arange(rows) / 100
    frame.loc[::5, "y"] = -40.0 + 0.01 * np.arange(0, rows, 5)
    frame.loc[::5, "a"] = np.nan
    data = data_from_frame(frame, "y", test_share=0.2)
    run = train(mlp_for(data, hidden=[32], members=1, dropout=0.0), data, epochs=31, out=tmp_path / "run")
    found = {each.column: each for each in explain(run.path, data).dependences}
    answers = found["a"].answers[:, 0]
    assert (np.diff(answers) > -3).all(), "a missing value answers -40"
    assert found["day"].kind == "date"
    assert found["day"].values[0].startswith("2024-01")
    plot_explanation(explain(run.path, data).to_dict(), tmp_path / "columns.png", title="dates")
    with pytest.raises(InvalidValue, match="no split `tests`"):
        explain(run.path, data, split="tests")


def test_classes_are_explained_by_the_log_loss(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": GENERATOR.normal(size=300), "b": GENERATOR.normal(size=300)})
    frame["kind"] = np.where(frame["b"] > 0, "up", "down")
    data = data_from_frame(frame, "kind", test_share=0.2)
    model = build_mlp([2, 8, 2], preprocessing=data.preprocessing(), seed=0)
    found = explain(train(model, data, epochs=10, learning_rate=0.01, out=tmp_path / "run").path, data)
    assert (found.score, found.columns[0].column) == ("log_loss", "b")
    assert found.dependences[0].answers[-1, 1] > 0.9 > 0.1 > found.dependences[0].answers[0, 1]
