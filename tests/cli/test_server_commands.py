"""`kerasmlp evaluate`, `predict` and `info` of a served model: the same answers as of the files, and wrong requests."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import kerasmlp
import kerasmlp.client
from kerasmlp.artefacts.opening import is_artefact
from kerasmlp.cli import main
from kerasmlp.cli.server_requests import read_request
from kerasmlp.client import failures
from kerasmlp.data.raw_tables import TableOptions
from kerasmlp.data.types import Data
from kerasmlp.errors import InvalidValue
from kerasmlp.export.saved_model.exporting import write_saved_model
from kerasmlp.run import Run
from kerasmlp.tasks.scores import number
from tests.helpers.commands import json_of
from tests.helpers.own_server import OwnServer
from tests.helpers.rogue_servers import Rogue, http
from tests.helpers.tables import frame, houses_frame


@pytest.fixture(params=["rest", "grpc"])
def server(request: pytest.FixtureRequest, own_server: OwnServer) -> str:
    """The URL of the server, to which the name of a model is added."""
    return f"{own_server.rest}/v1/models/" if request.param == "rest" else f"{own_server.grpc}/"


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(failures, "FIRST_WAIT_S", 0.01)
    monkeypatch.setattr(failures, "FIRST_CONTACT_S", 0.3)


@pytest.fixture
def without_card(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client takes every network for one that an earlier version exported, without the signature `card`."""
    monkeypatch.setattr("kerasmlp.client.classifier.CARD", "absent")


def _fails(capfd: pytest.CaptureFixture[str], status: int, answer: str, *argv: str) -> None:
    """Checks the exit status of a command, and that it prints one line in which the pattern `answer` is found."""
    assert main([*argv]) == status
    out, err = capfd.readouterr()
    assert out == ""
    (err,) = [line for line in err.splitlines() if not line.startswith("Note: ")]
    assert re.search(answer, err), err


def test_evaluate_gives_the_same_result_for_a_server_as_for_the_run(
    capfd: pytest.CaptureFixture[str], server: str, digits_run: Run
) -> None:
    served, of_run = (
        json_of(capfd, "evaluate", where, "digits") for where in (f"{server}digits", str(digits_run.path))
    )
    assert served.keys() == of_run.keys()
    for key in ("accuracy", "examples", "confusion", "dataset", "precision"):
        assert served[key] == of_run[key]
    assert served["loss"] == pytest.approx(of_run["loss"], abs=1e-5)  # float32 in other orders
    assert (served["artefact"], served["same_data"]) == (f"{server}digits", True)
    assert served["format"] == ("rest" if server.startswith("http") else "grpc")
    assert main(["evaluate", f"{server}digits", "digits"]) == 0
    assert "360 (digits, test)" in capfd.readouterr().out


@pytest.mark.parametrize("name", ["ink.png", "large.webp", "clear.png"])
def test_predict_gives_the_same_result_for_a_server_as_for_the_run(
    capfd: pytest.CaptureFixture[str], server: str, digits_run: Run, digits: Data, name: str
) -> None:
    image = Image.fromarray((255 - digits.test.features[0] * 15).astype(np.uint8))
    if name == "large.webp":
        image = image.resize((90, 70))
    if name == "clear.png":  # ink on nothing, which shows white
        image.putalpha(Image.fromarray((digits.test.features[0] * 15).astype(np.uint8)))
    image.save(name, lossless=True)
    Path("rows.csv").write_text(",".join(["3"] * 64) + "\n" + ",".join(["16"] * 64))
    answers = {}
    for where in (f"{server}digits", str(digits_run.path)):
        answers[where] = json_of(capfd, "predict", where, "--invert", name)["predictions"]
        answers[where] += json_of(capfd, "predict", where, "rows.csv")["predictions"]
    served, of_run = answers.values()
    assert len(served) == 3
    for own, other in zip(served, of_run, strict=True):
        assert (own["file"], own["row"], own["class"]) == (other["file"], other["row"], other["class"])
        own_values, other_values = (list(each["probabilities"].values()) for each in (own, other))
        np.testing.assert_allclose(own_values, other_values, atol=1e-5)  # pixels are divided by 255 elsewhere
    assert [*own["probabilities"]] == [str(i) for i in range(10)]


