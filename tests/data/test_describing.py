"""What `kerasmlp info` says about data before training, and what a run records about them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kerasmlp import load_data
from kerasmlp.cli import main
from kerasmlp.data.describing import describe_source
from kerasmlp.data.readers.choosing import read_source
from kerasmlp.data.source import SourceOptions
from kerasmlp.data.types import Data
from kerasmlp.run import Run
from tests.helpers.image_files import write_images
from tests.helpers.tables import frame, write


def test_arrays_are_described_by_shape_dtype_range_and_classes(tmp_path: Path) -> None:
    about = describe_source(read_source("digits"))
    assert about["fingerprint"] == load_data("digits").fingerprint
    assert (about["examples"], about["test_examples"]) == (1437, 360)
    assert sum(about["classes"].values()) == 1797
    assert (about["feature_shape"], about["dtype"], about["feature_range"]) == ([8, 8], "uint8", [0.0, 16.0])
    pets = describe_source(read_source(str(write_images(tmp_path / "pets"))))
    assert (pets["test_examples"], pets["classes"]) == (None, {"cat": 10, "dog": 10})


def test_tables_are_described_column_by_column(tmp_path: Path) -> None:
    table = frame()
    path = write(tmp_path / "flowers.csv", table)
    about = describe_source(read_source(str(path), SourceOptions(target="kind")))
    assert about["classes"] == table["kind"].value_counts().to_dict()
    columns = {column["name"]: column for column in about["columns"]}
    assert list(columns) == ["size", "colour", "has thorns", "petals"]
    assert columns["size"]["missing"] == table["size"].isna().sum() > 0
    assert columns["size"]["values"] == pytest.approx([table["size"].min(), table["size"].max()])
    assert (columns["colour"]["kind"], columns["colour"]["values"]) == ("category", 3)
    assert about["fingerprint"] == load_data(path, target="kind", test_share=0.2).fingerprint


def test_a_run_records_a_description_of_its_data(digits_run: Run, digits: Data) -> None:
    about = json.loads((digits_run.path / "data.json").read_text())
    assert about["fingerprint"] == digits.fingerprint
    assert {name: split["examples"] for name, split in about["splits"].items()} == {
        "train": 1295,
        "validation": 142,
        "test": 360,
    }
    assert sum(about["splits"]["train"]["classes"].values()) == 1295
    assert about["feature_range"] == [0, 16]


def test_info_describes_data_and_draws_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["info", "digits", "--picture", "digits.png", "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["classes"]["0"] == 178
    assert np.asarray(Image.open("digits.png")).std() > 50  # the picture is neither blank nor uniformly grey
    write_images(Path("pets"))
    assert main(["info", "pets", "--picture", "read.png"]) == 0
    assert main(["info", "pets", "--picture", "streamed.png", "--stream"]) == 0
    capfd.readouterr()
    np.testing.assert_array_equal(Image.open("read.png"), Image.open("streamed.png"))
    write(Path("flowers.csv"), frame())
    assert main(["info", "flowers.csv", "--target", "kind"]) == 0
    out = capfd.readouterr().out
    assert "20% of the examples" in out
    assert "3 d" in out  # distinct colours
    write(Path("numbered.csv"), frame().assign(id=range(200), price="7 €"))
    assert main(["info", "numbered.csv", "--target", "kind"]) == 0
    out = capfd.readouterr().out
    assert "--column id=number" in out
    assert re.search(r"id +key +not used", out)
    assert re.search(r"number +without `€`", out)
    assert main(["info", "flowers.csv", "--target", "kind", "--picture", "flowers.png"]) == 2
    assert "flowers" in capfd.readouterr().err
    assert not Path("flowers.png").exists()
