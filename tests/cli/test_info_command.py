"""`info` reads what the files of an artefact tell without TensorFlow, and says the same as the opened artefact."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest

import kerasmlp
from kerasmlp.cli import main
from kerasmlp.cli.artefact_facts import facts_of_opened, read_facts
from kerasmlp.cli.data_options import typed_data
from kerasmlp.cli.parser import build_parser
from kerasmlp.data.types import Data
from kerasmlp.errors import InvalidValue
from kerasmlp.export import export_tflite
from kerasmlp.export.saved_model.exporting import write_saved_model
from kerasmlp.run import Run
from tests.helpers.tables import frame, houses_frame

WITHOUT_TENSORFLOW = ["run", "run/model.keras", "plain.keras", "served", "served/1", "mobile/digits_int8.tflite"]


@pytest.fixture(scope="module")
def artefacts(digits_run: Run, digits: Data, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one network in every format."""
    folder = tmp_path_factory.mktemp("artefacts")
    shutil.copytree(digits_run.path, folder / "run")
    shutil.copy(digits_run.model_path, folder / "plain.keras")
    (folder / "served").mkdir()
    write_saved_model(digits_run.load_model(), digits_run.card, folder / "served" / "1")
    export_tflite(digits_run, folder / "mobile", quantize=["int8"], data=digits, max_drop=0.02)
    return folder


@pytest.mark.parametrize("name", WITHOUT_TENSORFLOW)
def test_the_files_tell_what_the_opened_artefact_tells(artefacts: Path, name: str) -> None:
    path = str(artefacts / name)
    assert read_facts(path, timeout_s=1.0) == facts_of_opened(path, timeout_s=1.0)


def test_info_does_not_import_tensorflow(artefacts: Path) -> None:
    code = (
        "import sys\n"
        "from kerasmlp.cli import main\n"
        "for name in sys.argv[1:]:\n"
        "    assert main(['info', name, '--json']) == 0\n"
        "sys.stderr.write(' '.join({'tensorflow', 'keras', 'pandas'} & set(sys.modules)))\n"
    )
    command = [sys.executable, "-c", code, *WITHOUT_TENSORFLOW]
    done = subprocess.run(command, cwd=artefacts, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    told: list[dict[str, Any]] = [json.loads(line) for line in done.stdout.splitlines()]
    assert [about["format"] for about in told] == ["keras", "keras", "keras", "saved_model", "saved_model", "tflite"]
    for about in told:
        assert (about["feature_shape"], about["num_classes"]) == ([8, 8], 10)
        assert (about["card"] is None) == (about["artefact"] == "plain.keras")
    assert told[0]["metrics"]["dataset"] == "digits"
    assert told[-1]["precision"] == "int8"
    assert "FULLY_CONNECTED" in told[-1]["tflite"]["operations"]


@pytest.mark.parametrize("last", [keras.layers.Dense(3), keras.layers.Activation("linear")])
def test_models_that_were_not_built_here_are_described_too(tmp_path: Path, last: keras.layers.Layer) -> None:
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, "relu"), last])
    model.save(tmp_path / "own.keras")
    facts = read_facts(str(tmp_path / "own.keras"), timeout_s=1.0)
    assert (facts.feature_shape, facts.num_outputs, facts.task.names) == ((4,), 3, ("0", "1", "2"))


def test_a_model_file_tells_the_names_of_its_classes(flowers_run: Run, tmp_path: Path) -> None:
    shutil.copy(flowers_run.model_path, tmp_path / "lone.keras")
    facts = read_facts(str(tmp_path / "lone.keras"), timeout_s=1.0)
    assert (facts.task, facts.card) == (flowers_run.card.learnt, None)
    assert facts == facts_of_opened(str(tmp_path / "lone.keras"), timeout_s=1.0)


def test_a_saved_model_without_a_card_is_opened(artefacts: Path, tmp_path: Path) -> None:
    shutil.copytree(artefacts / "served" / "1", tmp_path / "foreign")
    shutil.rmtree(tmp_path / "foreign" / "assets.extra")
    facts = read_facts(str(tmp_path / "foreign"), timeout_s=1.0)
    assert (facts.format, facts.card, facts.feature_shape, facts.num_outputs) == ("saved_model", None, (8, 8), 10)


