"""A TFLite file that is served has the signatures of its SavedModel, and they give the same answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kerasmlp
from kerasmlp.artefacts.opening import open_artefact
from kerasmlp.data.types import Data
from kerasmlp.export import export_tflite
from kerasmlp.export.saved_model.exporting import write_saved_model
from kerasmlp.export.saved_model.signatures import signature_inputs, signature_names
from kerasmlp.export.tflite.unchecked_file import float_file
from kerasmlp.run import Run
from kerasmlp.serving.artefact_signatures import ArtefactSignatures
from kerasmlp.serving.refusals import Failure
from kerasmlp.serving.saved_model_session import SavedModelSession
from tests.helpers.image_bombs import BOMBS
from tests.helpers.small_tasks import KINDS, small_data
from tests.helpers.tables import frame

SAME = 1e-5  # float32 sums in another order


def _pair(run: Run, folder: Path) -> tuple[ArtefactSignatures, SavedModelSession]:
    """The network of a run as a TFLite file and as a SavedModel."""
    (folder / "file.tflite").write_bytes(float_file(run))
    write_saved_model(run.load_model(), run.card, folder / "1")
    return ArtefactSignatures(folder / "file.tflite"), SavedModelSession(folder / "1")


def _assert_same_answers(run: Run, features: np.ndarray, folder: Path) -> None:
    file, saved = _pair(run, folder)
    assert {name: (s.inputs, s.outputs) for name, s in file.signatures.items()} == {
        name: (s.inputs, s.outputs) for name, s in saved.signatures.items()
    }
    scale = max(1.0, float(np.abs(open_artefact(run.path).answers(features)).max()))
    for name in (*signature_names(run.card), "card"):
        for size in (1, 7):
            inputs = signature_inputs(run.card, name, features[:size])
            answers, expected = file.run(name, inputs), saved.run(name, inputs)
            assert answers.keys() == expected.keys()
            for key, value in expected.items():
                if value.dtype == object:
                    found = [text.encode() if isinstance(text, str) else text for text in answers[key].ravel()]
                    assert found == value.ravel().tolist()
                else:
                    assert answers[key].dtype == value.dtype
                    np.testing.assert_allclose(answers[key], value, rtol=0, atol=SAME * scale)


@pytest.mark.parametrize("name", ["digits", "flowers"])
def test_a_file_answers_every_signature_as_its_saved_model_does(
    name: str, digits_run: Run, flowers_run: Run, tmp_path: Path
) -> None:
    run = {"digits": digits_run, "flowers": flowers_run}[name]
    if run.card.encoder is None:
        features = np.asarray(run.load_data().test.features)
    else:
        features = run.card.encoder.encode(frame(), source="flowers")
    _assert_same_answers(run, features, tmp_path)


@pytest.mark.parametrize(
    ("kind", "recipe"),
    [("classification", "table"), *((kind, "plain") for kind in KINDS if kind not in ("classification", "regression"))],
)
def test_files_of_every_task_answer_what_their_runs_answer(kind: str, recipe: str, tmp_path: Path) -> None:
    data = small_data(kind)
    model = kerasmlp.mlp_for(data, hidden=[8], recipe=recipe, seed=0)
    run = kerasmlp.train(model, data, epochs=1, verbose=0, out=tmp_path / "run")
    (tmp_path / "file.tflite").write_bytes(float_file(run))
    file = ArtefactSignatures(tmp_path / "file.tflite")
    for size in (1, 7):
        features = np.asarray(data.test.features)[:size].astype(np.float32)
        main = open_artefact(run.path).answers(features)
        expected = run.card.learnt.complete(main)
        for name in ("serving_default", "columns", "rows"):
            answers = file.run(name, signature_inputs(run.card, name, features))
            assert answers.keys() == expected.keys() == file.signatures[name].outputs.keys()
            for key, value in expected.items():
                if value.dtype.kind == "f":
                    np.testing.assert_allclose(answers[key], value, atol=SAME * max(1.0, float(np.abs(main).max())))
                else:
                    np.testing.assert_array_equal(answers[key], value)


@pytest.fixture(scope="module")
def flowers(flowers_run: Run, tmp_path_factory: pytest.TempPathFactory) -> tuple[ArtefactSignatures, SavedModelSession]:
    """The flowers in both forms."""
    return _pair(flowers_run, tmp_path_factory.mktemp("flowers"))


ROWS: list[dict[str, object]] = [
    {"size": 5.5, "colour": "red", "has thorns": True, "petals": 6},
    {"kind": "not a column", "petals": "5", "has thorns": None, "colour": "blue", "size": None},
    {"size": "", "colour": None, "has thorns": "yes", "petals": 5.0},
    {"size": "7.25", "colour": " white ", "has thorns": 0, "petals": 6},
    {"size": float("nan"), "colour": "?", "has thorns": "FALSE", "petals": "NA"},
    {"size": 10**400 // 10**398, "colour": "orange", "has thorns": "1.0", "petals": -1e3},
]


def _raw(**members: str) -> bytes:
    """A row whose members are given as JSON."""
    good = {name: json.dumps(value) for name, value in ROWS[0].items()} | members
    return ("{" + ",".join(f"{json.dumps(name)}:{text}" for name, text in good.items()) + "}").encode()


_EXTREME = {
    "a huge number": _raw(size=str(10**400)),
    "a huge boolean": _raw(**{"has thorns": str(10**400)}),
    "minus nought as a boolean": _raw(**{"has thorns": "-0.0"}),
    "a whole minus nought as a boolean": _raw(**{"has thorns": "-0"}),
    "an exponent as a boolean": _raw(**{"has thorns": "1e0"}),
    "one as a boolean": _raw(**{"has thorns": "1.00"}),
    "half a character": _raw(colour='"\\ud83d"'),
    "half a character in a number": _raw(size='"\\ud83d"'),
    "half a character in a boolean": _raw(**{"has thorns": '"\\ude00x"'}),
    "a whole character": _raw(colour='"\\ud83d\\ude00"'),
    "infinity as a category": _raw(colour="Infinity"),
    "not a number as a category": _raw(colour="NaN"),
    "a number as a category": _raw(colour="1e3"),
    "a byte order mark": b"\xef\xbb\xbf" + _raw(),
    "UTF-16": _raw().decode().encode("utf-16"),
    "damaged UTF-8": _raw(colour='"red"').replace(b"red", b"r\xff"),
}


@pytest.mark.parametrize("name", _EXTREME)
def test_extreme_rows_are_answered_or_refused_as_by_the_saved_model(
    flowers: tuple[ArtefactSignatures, SavedModelSession], name: str
) -> None:
    def ask(model: ArtefactSignatures | SavedModelSession) -> Any:
        try:
            answer = model.run("rows", {"rows": np.array([_EXTREME[name]], object)})
        except Failure as failure:
            return failure.code
        return answer["probabilities"].tolist()

    file, saved = (ask(model) for model in flowers)
    assert file == (saved if isinstance(saved, str) else pytest.approx(np.array(saved), abs=SAME))


def test_rows_are_read_as_the_graph_of_the_saved_model_reads_them(
    flowers: tuple[ArtefactSignatures, SavedModelSession],
) -> None:
    texts = np.array([json.dumps(row).encode() for row in ROWS], object)
    file, saved = (model.run("rows", {"rows": texts})["probabilities"] for model in flowers)
    np.testing.assert_allclose(file, saved, rtol=0, atol=SAME)


@pytest.mark.parametrize(
    "row",
    ["[]", "{", '{"size": 1}', "7", "", '{"size": [1], "colour": "", "has thorns": "", "petals": 1}'],
    ids=["a list", "cut off", "too few", "a number", "nothing", "nested"],
)
@pytest.mark.parametrize("form", [0, 1], ids=["file", "saved model"])
def test_wrong_rows_are_refused_in_both_forms(
    flowers: tuple[ArtefactSignatures, SavedModelSession], form: int, row: str
) -> None:
    with pytest.raises(Failure, match="`rows` needs") as caught:
        flowers[form].run("rows", {"rows": np.array([row.encode()], object)})
    assert caught.value.code == "INVALID_ARGUMENT"


@pytest.mark.parametrize("wrong", [{"petals": "many"}, {"size": 1e39}, {"has thorns": "perhaps"}, {"has thorns": 2}])
def test_values_that_do_not_fit_their_column_are_refused_in_both_forms(
    flowers: tuple[ArtefactSignatures, SavedModelSession], wrong: dict[str, object]
) -> None:
    text = json.dumps({**ROWS[0], **wrong}).encode()
    for model in flowers:
        with pytest.raises(Failure) as caught:
            model.run("rows", {"rows": np.array([text], object)})
        assert caught.value.code == "INVALID_ARGUMENT"
        assert next(iter(wrong)) in caught.value.message or "rows" in caught.value.message


@pytest.fixture(scope="module")
def digits_file(digits_run: Run, tmp_path_factory: pytest.TempPathFactory) -> ArtefactSignatures:
    """The digits in a TFLite file."""
    path = tmp_path_factory.mktemp("digits") / "digits.tflite"
    path.write_bytes(float_file(digits_run))
    return ArtefactSignatures(path)


@pytest.mark.parametrize("name", BOMBS)
def test_a_large_image_is_refused_before_it_is_decoded(digits_file: ArtefactSignatures, name: str) -> None:
    with pytest.raises(Failure, match="at most|too many pixels|cannot be read as an image"):
        digits_file.run("image_bytes", {"image_bytes": np.array([BOMBS[name]()], object)})


def test_other_files_than_png_and_jpeg_are_refused(digits_file: ArtefactSignatures) -> None:
    for content in (b"", b"none", b"GIF89a", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff" + bytes(50)):
        with pytest.raises(Failure, match="image at index 0"):
            digits_file.run("image_bytes", {"image_bytes": np.array([content], object)})


@pytest.mark.parametrize("value", [np.nan, np.inf, 16.5, -0.5])
@pytest.mark.parametrize("size", [1, 3])
def test_values_outside_the_range_are_refused(digits_file: ArtefactSignatures, value: float, size: int) -> None:
    images = np.zeros((size, 8, 8), np.float32)
    images[-1, 3, 3] = value
    with pytest.raises(Failure, match="`image` needs values from 0 to 16"):
        digits_file.run("serving_default", {"image": images})


def test_a_rounded_network_answers_probabilities_that_add_up_to_one(
    digits_run: Run, digits: Data, tmp_path: Path
) -> None:
    export_tflite(digits_run, tmp_path, quantize=["int8"], verbose=0)
    (path,) = tmp_path.glob("*.tflite")
    features = digits.test.features[:9].astype(np.float32)
    answers = ArtefactSignatures(path).run("serving_default", {"image": features})
    np.testing.assert_allclose(answers["probabilities"].sum(axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(answers["class_id"], open_artefact(path).probabilities(features).argmax(axis=1))


def test_only_networks_that_take_microseconds_are_computed_between_requests(
    digits_file: ArtefactSignatures, digits_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert digits_file.is_quick("serving_default", 1)
    assert not digits_file.is_quick("serving_default", 2)
    assert not digits_file.is_quick("image_bytes", 1)
    (tmp_path / "digits.tflite").write_bytes(float_file(digits_run))
    monkeypatch.setattr("kerasmlp.serving.artefact_signatures._MOST_QUICK_S", 1e-9)  # as if the network were large
    assert not ArtefactSignatures(tmp_path / "digits.tflite").is_quick("serving_default", 1)
