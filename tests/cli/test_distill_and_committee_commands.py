"""`kerasmlp distill` and `kerasmlp committee`: their JSON, their tables, the data they read, and wrong requests."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from kerasmlp.cli import main
from kerasmlp.run import Run
from tests.helpers.commands import json_of
from tests.helpers.houses import houses_table

pytestmark = pytest.mark.usefixtures("empty_folder")


def test_a_student_is_shown_beside_its_teacher(capfd: pytest.CaptureFixture[str], digits_run: Run) -> None:
    options = ["--sizes", "64,12,10", "--copies", "1", "--epochs", "3", "--augment", "rotation=5"]
    assert main(["distill", str(digits_run.path), "digits", *options, "--out", "student"]) == 0
    out, err = capfd.readouterr()
    accuracy = Run.open("student").metrics["test_accuracy"]
    assert re.search(rf"student student +64 - 12 - 10 +\S+ +{accuracy:.2%}", out)
    assert re.search(rf"teacher \S+ +64 - 32 - 10 +\S+ +{digits_run.metrics['test_accuracy']:.2%}", out)
    assert "Deforming 1,295 copies" in err
    config = Run.open("student").config
    assert config["origin"]["strengths"]["rotation"] == 5
    assert config["origin"]["strengths"]["shift"] == 0


def test_data_are_read_and_split_as_for_the_teacher(capfd: pytest.CaptureFixture[str]) -> None:
    houses_table(200).to_csv("houses.csv", index=False)
    train = ["train", "houses.csv", "--target", "price", "--drop", "tax", "--log-target", "--seed", "3"]
    teacher = json_of(capfd, *train, "--recipe", "plain", "--hidden", "8", "--epochs", "2", "--out", "teacher")
    again = ["distill", "teacher", "houses.csv", "--hidden", "4", "--recipe", "plain", "--epochs", "2", "--seed", "7"]
    student = json_of(capfd, *again, "--teacher", "teacher", "--out", "student")
    configs = {name: Run.open(name).config for name in ("teacher", "student")}
    assert configs["student"]["data"] == configs["teacher"]["data"]
    assert configs["student"]["training"]["seed"] == 7
    assert [each["test_rmse"] for each in student["teachers"]] == [teacher["test_rmse"]] * 2
    assert json_of(capfd, "export", "student", "--tflite", "mobile", "--quantize", "float32")["artefacts"][0][
        "published"
    ]


def test_networks_of_several_seeds_become_a_committee(capfd: pytest.CaptureFixture[str]) -> None:
    options = ["--hidden", "12", "--epochs", "2", "--split-seed", "0"]
    runs = [json_of(capfd, "train", "digits", *options, "--seed", f"{seed}", "--out", f"run{seed}") for seed in (1, 2)]
    assert runs[0]["val_loss"] != runs[1]["val_loss"]
    made = json_of(capfd, "committee", "run1", "run2", "--out", "both")
    assert made["members"] == 2
    assert [each["run"] for each in made["committee_of"]] == ["../run1", "../run2"]
    assert json_of(capfd, "evaluate", "both", "digits")["accuracy"] == made["test_accuracy"]
    assert main(["committee", "run1", "run2", "--out", "both", "--overwrite"]) == 0
    assert re.search(r"committee both +2 members of 64 - 12 - 10", capfd.readouterr().out)


REQUESTS = [
    ("distill {run} digits", "`--sizes`.*`--hidden`"),
    ("distill {run} digits --sizes 64,4,9", "64,4,9|10 classes|9"),
    ("distill {run} digits --hidden 4 --temperature 0", r"`--temperature`.*\b0\b"),
    ("distill {run} digits --hidden 4 --copies -1", "`--copies`.*-1"),
    ("distill {run} digits --hidden 4 --quantize-aware int3", "`--quantize-aware`.*int3"),
    ("distill {run} digits --hidden 4 --augment turn=3", "`turn`.*rotation"),
    ("distill {run} iris --hidden 4", "10 classes; iris has 3"),
    ("distill {run} digits --hidden 4 --test-share 0.5", "another test.*`--test-share` differs"),
    ("distill absent digits --hidden 4", "`absent`"),
    ("distill {run} digits --hidden 4 --teacher absent", "`absent`"),
    ("distill {run} digits --hidden 4 --out {run}", "`--out .*new run is made from"),
    ("committee absent", "`absent`"),
    ("committee {run} {run}", "twice"),
    ("committee {run} --out {run}", "`--out .*new run is made from"),
]


@pytest.mark.parametrize(("line", "answer"), REQUESTS, ids=[line for line, _ in REQUESTS])
def test_a_wrong_request_is_answered_with_one_sentence(
    capfd: pytest.CaptureFixture[str], digits_run: Run, tmp_path: Path, line: str, answer: str
) -> None:
    assert main(line.format(run=digits_run.path).split()) == 2
    out, err = capfd.readouterr()
    message = err.splitlines()[-1]
    assert re.search(answer, message), err
    assert out == "" or "Task:" in out
    assert "Traceback" not in err
    assert not list(tmp_path.iterdir())