@pytest.mark.parametrize("name", ["run/model.keras", "mobile/digits_int8.tflite"])
def test_a_damaged_artefact_is_refused(artefacts: Path, tmp_path: Path, name: str) -> None:
    content = (artefacts / name).read_bytes()
    damaged = tmp_path / Path(name).name
    damaged.write_bytes(content[: len(content) // 3])
    with pytest.raises(InvalidValue, match=damaged.name):
        read_facts(str(damaged), timeout_s=1.0)


def test_an_unfinished_run_is_refused(artefacts: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(artefacts / "run", tmp_path / "run")
    (tmp_path / "run" / "metrics.json").unlink()
    assert main(["info", str(tmp_path / "run")]) == 2
    assert "`metrics.json`" in capfd.readouterr().err


def unusual_table(rows: int = 120) -> pd.DataFrame:
    """One column of each kind, numbers with a decimal comma, and classes of which one is far larger."""
    generator = np.random.default_rng(0)
    numbers = generator.normal(1000, 300, rows)
    prices = [f"{number:.2f}".replace(".", ",") for number in numbers]
    colours = generator.choice(["[red]", "green", "blue", "violet"], rows)
    return pd.DataFrame(
        {
            "id": np.arange(rows),
            "price": ["" if i % 10 == 0 else price for i, price in enumerate(prices)],
            "colour": colours,
            "[b]born": [f"{day % 28 + 1}.{day % 12 + 1}.1980" for day in range(rows)],
            "kind": np.where(generator.random(rows) < 0.2, "rare", "usual"),
        }
    )


@pytest.fixture
def semicolons(tmp_path: Path) -> Path:
    unusual_table().to_csv(tmp_path / "shop.csv", index=False, sep=";")
    return tmp_path / "shop.csv"


def lines_of(text: str) -> dict[str, list[str]]:
    """The cells of each line of a printed table by the first of them."""
    cells = [re.split(r"\s{2,}", line.strip()) for line in text.splitlines()]
    return {line[0]: line[1:] for line in cells}


def check_columns(text: str) -> None:
    lines = lines_of(text)
    assert lines["id"][:2] == ["key", "not used: numbers or names the rows"]
    assert lines["price"][1].startswith("decimal comma")
    assert lines["price"][2] == "2 features: value, missing"
    assert re.search("(9|1[01])%", lines["price"][3])  # a tenth of all rows; of the training rows about as many
    assert lines["colour"][:2] == ["category", "4 features: [red], blue, green, ..."]
    assert lines["[b]born"][:2] == ["date", "day before month"]


def test_info_shows_how_a_table_is_read_before_training(semicolons: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(semicolons), "--target", "kind"]) == 0
    out = capfd.readouterr().out
    check_columns(out)
    assert "separated by semicolons" in out
    assert "--column id=number" in out  # the note about the column that is not used
    assert "`usual` makes up" in out
    assert main(["info", str(semicolons), "--target", "kind", "--json"]) == 0
    about = json.loads(capfd.readouterr().out)
    assert "semicolons" in about["format"]
    assert [column["missing"] for column in about["columns"]] == [None, 12, 0, 0]
    assert len(about["cautions"]) == 1


def test_train_evaluate_and_info_show_columns_and_balanced_accuracy(
    semicolons: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    command = ["train", str(semicolons), "--target", "kind", "--hidden", "4", "--epochs", "1", "--out", str(run)]
    assert main(command) == 0
    shown = capfd.readouterr()
    check_columns(shown.err)
    assert "separated by semicolons" in shown.err
    assert "test balanced accuracy" in shown.out
    recorded = json.loads((run / "data.json").read_text())
    assert [column["kind"] for column in recorded["columns"]] == ["key", "number", "category", "date"]
    assert any("`class_weight" in caution for caution in recorded["cautions"])
    assert main(["info", str(run)]) == 0
    check_columns(capfd.readouterr().out)
    assert main(["info", str(run), "--json"]) == 0
    about = json.loads(capfd.readouterr().out)
    assert about["data"] == recorded
    assert [column["name"] for column in about["card"]["columns"]] == ["id", "price", "colour", "[b]born"]
    assert main(["evaluate", str(run), str(semicolons)]) == 0
    assert "balanced accuracy" in capfd.readouterr().out
    assert main(["evaluate", str(run), str(semicolons), "--json"]) == 0
    scores, metrics = json.loads(capfd.readouterr().out), about["metrics"]
    assert scores["balanced_accuracy"] == metrics["test_balanced_accuracy"]
    assert scores["largest_class_share"] == metrics["largest_class_share"] > 0.7
    assert main([*command, "--overwrite", "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["data"] == recorded


def test_info_describes_networks_and_data_for_numbers(
    houses_run: Run, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write_saved_model(houses_run.load_model(), houses_run.card, tmp_path / "served" / "1")
    for path in (str(houses_run.path), str(tmp_path / "served")):
        facts = read_facts(path, timeout_s=1.0)
        assert facts == facts_of_opened(path, timeout_s=1.0)
        assert main(["info", path, "--json"]) == 0
        about = json.loads(capfd.readouterr().out)
        assert (about["task"], about["num_targets"], about["card"]["task"]["names"]) == ("regression", 1, ["price"])
        assert about["card"]["scores"]["rmse"] == houses_run.metrics["test_rmse"]
        assert main(["info", path]) == 0
        shown = lines_of(capfd.readouterr().out)
        assert shown["targets"] == ["price"]
        assert "of the Keras model" in shown["test RMSE"][0]
    table = houses_frame()
    table.to_csv(tmp_path / "houses.csv", index=False)
    command = ["info", str(tmp_path / "houses.csv"), "--target", "price"]
    assert main(command) == 0
    shown = lines_of(capfd.readouterr().out)
    assert shown["target"] == ["lowest", "highest", "mean", "std"]
    assert shown["price"] == [f"{getattr(table['price'], name)():,.0f}" for name in ("min", "max", "mean")] + [
        f"{table['price'].std(ddof=0):,.0f}"
    ]
    assert main([*command, "--json"]) == 0
    about = json.loads(capfd.readouterr().out)
    assert "classes" not in about
    assert about["targets"]["price"]["highest"] == pytest.approx(table["price"].max(), rel=1e-6)


def test_options_of_the_task_are_for_data(houses_run: Run, capfd: pytest.CaptureFixture[str]) -> None:
    for option in (["--task", "regression"], ["--log-target"]):
        assert main(["info", str(houses_run.path), *option]) == 2
        assert f"`{option[0]}` is for data" in capfd.readouterr().err


def test_evaluate_takes_no_options_of_the_task_for_a_network_that_knows_it(
    houses_run: Run, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    houses_frame().to_csv(tmp_path / "june.csv", index=False)
    for option in (["--task", "regression"], ["--log-target"], ["--quantiles", "0.1,0.9"]):
        assert main(["evaluate", str(houses_run.path), str(tmp_path / "june.csv"), "--target", "price", *option]) == 2
        assert f"leave out `{option[0]}`" in capfd.readouterr().err


def test_typed_options_of_training_are_left_out_for_other_commands() -> None:
    typed = "a.csv --target x --task regression --column y=key --drop z"
    args = build_parser().parse_args(["quickstart", *typed.split()])
    assert sorted(typed_data(args).split()) == sorted(typed.split())
    assert typed_data(args, for_training=False) == "a.csv --target x"


def test_a_picture_of_images_whose_targets_are_numbers_is_refused(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    generator = np.random.default_rng(0)
    np.savez(tmp_path / "ages.npz", x=generator.random((50, 6, 6)), y=generator.normal(40, 9, 50))
    assert main(["info", str(tmp_path / "ages.npz"), "--picture", str(tmp_path / "ages.png")]) == 2
    assert "`--picture` shows images of each class" in capfd.readouterr().err


def test_every_artefact_of_a_table_carries_its_columns(flowers_run: Run, tmp_path: Path) -> None:
    write_saved_model(flowers_run.load_model(), flowers_run.card, tmp_path / "served" / "1")
    data = kerasmlp.data_from_frame(frame(), "kind", test_share=0.2)
    export_tflite(flowers_run, tmp_path / "mobile", quantize=["float32"], data=data)
    for path in (flowers_run.path, tmp_path / "served", tmp_path / "mobile" / "frame_float32.tflite"):
        card = read_facts(str(path), timeout_s=1.0).card
        assert card is not None
        assert card.encoder == flowers_run.card.encoder is not None


def test_a_wide_table_is_shown_in_part(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    generator = np.random.default_rng(0)
    table = pd.DataFrame(generator.normal(size=(60, 60)), columns=[f"c{i}" for i in range(60)])
    table.assign(label=generator.choice(["a", "b"], 60)).to_csv(tmp_path / "wide.csv", index=False)
    assert main(["info", str(tmp_path / "wide.csv")]) == 0
    out = capfd.readouterr().out
    assert "and 20 more columns" in out
    assert len([line for line in out.splitlines() if re.match(r"c\d+ ", line)]) == 40