@pytest.mark.usefixtures("without_card")
def test_without_a_card_a_server_names_the_classes_that_it_answers(
    capfd: pytest.CaptureFixture[str], server: str, digits_run: Run, digits: Data
) -> None:
    Image.fromarray((digits.test.features[0] * 15).astype(np.uint8)).save("digit.png")
    Path("rows.csv").write_text(",".join(["3"] * 64))
    for name in ("digit.png", "rows.csv"):
        (served,), (of_run,) = (
            json_of(capfd, "predict", where, name)["predictions"] for where in (f"{server}digits", str(digits_run.path))
        )
        assert served["class"] == of_run["class"]
        assert served["class"] in served["probabilities"]
        assert all(name == str(i) or name == f"class {i}" for i, name in enumerate(served["probabilities"]))
    about = json_of(capfd, "evaluate", f"{server}digits", "digits")
    assert (about["same_data"], about["examples"]) == (None, 360)


@pytest.mark.usefixtures("without_card")
def test_without_a_card_rows_of_a_table_are_encoded_by_the_server(
    capfd: pytest.CaptureFixture[str], server: str, flowers_run: Run
) -> None:
    table = frame(60)
    table.loc[3, "colour"] = "blue"  # which no training row had
    table["has thorns"] = table["has thorns"].astype(object)
    table.loc[4, "has thorns"] = None
    # Columns in another order, and one that the network does not use.
    table[["kind", "petals", "has thorns", "colour", "size"]].assign(garden=1).to_csv("june.csv", index=False)
    options = ["june.csv", "--target", "kind"]
    served, of_run = (
        json_of(capfd, "evaluate", where, *options) for where in (f"{server}flowers", str(flowers_run.path))
    )
    assert (served["examples"], served["accuracy"]) == (60, of_run["accuracy"])
    assert served["confusion"] == of_run["confusion"]
    assert served["loss"] == pytest.approx(of_run["loss"], abs=1e-5)
    assert main(["evaluate", f"{server}flowers", *options]) == 0
    assert "60 (june, all of them" in " ".join(capfd.readouterr().out.split())
    assert json_of(capfd, "evaluate", f"{server}flowers", *options, "--test-share", "0.2")["examples"] < 20
    table.drop(columns="kind").to_parquet("july.parquet")
    places = (f"{server}flowers", str(flowers_run.path))
    predictions = [json_of(capfd, "predict", where, "july.parquet")["predictions"] for where in places]
    for own, other in zip(*predictions, strict=True):
        assert own["class"] == other["class"]
        assert own["probabilities"] == pytest.approx(other["probabilities"], abs=1e-5)


@pytest.mark.usefixtures("without_card")
def test_without_a_card_the_server_decides_whether_numbers_are_classes(
    capfd: pytest.CaptureFixture[str], server: str
) -> None:
    frame(60).assign(kind=np.arange(60) % 30 * 7).to_csv("june.csv", index=False)  # which look like quantities
    _fails(capfd, 2, "has 2 classes; june has 30", "evaluate", f"{server}flowers", "june.csv", "--target", "kind")


@pytest.mark.parametrize("command", ["predict", "evaluate"])
def test_numbers_are_the_same_from_a_server_a_file_and_the_run(
    capfd: pytest.CaptureFixture[str], server: str, houses_run: Run, command: str
) -> None:
    write_saved_model(houses_run.load_model(), houses_run.card, Path("served/1"))
    rows = houses_frame(40)
    if command == "predict":
        rows = rows.drop(columns="price")
    rows.to_csv("june.csv", index=False)
    arguments = ["june.csv", *(["--target", "price"] if command == "evaluate" else [])]
    told = [json_of(capfd, command, where, *arguments) for where in (str(houses_run.path), "served", f"{server}houses")]
    for own in told[1:]:
        if command == "evaluate":
            assert own["rmse"] == pytest.approx(told[0]["rmse"], rel=1e-5)
            assert (own["task"], own["examples"]) == ("regression", 40)
            continue
        for row, (one, other) in enumerate(zip(own["predictions"], told[0]["predictions"], strict=True), start=1):
            assert one.keys() == {"file", "row", "values"}
            assert (one["file"], one["row"], [*one["values"]]) == ("june.csv", row, ["price"])
            assert one["values"]["price"] == pytest.approx(other["values"]["price"], abs=1)
    assert main([command, f"{server}houses", *arguments]) == 0
    shown = " ".join(capfd.readouterr().out.split())
    first = f"june.csv, row 1 {told[0]['predictions'][0]['values']['price']:,.0f}" if command == "predict" else "RMSE"
    assert first in shown


