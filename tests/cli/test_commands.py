"""The commands: what they do together, their JSON, their tables and their exit status."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from kerasmlp.cli import main
from kerasmlp.data.types import Data
from kerasmlp.export import export_tflite
from kerasmlp.run import Run
from tests.helpers.commands import json_of

pytestmark = pytest.mark.usefixtures("empty_folder")


def test_train_export_evaluate_info_and_predict_work_together(capfd: pytest.CaptureFixture[str], digits: Data) -> None:
    trained = json_of(
        capfd,
        "train",
        "digits",
        "--hidden",
        "32",
        "--epochs",
        "8",
        "--learning-rate",
        "0.005",
        "--out",
        "run",
        "--activation",
        "elu",
        *("--ema", "0.9", "--warm-up", "0.5", "--label-smoothing", "0.05", "--weight-decay", "0.01"),
        *("--augment", "shear=0.01,halved=1+7"),
    )
    assert trained["sizes"] == [64, 32, 10]
    chosen = {"ema": 0.9, "warm_up": 0.5, "label_smoothing": 0.05, "weight_decay": 0.01, "optimizer": "adam"}
    assert chosen.items() <= trained.items()
    export = ["export", "run", "--saved-model", "served", "--tflite", "mobile", "--quantize", "float32,int8"]
    exported = json_of(capfd, *export, "--max-drop", "0.02")  # two of 360 test examples are more than half a point
    assert [Path(artefact["path"]).parts[0] for artefact in exported["artefacts"]] == ["served", "mobile", "mobile"]
    keys = {"path", "format", "precision", "size_bytes", "accuracy", "agreement", "max_abs_diff"}
    assert exported["artefacts"][0].keys() >= keys
    for path in ("run", "run/model.keras", "served", "mobile/digits_float32.tflite"):
        evaluated = json_of(capfd, "evaluate", path, "digits")
        assert evaluated["accuracy"] == trained["test_accuracy"]
        assert evaluated["loss"] == pytest.approx(trained["test_loss"], abs=1e-5)  # float32 in other orders
        assert (evaluated["examples"], evaluated["artefact"]) == (360, path)
        assert json_of(capfd, "info", path)["card"]["sizes"] == [64, 32, 10]
    Image.fromarray((digits.test.features[0] * 15).astype(np.uint8)).resize((80, 80), 0).save("scan.png")
    for path in ("run", "mobile/digits_int8.tflite"):
        (prediction,) = json_of(capfd, "predict", path, "scan.png")["predictions"]
        assert prediction["class"] == digits.class_names[digits.test.labels[0]]
        assert sum(prediction["probabilities"].values()) == pytest.approx(1, abs=0.02)  # int8 steps of 1/256


def test_a_network_is_trained_and_fine_tuned_for_few_bits(capfd: pytest.CaptureFixture[str]) -> None:
    trained = json_of(
        capfd, *["train", "digits", "--hidden", "24", "--epochs", "6", "--quantize-aware", "int4", "--out", "run"]
    )
    assert trained["quantize_aware"] == "int4"
    command = "export run --tflite mobile --quantize int2 --fine-tune 6 --max-drop 0.05"
    (report,) = json_of(capfd, *command.split())["artefacts"]
    assert (report["precision"], report["published"]) == ("int2", True)
    assert json_of(capfd, "info", "run/fine_tuned/int2-6")["card"]["sizes"] == [64, 24, 10]


def test_results_are_shown_as_tables_on_stdout_and_progress_on_stderr(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "digits", "--sizes", "64,16,10", "--epochs", "9", "--batch-normalization", "--no-bias"]) == 0
    out, err = capfd.readouterr()
    assert "test accuracy" in out
    assert "kerasmlp export runs/digits" in out
    assert [line.split("  ")[0] for line in err.splitlines()] == [f"epoch {epoch}/9" for epoch in range(1, 10)]
    assert "examples/s" in err
    assert main(["export", "runs/digits"]) == 0
    assert "runs/digits/export/tflite/digits_int8.tflite" in capfd.readouterr().out
    assert main(["evaluate", "runs/digits", "digits"]) == 0
    assert "hardest class" in capfd.readouterr().out
    assert main(["info", "runs/digits/export/saved_model"]) == 0
    assert "saved_model, float32" in capfd.readouterr().out
    Path("rows.csv").write_text("\n".join(",".join(["3"] * 64) for _ in range(2)))
    assert main(["predict", "runs/digits", "rows.csv"]) == 0
    assert "rows.csv, row 2" in capfd.readouterr().out


def test_tune_takes_a_space_and_trains_with_the_best_trial(capfd: pytest.CaptureFixture[str]) -> None:
    argv = "tune digits --hidden 16 --trials 2 --epochs 1 --final-epochs 2 --learning-rate 0.001:0.01 --batch-size 64"
    result = json_of(capfd, *argv.split())
    assert result["batch_size"] == 64
    assert 0.001 <= result["learning_rate"] <= 0.01
    assert Path("runs/digits-search/search/trials.csv").is_file()


def test_mnist_from_tensorflow_datasets_trains(capfd: pytest.CaptureFixture[str], tfds_dir: Path) -> None:
    result = json_of(
        capfd, "train", "mnist", "--data-dir", str(tfds_dir), "--hidden", "32", "--epochs", "1", "--batch-size", "512"
    )
    assert result["dataset"] == "mnist"
    assert result["test_accuracy"] > 0.85


@pytest.mark.parametrize("command", ["train --epochs 1 --members 1", "tune --trials 1 --epochs 1 --final-epochs 1"])
def test_notes_about_the_data_are_shown_once(capfd: pytest.CaptureFixture[str], command: str) -> None:
    generator = np.random.default_rng(0)
    rows = [f"{a:.3f},{b:.3f},{'high' if a + b > 1 else 'low'}" for a, b in generator.random((100, 2))]
    Path("flowers.csv").write_text(
        "\n".join(["width,height,kind", *rows, *(f"0.5,0.5{i},rare" for i in range(4))]) + "\n"
    )
    name, *options = command.split()
    options += ["--target", "kind", "--test-share", "0.2", "--hidden", "4", "--batch-size", "16"]
    assert main([name, "flowers.csv", *options]) == 0
    notes = [line for line in capfd.readouterr().err.splitlines() if line.startswith("Note: ")]
    assert len(notes) == len(set(notes)) >= 1
    assert all("`rare`" in note for note in notes)


def test_work_that_fails_ends_with_status_one(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "digits", "--optimizer", "sgd", "--learning-rate", "1e30"]) == 1
    assert "kerasmlp train: The loss is" in capfd.readouterr().err


def test_an_interruption_ends_with_its_own_status(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(args: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("kerasmlp.cli.commands.info_command.run", interrupted)
    assert main(["info", "anything"]) == 130
    assert "Interrupted" in capfd.readouterr().err


def test_info_names_the_precision_of_an_int8_file(
    capfd: pytest.CaptureFixture[str], digits_run: Run, digits: Data
) -> None:
    (report,) = export_tflite(digits_run, "mobile", quantize=["int8"], data=digits)
    shown = json_of(capfd, "info", report.path)
    assert (shown["format"], shown["precision"], shown["size_bytes"]) == ("tflite", "int8", report.size_bytes)


def test_quickstart_searches_trains_exports_and_checks_as_a_program() -> None:
    command = [sys.executable, "-m", "kerasmlp", "quickstart", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["test_accuracy"] >= 0.97
    float_saved_model, float_tflite, int8_tflite, page = result["artefacts"]
    for report in (float_saved_model, float_tflite, page):
        assert report["agreement"] == 1
        assert report["max_abs_diff"] <= 1e-5
    assert int8_tflite["agreement"] >= 0.99
    for noise in ("WARNING", "oneDNN", "cuda", "absl", "XNNPACK", "it/s"):
        assert noise not in done.stderr
    assert Path("runs/quickstart/plots/search.png").is_file()
    assert Path("runs/quickstart/export/page.html").stat().st_size == page["size_bytes"]


def test_quickstart_takes_your_own_data_and_names_them_in_what_to_try_next(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    small = {"trials": 2, "epochs": 1, "final_epochs": 20}
    monkeypatch.setattr("kerasmlp.cli.commands.quickstart_command.SEARCH", small)
    generator = np.random.default_rng(0)
    rows = [f"{a:.3f},{b:.3f},{'high' if a + b > 1 else 'low'}" for a, b in generator.random((400, 2))]
    Path("my flowers.csv").write_text("\n".join(["width,height,kind", *rows]) + "\n")
    typed = ["my flowers.csv", "--target", "kind", "--test-share", "0.25"]
    assert main(["quickstart", *typed]) == 0
    shown = " ".join(capfd.readouterr().out.split())
    run = "runs/my flowers-quickstart"
    int8 = f"'{run}/export/tflite/my flowers_int8_dynamic.tflite'"
    assert f"kerasmlp evaluate {int8} 'my flowers.csv' --target kind --test-share 0.25" in shown
    assert "kerasmlp tune 'my flowers.csv' --target kind --test-share 0.25 --trials 24" in shown
    assert "test examples 100" in shown
    assert main(["evaluate", f"{run}/export/tflite/my flowers_int8_dynamic.tflite", *typed, "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["examples"] == 100


def test_the_tuning_module_is_the_tune_command() -> None:
    command = [sys.executable, "-m", "kerasmlp.tuning", "digits", "--trials", "0"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(r"kerasmlp tune: .*`--trials`.* 0\.\n", done.stderr)
