"""The files in `examples/` run as they are and print what they promise."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

from tests.helpers.own_server import OwnServer

EXAMPLES = Path(__file__).parents[1] / "examples"


def run_example(name: str, *arguments: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs an example in this process, as `python examples/NAME.py ARGUMENTS` would."""
    path = str(EXAMPLES / f"{name}.py")
    monkeypatch.setattr("sys.argv", [path, *map(str, arguments)])
    runpy.run_path(path, run_name="__main__")


def shares(printed: str) -> list[float]:
    """Returns all percentages in a text."""
    return [float(number) for number in re.findall(r"([\d.]+)%", printed)]


def numbers(printed: str) -> list[float]:
    """Returns all numbers in a text."""
    return [float(number.replace(",", "")) for number in re.findall(r"\d[\d,]*(?:\.\d+)?", printed)]


def test_digits_are_trained_exported_and_evaluated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run_example("digits", tmp_path, monkeypatch=monkeypatch)
    printed = capsys.readouterr().out
    assert len(shares(printed)) == 3
    assert min(shares(printed)) > 93
    assert (tmp_path / "mobile" / "digits_int8.tflite").is_file()


def test_a_row_of_a_csv_table_is_classified(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run_example("csv_table", tmp_path, monkeypatch=monkeypatch)
    accuracy, rose, tulip = shares(capsys.readouterr().out)
    assert accuracy > 90
    assert rose > 90
    assert rose + tulip == pytest.approx(100, abs=0.11)  # two rounded percentages


def test_a_keras_model_of_your_own_trains_in_the_engine(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run_example("your_own_keras_model", monkeypatch=monkeypatch)
    (accuracy,) = shares(capsys.readouterr().out)
    assert accuracy > 90


def test_a_space_is_searched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run_example("search_space", tmp_path, monkeypatch=monkeypatch)
    printed = capsys.readouterr().out
    assert all(name in printed for name in ("units", "dropout", "learning_rate"))
    assert shares(printed)[-1] > 90


def test_a_served_model_is_queried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run_example("serve_and_query", tmp_path, monkeypatch=monkeypatch)
    assert f"docker compose -f {tmp_path / 'serving' / 'compose.yaml'} up -d" in capsys.readouterr().out
    with OwnServer({"digits": tmp_path / "models" / "digits"}) as server:
        run_example("serve_and_query", tmp_path, f"{server.rest}/v1/models/digits", monkeypatch=monkeypatch)
    assert len(re.findall(r"^\d with probability [\d.]+%$", capsys.readouterr().out, re.MULTILINE)) == 5


def test_a_number_is_predicted_in_its_own_unit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run_example("regression", tmp_path, monkeypatch=monkeypatch)
    rmse, of_the_mean, *answers = numbers(capsys.readouterr().out)
    assert rmse < 0.9 * of_the_mean
    assert len(answers) == 6
    assert all(20 < answer < 400 for answer in answers)  # the targets are from 25 to 346
    assert (tmp_path / "mobile" / "diabetes_float32.tflite").is_file()


def test_quantiles_of_a_large_home_are_farther_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run_example("quantiles", tmp_path, monkeypatch=monkeypatch)
    first, *homes = capsys.readouterr().out.splitlines()
    assert 86 < shares(first)[0] < 94  # 90 % with a standard error of 1 %, and what the network misses
    widths = []
    for home in homes:
        median, low, high, _, least, largest = numbers(home)
        assert low < least < median < largest < high  # 80 % is less than what the quantiles 0.05 and 0.95 enclose
        widths.append(high - low)
    assert widths[1] > 2 * widths[0]  # four times in the data


def test_several_labels_are_predicted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run_example("several_labels", tmp_path, monkeypatch=monkeypatch)
    score, ill, healthy = capsys.readouterr().out.splitlines()
    assert float(score.split()[-1]) > 0.8
    assert (ill, healthy) == ("flu, cold", "none")


def test_a_threshold_and_sets_are_chosen_on_validation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run_example("two_classes", tmp_path, monkeypatch=monkeypatch)
    first, second, *sets = capsys.readouterr().out.splitlines()
    threshold, _, f1, area = numbers(first)  # the second is the 1 in F1
    assert threshold != 0.5
    assert min(f1, area) > 0.85
    nominal, reached = shares(second)
    assert abs(reached - nominal) < 6  # two standard errors of 107 validation and 113 test examples
    assert len(sets) == 3


def test_every_example_has_a_test() -> None:
    tested = set(re.findall(r'run_example\("(\w+)"', Path(__file__).read_text(encoding="utf-8")))
    assert tested == {path.stem for path in EXAMPLES.glob("*.py")}