def test_info_of_a_served_regression_names_its_targets(
    capfd: pytest.CaptureFixture[str], server: str, houses_run: Run
) -> None:
    about = json_of(capfd, "info", f"{server}houses")
    assert (about["task"], about["num_targets"], about["card"]["task"]["names"]) == ("regression", 1, ["price"])
    assert about["server"]["signatures"]["rows"]["outputs"] == {"values": {"dtype": "float32", "shape": [None, 1]}}
    assert main(["info", f"{server}houses"]) == 0
    shown = " ".join(capfd.readouterr().out.split())
    assert "targets price" in shown
    assert f"test RMSE {number(houses_run.metrics['test_rmse'])}" in shown


def test_data_for_another_task_are_refused(capfd: pytest.CaptureFixture[str], server: str) -> None:
    houses_frame(40).to_csv("june.csv", index=False)
    _fails(capfd, 2, "`june.csv`.*column `size`", "predict", f"{server}flowers", "june.csv")
    _fails(
        capfd,
        2,
        "row 1: the column `place` needs numbers for regression; got `coast`",
        "evaluate",
        f"{server}houses",
        "june.csv",
        "--target",
        "place",
    )


def test_a_table_is_read_as_the_network_reads_it(
    capfd: pytest.CaptureFixture[str], server: str, flowers_run: Run
) -> None:
    table = frame(60).assign(garden=1, Size=1000)
    text = table.to_csv(index=False, sep=";", decimal=",")  # another style than in training
    Path("june.csv").write_text(text)
    places = (f"{server}flowers", str(flowers_run.path))
    served, of_run = (json_of(capfd, "evaluate", where, "june.csv", "--target", "kind") for where in places)
    assert (served["examples"], served["same_data"]) == (60, False)
    assert (served["confusion"], served["accuracy"]) == (of_run["confusion"], of_run["accuracy"])
    for own, other in zip(
        *(json_of(capfd, "predict", where, "june.csv")["predictions"] for where in places), strict=True
    ):
        assert own["class"] == other["class"]
        assert own["probabilities"] == pytest.approx(other["probabilities"], abs=1e-5)


@pytest.mark.usefixtures("without_card")
def test_columns_with_the_same_input_name_are_refused(capfd: pytest.CaptureFixture[str], server: str) -> None:
    frame(9).assign(Size=1000).to_csv("alike.csv", index=False)
    for command in (["predict"], ["evaluate", "--target", "kind"]):
        _fails(capfd, 2, "`alike.*`size`, `Size`", *command, f"{server}flowers", "alike.csv")


def test_info_shows_versions_and_signatures(capfd: pytest.CaptureFixture[str], server: str) -> None:
    about = json_of(capfd, "info", f"{server}flowers")
    assert (about["feature_shape"], about["num_classes"], about["size_bytes"]) == ([7], 2, None)
    assert about["card"]["class_names"] == ["lily", "rose"]
    assert about["server"]["versions"] == [{"version": 1, "state": "AVAILABLE", "message": ""}]
    assert about["server"]["signatures"]["columns"]["inputs"]["size"] == {"dtype": "float32", "shape": [None]}
    assert main(["info", f"{server}digits"]) == 0
    shown = " ".join(capfd.readouterr().out.split())
    assert "version 1 AVAILABLE" in shown
    assert "image float32 (any, 8, 8)" in shown
    assert is_artefact(server)


def test_a_server_that_is_down_ends_with_1_and_a_wrong_url_with_2(capfd: pytest.CaptureFixture[str]) -> None:
    _fails(capfd, 1, "http://127.0.0.1:9/", "evaluate", "http://127.0.0.1:9/v1/models/digits", "digits")
    _fails(capfd, 1, "grpc://127.0.0.1:9|127.0.0.1:9", "info", "grpc://127.0.0.1:9/m")
    _fails(capfd, 2, "`http://127.0.0.1:8501/digits`", "predict", "http://127.0.0.1:8501/digits", "x.png")


def test_another_model_ends_with_1_and_data_that_do_not_fit_it_with_2(
    capfd: pytest.CaptureFixture[str], server: str
) -> None:
    digits, flowers = f"{server}digits", f"{server}flowers"
    _fails(capfd, 1, "`roses`", "evaluate", f"{server}roses", "digits")
    _fails(capfd, 2, "not trained on a table|trained on a table.*not a table", "evaluate", flowers, "digits")
    features = np.zeros((100, 8, 8), np.uint8)
    labels = np.arange(100) % 10 + 1  # as if the digits were counted from 1
    np.savez("shifted.npz", x_train=features, y_train=labels, x_test=features, y_test=labels)
    _fails(capfd, 2, "shifted", "evaluate", digits, "shifted.npz")
    frame().assign(size="tall").to_csv("words.csv", index=False)
    _fails(capfd, 2, "column `size`.*numbers.*`tall`", "evaluate", flowers, "words.csv", "--target", "kind")
    frame().drop(columns="colour").to_csv("grey.csv", index=False)
    _fails(capfd, 2, "`grey.csv`.*column `colour`", "predict", flowers, "grey.csv")
    _fails(capfd, 2, "not trained on a table", "evaluate", digits, "grey.csv", "--target", "kind")
    _fails(capfd, 2, "`absent.png`", "predict", digits, "absent.png")
    frame().to_csv("good.csv", index=False)
    _fails(capfd, 2, "`--invert`.*`good.csv`", "predict", flowers, "good.csv", "--invert")
    pd.DataFrame(columns=["size"]).to_csv("empty.csv", index=False)
    _fails(capfd, 2, "`empty.csv`", "predict", flowers, "empty.csv")
    Image.new("L", (8, 8)).save("image.png")
    _fails(capfd, 2, "`image.png`", "predict", flowers, "image.png")
    Path("bright.csv").write_text(",".join(["17"] * 64))
    _fails(capfd, 2, "`image` needs values from 0 to 16", "predict", digits, "bright.csv")


def _promise(*outputs: str, inputs: dict[str, list[int]] | None = None) -> bytes:
    def tensor(dtype: str, sizes: list[int]) -> dict[str, Any]:
        return {"dtype": dtype, "tensor_shape": {"dim": [{"size": str(size)} for size in sizes]}}

    kinds = {"class_id": ("DT_INT32", [-1]), "label": ("DT_STRING", [-1])}
    signature = {
        "inputs": {name: tensor("DT_FLOAT", sizes) for name, sizes in (inputs or {"image": [-1, 8, 8]}).items()},
        "outputs": {name: tensor(*kinds.get(name, ("DT_FLOAT", [-1, 2]))) for name in outputs},
    }
    return http(200, json.dumps({"metadata": {"signature_def": {"signature_def": {"serving_default": signature}}}}))


@pytest.mark.parametrize(
    ("promise", "message"),
    [
        (_promise("output_0"), "takes `image` float32 .any, 8, 8. .*`output_0`"),
        (_promise("probabilities", inputs={"a": [-1], "b": [-1]}), "takes `a` float32 .any., `b`"),
        (_promise("probabilities", inputs={"a": [-1, -1]}), "takes `a` float32 .any, any."),
        (_promise("probabilities").replace(b"serving_default", b"serving_another"), "no signature `serving_default`"),
    ],
    ids=["no probabilities", "two inputs", "unknown width", "no serving_default"],
)
def test_a_model_that_is_not_a_classifier_is_refused_before_it_is_asked(promise: bytes, message: str) -> None:
    with Rogue([[promise]]) as rogue:
        with pytest.raises(kerasmlp.client.ServerError, match=message):
            kerasmlp.open_artefact(f"http://{rogue.server}/v1/models/m")
        assert rogue.num_requests == 1


def test_a_server_that_contradicts_itself_or_takes_no_images_is_refused(digits: Data) -> None:
    promise = _promise("probabilities", "class_id", "label")
    answer = {"probabilities": [[0.1, 0.9], [0.2, 0.8]], "class_id": [1, 1], "label": ["cat", "dog"]}
    Image.new("L", (8, 8)).save("image.png")
    with Rogue([[promise], [http(200, json.dumps({"outputs": answer}))]]) as rogue:
        artefact = kerasmlp.open_artefact(f"http://{rogue.server}/v1/models/m")
        assert artefact.served is not None
        with pytest.raises(kerasmlp.client.ServerError, match="class 1 .*`cat` and `dog`"):
            artefact.probabilities(digits.test.features[:2])
        with pytest.raises(InvalidValue, match="no signature `image_bytes`"):
            read_request(artefact.served, Path("image.png"), TableOptions(), invert=False)
