"""Export as a SavedModel: signatures, refusals of the graph, warm-up, parity in plain TensorFlow, publishing."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest

from kerasmlp import build_mlp, data_from_frame, open_artefact
from kerasmlp.card import Card
from kerasmlp.cli import main
from kerasmlp.client.message_conversion import predict_request, prediction_log
from kerasmlp.contract import FALSE_WORDS, TRUE_WORDS, column_input_names
from kerasmlp.data.columns import Column
from kerasmlp.data.prediction_files import read_inputs
from kerasmlp.data.table_encoding import Encoder
from kerasmlp.data.types import Data
from kerasmlp.errors import InvalidValue, OutputExists
from kerasmlp.export import ParityError, export_saved_model
from kerasmlp.export.saved_model.column_inputs import encode_columns
from kerasmlp.export.saved_model.exporting import check_same_contract, write_saved_model
from kerasmlp.export.saved_model.image_decoding import decode_images
from kerasmlp.export.saved_model.parity_in_plain_tensorflow import PROGRAM, check_answers, start_plain_tensorflow
from kerasmlp.export.saved_model.signature_outputs import lean
from kerasmlp.export.saved_model.signatures import signature_inputs, signature_names
from kerasmlp.export.saved_model.warm_up_requests import (
    BATCH_SIZES,
    WARM_UP_PATH,
    read_warm_up,
    replay_warm_up,
    write_warm_up,
)
from kerasmlp.lesson.numpy_network import softmax
from kerasmlp.lesson.weight_conversion import numpy_logits
from kerasmlp.run import Run
from kerasmlp.tasks.classification import Classification
from kerasmlp.tasks.regression import Regression
from tests.helpers.image_kinds import encode_image, make_image_kinds
from tests.helpers.tables import frame

Answer = dict[str, Any]


@pytest.fixture(scope="module")
def version(digits_run: Run, digits: Data, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The digits' network as an export writes it, without the export's checks. Tests must not change it."""
    path = tmp_path_factory.mktemp("served") / "digits" / "1"
    card, features = digits_run.card, np.asarray(digits.test.features)
    write_saved_model(digits_run.load_model(), card, path)
    write_warm_up(path, "digits", {name: signature_inputs(card, name, features) for name in signature_names(card)})
    return path


def card_of(feature_shape: tuple[int, ...], columns: tuple[Column, ...] | None = None, **fields: Any) -> Card:
    """Returns the card of a network with two classes."""
    encoder = None if columns is None else tuple(Encoder(columns).to_config())
    known: dict[str, Any] = {"feature_range": None, "class_names": ("lily", "røse"), **fields}
    return Card("flowers", "0" * 64, (1, 2), feature_shape, test_accuracy=None, versions={}, columns=encoder, **known)


def network(card: Card) -> keras.Model:
    """Returns an untrained network for a card."""
    return build_mlp(
        [int(np.prod(card.feature_shape)), 4, len(card.class_names)], input_shape=card.feature_shape, seed=0
    )


def load(path: Path, signature: str = "serving_default") -> Callable[..., Answer]:
    """Returns a signature as a function of arrays, as plain TensorFlow loads it."""
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))

    def call(**inputs: Any) -> Answer:
        tensors = {name: tf.constant(value) for name, value in inputs.items()}
        return {name: output.numpy() for name, output in loaded.signatures[signature](**tensors).items()}

    return call


def serve(path: Path, signature: str = "serving_default", output: str = "class_id") -> Callable[..., np.ndarray]:
    """Returns one output of a signature as a function. Like a server, it runs a session that does not check shapes."""
    import tensorflow as tf
    from tensorflow.core.protobuf.config_pb2 import CallableOptions

    session = tf.compat.v1.Session(graph=tf.Graph())
    with session.graph.as_default():
        signatures = tf.compat.v1.saved_model.loader.load(session, ["serve"], str(path)).signature_def
    inputs, outputs = signatures[signature].inputs, signatures[signature].outputs
    names = sorted(inputs)
    options = CallableOptions(feed=[inputs[name].name for name in names], fetch=[outputs[output].name])
    run = session._make_callable_from_options(options)

    def call(**values: Any) -> np.ndarray:
        answer: np.ndarray = run(*(values[name] for name in names))[0]
        return answer

    return call


def signature_definitions(path: Path) -> dict[str, bytes]:
    """Returns the bytes that describe each signature."""
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    (graph,) = SavedModel.FromString((path / "saved_model.pb").read_bytes()).meta_graphs
    return {name: d.SerializeToString(deterministic=True) for name, d in graph.signature_def.items()}


def test_a_version_loads_in_plain_tensorflow_and_names_its_outputs(
    version: Path, digits_run: Run, digits: Data
) -> None:
    import tensorflow as tf

    loaded = tf.saved_model.load(str(version))
    assert sorted(loaded.signatures) == ["card", "image_bytes", "serving_default"]
    signature = loaded.signatures["serving_default"]
    (spec,) = signature.structured_input_signature[1].values()
    assert (spec.name, spec.dtype, spec.shape.as_list()) == ("image", tf.float32, [None, 8, 8])
    features = np.asarray(digits.test.features, np.float32)
    answer = load(version)(image=features)
    assert {name: array.dtype.name for name, array in answer.items()} == {
        "probabilities": "float32",
        "class_id": "int32",
        "label": "object",
    }
    expected = open_artefact(digits_run.path).probabilities(features)
    np.testing.assert_allclose(answer["probabilities"], expected, rtol=0, atol=1e-6)  # float32
    np.testing.assert_array_equal(answer["class_id"], expected.argmax(axis=1))
    assert [label.decode() for label in answer["label"]] == [digits.class_names[i] for i in answer["class_id"]]
    extra = version / "assets.extra"
    assert (extra / "labels.txt").read_text().split() == list(digits.class_names)
    assert Card.from_json((extra / "card.json").read_text()) == digits_run.card


def test_an_export_is_published_exactly_as_it_was_written_and_checked(
    version: Path, digits_run: Run, digits: Data, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = export_saved_model(digits_run, tmp_path / "digits", data=digits)
    assert capsys.readouterr() == ("", ""), "no progress outside of terminals and notebooks"
    assert report.path == str(tmp_path / "digits" / "1")
    assert (report.agreement, report.accuracy) == (1, digits_run.metrics["test_accuracy"])
    assert report.max_abs_diff is not None
    assert report.max_abs_diff <= 1e-6
    assert [path.name for path in (tmp_path / "digits").iterdir()] == ["1"], "no temporary file is left"
    written = {str(path.relative_to(version)) for path in version.rglob("*")}
    assert {str(path.relative_to(report.path)) for path in Path(report.path).rglob("*")} == written
    assert signature_definitions(Path(report.path)) == signature_definitions(version)


def test_all_exports_describe_their_signatures_with_the_same_bytes(
    version: Path, digits_run: Run, tmp_path: Path
) -> None:
    expected = signature_definitions(version)
    assert expected.keys() == {"__saved_model_init_op", "image_bytes", "serving_default", "card"}
    for number in range(3):
        write_saved_model(digits_run.load_model(), digits_run.card, tmp_path / str(number))
        assert signature_definitions(tmp_path / str(number)) == expected


def test_a_saved_model_computes_what_the_network_written_out_in_numpy_computes(digits: Data, tmp_path: Path) -> None:
    from kerasmlp import train

    model = build_mlp(
        [64, 24, 16, 10], input_shape=(8, 8), activation="tanh", preprocessing=digits.preprocessing(), seed=0
    )
    run = train(model, digits, epochs=2, out=tmp_path / "run")
    write_saved_model(run.load_model(), run.card, tmp_path / "1")
    features = digits.test.features
    expected = softmax(numpy_logits(run.load_model(), features))
    # The oracle computes in float64; float32 logits are right to about 1e-6.
    np.testing.assert_allclose(open_artefact(tmp_path / "1").probabilities(features), expected, atol=1e-5)


WRONG_IMAGES: list[tuple[str, Any, str]] = [
    ("flat", np.zeros((2, 64)), r"\[2,64\] is not compatible with expected shape \[\?,8,8\]"),
    ("one more axis", np.zeros((2, 8, 8, 1)), r"\[2,8,8,1\] is not compatible with expected shape \[\?,8,8\]"),
    ("as many values", np.zeros((2, 4, 16)), r"\[2,4,16\] is not compatible with expected shape \[\?,8,8\]"),
    ("no batch", np.zeros((8, 8)), r"\[8,8\] is not compatible with expected shape \[\?,8,8\]"),
    ("too bright", np.full((1, 8, 8), 255), r"`image` needs values from 0 to 16; .* received are\] \[255\] \[255\]"),
    ("below", np.full((1, 8, 8), -1), r"`image` needs values from 0 to 16; .* received are\] \[-1\] \[-1\]"),
    ("NaN", np.eye(8)[np.newaxis] * np.nan, r"received are\] \[nan\] \[nan\]"),
    ("beside a -0", np.where(np.eye(8), -0.0, 17.0)[np.newaxis], r"received are\] \[-?0\] \[17\]"),
    ("infinite", np.full((1, 8, 8), np.inf), r"received are\] \[inf\] \[inf\]"),
    ("one of many", np.where(np.arange(300 * 64).reshape(300, 8, 8) == 9999, 17, 3), r"received are\] \[3\] \[17\]"),
]


@pytest.fixture(scope="module")
def served(version: Path) -> dict[str, Callable[..., np.ndarray]]:
    """For each output of `serving_default`, a function that asks for this output only."""
    return {output: serve(version, output=output) for output in ("probabilities", "class_id", "label")}


@pytest.mark.parametrize(("images", "message"), [case[1:] for case in WRONG_IMAGES], ids=[c[0] for c in WRONG_IMAGES])
def test_the_graph_refuses_wrong_shapes_and_values_whichever_output_is_requested(
    served: dict[str, Callable[..., np.ndarray]], images: np.ndarray, message: str
) -> None:
    import tensorflow as tf

    for call in served.values():
        with pytest.raises(tf.errors.InvalidArgumentError, match=message):
            call(image=images.astype(np.float32))


def test_the_graph_accepts_every_batch_size_and_both_ends_of_the_range(
    served: dict[str, Callable[..., np.ndarray]],
) -> None:
    for size in (0, 1, 3, 300):
        assert served["probabilities"](image=np.zeros((size, 8, 8), np.float32)).shape == (size, 10)
    ends = np.stack([np.zeros((8, 8)), np.full((8, 8), 16), np.full((8, 8), -0.0)]).astype(np.float32)
    assert len(served["label"](image=ends)) == 3


def test_a_feature_range_may_start_below_zero(tmp_path: Path) -> None:
    import tensorflow as tf

    card = card_of((2, 2), feature_range=(-1.0, 0.5))
    write_saved_model(network(card), card, tmp_path / "1")
    call = serve(tmp_path / "1")
    assert call(image=np.array([[[-1, 0], [0.25, 0.5]]], np.float32)).shape == (1,)
    for wrong in (-1.01, 0.51, np.nan):
        with pytest.raises(tf.errors.InvalidArgumentError, match="`image` needs values from -1 to 0.5; the least"):
            call(image=np.array([[[-1, 0], [wrong, 0.5]]], np.float32))


def test_features_without_a_range_need_to_be_finite(tmp_path: Path) -> None:
    import tensorflow as tf

    card = card_of((3,))
    write_saved_model(network(card), card, tmp_path / "1")
    call = serve(tmp_path / "1")
    assert call(features=np.array([[-1e30, 0, 1e30]], np.float32)).shape == (1,)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"`features` needs finite numbers; .*\[0\] \[inf\]"):
        call(features=np.array([[0, 1, np.inf]], np.float32))
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"\[1,4\] is not compatible with expected shape \[\?,3\]"):
        call(features=np.zeros((1, 4), np.float32))


def test_an_image_file_gets_the_same_answer_as_its_pixels(version: Path, digits: Data) -> None:
    features = digits.test.features[:20].astype(np.float32)
    files = signature_inputs(_card(version), "image_bytes", features)["image_bytes"]
    path = version.parent.parent / "scan.png"
    read = []
    for file in files:
        path.write_bytes(file)
        read.append(read_inputs(path, (8, 8), (0, 16)))
    answer, expected = load(version, "image_bytes")(image_bytes=files), load(version)(image=np.concatenate(read))
    assert answer.keys() == expected.keys()
    np.testing.assert_allclose(answer["probabilities"], expected["probabilities"], rtol=0, atol=1e-6)  # float32
    np.testing.assert_array_equal(answer["label"], expected["label"])
    assert load(version, "image_bytes")(image_bytes=np.array([], object).astype("S1"))["class_id"].shape == (0,)


def _card(version: Path) -> Card:
    return Card.from_json((version / "assets.extra" / "card.json").read_text())


def _photo(height: int, width: int) -> np.ndarray:
    generator = np.random.default_rng(0)
    y, x = np.mgrid[:height, :width]
    waves = np.stack([127 + 90 * np.sin(x / (5 + k)) + 37 * np.cos(y / (3 + k)) for k in range(3)], axis=-1)
    return np.clip(waves + generator.normal(0, 10, waves.shape), 0, 255).astype(np.uint8)


SERVED_KINDS = {name: kind for name, kind in make_image_kinds().items() if kind.is_served}


@pytest.mark.parametrize("shape", [(28, 28), (8, 8, 1), (16, 12, 3)], ids=str)
def test_images_are_decoded_pixel_for_pixel_as_on_the_command_line(shape: tuple[int, ...], tmp_path: Path) -> None:
    import tensorflow as tf

    value_range = (0.0, 255.0) if shape[0] == 28 else (-1.0, 1.0)
    card = card_of(shape, feature_range=value_range)
    read = tf.function(lambda files: decode_images(files, card), input_signature=[tf.TensorSpec((None,), tf.string)])
    files = {name: kind.content for name, kind in SERVED_KINDS.items()}
    # The right size; larger, which is averaged; smaller, which is interpolated; and much higher than wide.
    for size in (shape[:2], (41, 120), (5, 9), (200, 20)):
        for kind in ("PNG", "JPEG"):
            files[f"{kind}, {size}"] = encode_image(_photo(*size), kind)
    for name, content in files.items():
        (tmp_path / "photo").with_suffix(".png").write_bytes(content)  # the ending does not matter
        expected = read_inputs(tmp_path / "photo.png", shape, value_range)[0]
        np.testing.assert_array_equal(read([content])[0], expected, err_msg=name)


def test_every_kind_of_image_file_gets_the_same_answer_as_its_pixels(tmp_path: Path) -> None:
    shape = (6, 10, 3)
    card = card_of(shape, feature_range=(0.0, 1.0))
    write_saved_model(network(card), card, tmp_path / "1")
    features = []
    for name, kind in SERVED_KINDS.items():
        path = tmp_path / f"{name}{kind.suffix}"
        path.write_bytes(kind.content)
        features.append(read_inputs(path, shape, (0, 1)))
    answer = load(tmp_path / "1", "image_bytes")(image_bytes=[kind.content for kind in SERVED_KINDS.values()])
    expected = load(tmp_path / "1")(image=np.concatenate(features))
    assert len(np.unique(expected["probabilities"])) > 10, "pictures have different answers"
    np.testing.assert_array_equal(answer["probabilities"], expected["probabilities"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"needs to be a PNG or JPEG file; received one that begins with\] \[\]"),
        (b"GIF89a", r"needs to be a PNG or JPEG file; received one that begins with\] \[GIF\]"),
        (b"\x89PNG\r\n\x1a\nbroken", "Invalid PNG"),
        (b"\xff\xd8\xff\xe0broken", "Invalid JPEG"),
    ],
    ids=["nothing", "another format", "a damaged PNG", "a damaged JPEG"],
)
def test_the_graph_refuses_files_that_are_not_images(
    serve_images: Callable[..., np.ndarray], content: bytes, message: str
) -> None:
    import tensorflow as tf

    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        serve_images(image_bytes=np.array([content], object))


@pytest.fixture(scope="module")
def serve_images(version: Path) -> Callable[..., np.ndarray]:
    """A function that returns the class of image files, as a server computes it."""
    return serve(version, "image_bytes")


def test_image_files_need_to_be_a_list(serve_images: Callable[..., np.ndarray]) -> None:
    import tensorflow as tf

    with pytest.raises(tf.errors.InvalidArgumentError, match=r"\[1,1\] is not compatible with expected shape \[\?\]"):
        serve_images(image_bytes=np.array([[b"\x89PNG"]], object))


COLUMNS = (
    Column("size", "number", fill=3.0, has_missing=True),
    Column("2nd size", "number", fill=-1.5),
    Column("is new", "boolean", fill=0.5),
    Column("colour", "category", categories=("", "red", "grün")),
    Column("class", "category", categories=("a", "b")),
)
ROWS = pd.DataFrame(
    {
        "size": [1.5, None, 2.0, None, -7.25, 0.1],
        "2nd size": [0.0, 1.0, None, 1e6, 1e-6, 3.3],
        "is new": [True, None, "no", " Yes ", 0, "FALSE"],
        "colour": ["red", None, "blue", "grün", "", "Red"],
        "class": ["a", "b", None, "c", "a", "b"],
    }
)


@pytest.fixture(scope="module")
def table_version(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network for `COLUMNS`, written without the export's checks."""
    card = card_of((9,), COLUMNS)
    path = tmp_path_factory.mktemp("table") / "1"
    write_saved_model(network(card), card, path)
    return path


def raw_inputs(rows: pd.DataFrame) -> dict[str, np.ndarray]:
    """Returns rows as a client sends them, converted without kerasmlp."""
    texts = {
        name: np.array(["" if pd.isna(value) else str(value) for value in rows[column]], object)
        for column, name in (("is new", "is_new"), ("colour", "colour"), ("class", "class_"))
    }
    numbers = {"size": rows["size"], "column_2nd_size": rows["2nd size"]}
    return {name: values.to_numpy(np.float32) for name, values in numbers.items()} | texts


def test_raw_rows_get_the_same_answers_as_their_encoded_features(table_version: Path) -> None:
    encoded = Encoder(COLUMNS).encode(ROWS, source="rows")
    expected = load(table_version)(features=encoded)
    answer = load(table_version, "columns")(**raw_inputs(ROWS))
    for name in ("probabilities", "class_id", "label"):
        np.testing.assert_array_equal(answer[name], expected[name])
    assert len(np.unique(answer["probabilities"][:, 0])) == len(ROWS), "every row has another answer"
    described = json.loads((table_version / "assets.extra" / "columns.json").read_text(encoding="utf-8"))
    assert {row["column"]: row["input"] for row in described} == {
        "size": "size",
        "2nd size": "column_2nd_size",
        "is new": "is_new",
        "colour": "colour",
        "class": "class_",
    }
    assert described[0] == {"column": "size", "input": "size", "kind": "number", "dtype": "float32", "missing": "NaN"}


def test_rows_recovered_from_features_are_encoded_as_the_same_features(table_version: Path) -> None:
    encoded = Encoder(COLUMNS).encode(ROWS, source="rows")
    inputs = signature_inputs(card_of((9,), COLUMNS), "columns", encoded)
    answer = load(table_version, "columns")(**inputs)
    np.testing.assert_array_equal(answer["probabilities"], load(table_version)(features=encoded)["probabilities"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"is_new": np.array(["yes", "maybe"] * 3, object)}, r"`is new` needs true or false .*received\] \[maybe"),
        ({"size": np.array([1, 2, np.inf, 3, 4, 5], np.float32)}, r"`columns` needs finite numbers; .*\[inf\]"),
        ({"size": np.ones(5, np.float32)}, r"as many values as there are rows; received\] \[5 6 6"),
        ({"colour": np.array([["red"]] * 6, object)}, r"colour.* \[6,1\] is not compatible with expected shape \[\?\]"),
    ],
    ids=["not a boolean", "infinite", "another length", "another shape"],
)
def test_the_graph_refuses_raw_rows_that_cannot_be_encoded(
    table_version: Path, change: dict[str, np.ndarray], message: str
) -> None:
    import tensorflow as tf

    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        serve(table_version, "columns")(**raw_inputs(ROWS) | change)


BOOLEAN = Encoder((Column("is new", "boolean", fill=0.5),))


@pytest.mark.parametrize("word", [*TRUE_WORDS, *FALSE_WORDS])
def test_training_and_serving_read_every_boolean_word_the_same_way(word: str) -> None:
    import tensorflow as tf

    spellings = [word, word.upper(), word.title(), f" {word}", f"{word}\t\n"]
    in_training = BOOLEAN.encode(pd.DataFrame({"is new": spellings}), source="rows")
    in_graph, _ = encode_columns(BOOLEAN, {"is_new": tf.constant(spellings)})
    np.testing.assert_array_equal(in_graph.numpy(), in_training)
    np.testing.assert_array_equal(in_training, np.full((len(spellings), 1), word in TRUE_WORDS, np.float32))


@pytest.mark.parametrize("word", ["maybe", "t", "f", "y", "n", "on", "off", "2", "0.5", "tru e"])
def test_training_and_serving_refuse_the_same_boolean_words(word: str) -> None:
    import tensorflow as tf

    with pytest.raises(InvalidValue, match=f"`is new`.*`{word}`"):
        BOOLEAN.encode(pd.DataFrame({"is new": [word]}), source="rows")
    with pytest.raises(tf.errors.InvalidArgumentError, match=f"`is new` .*{word}"):
        encode_columns(BOOLEAN, {"is_new": tf.constant([word])})


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (["a b", "a_b", "a_b_2", "a-b"], ["a_b_3", "a_b", "a_b_2", "a_b_4"]),
        (["Size", "size", "SIZE"], ["size_2", "size", "size_3"]),
        (["", " ", "_x", "7", "übung"], ["column_", "column__", "column__x", "column_7", "column__bung"]),
        (["from", "From", "from_"], ["from__2", "from__3", "from_"]),
    ],
    ids=["collisions", "cases", "no letters", "keywords"],
)
def test_input_names_follow_the_documented_rule_and_can_be_served(
    tmp_path: Path, columns: list[str], expected: list[str]
) -> None:
    assert list(column_input_names(columns).values()) == expected
    card = card_of((len(columns),), tuple(Column(name, "number") for name in columns))
    write_saved_model(network(card), card, tmp_path / "1")
    features = np.arange(2 * len(columns), dtype=np.float32).reshape(2, -1)
    inputs = dict(zip(expected, features.T, strict=True))
    expected_probabilities = load(tmp_path / "1")(features=features)["probabilities"]
    np.testing.assert_array_equal(load(tmp_path / "1", "columns")(**inputs)["probabilities"], expected_probabilities)
    signature = signature_definitions(tmp_path / "1")["columns"]
    assert all(name.encode() in signature for name in expected)


def test_warm_up_requests_are_real_examples_for_every_signature_and_batch_size(version: Path, digits: Data) -> None:
    requests = read_warm_up(version)
    expected = [(signature, size) for signature in ("serving_default", "image_bytes") for size in BATCH_SIZES]
    assert [(r.signature, len(next(iter(r.inputs.values())))) for r in requests] == expected
    assert {request.model for request in requests} == {"digits"}
    np.testing.assert_array_equal(requests[2].inputs["image"], digits.test.features[:256])
    assert replay_warm_up(version, ("serving_default", "image_bytes"), name="it") == 6


@pytest.mark.parametrize(
    ("signature", "inputs", "message"),
    [
        ("serving_default", {"image": np.zeros((1, 8, 8))}, "request 1, .*`serving_default`.*float64.*float32"),
        ("serving_default", {"picture": np.zeros((1, 8, 8), np.float32)}, "request 1, .*picture.*image"),
        ("serving_default", {"image": np.full((1, 8, 8), 99, np.float32)}, "request 1, .*`serving_default`"),
        ("serve", {"image": np.zeros((1, 8, 8), np.float32)}, "1 warm-up requests, for .'serve'.*'serving_default'"),
    ],
    ids=["another type", "another name", "another range", "another signature"],
)
def test_warm_up_requests_that_a_server_would_refuse_are_found(
    version: Path, tmp_path: Path, signature: str, inputs: dict[str, np.ndarray], message: str
) -> None:
    import tensorflow as tf

    copy = shutil.copytree(version, tmp_path / "1")
    with tf.io.TFRecordWriter(str(copy / WARM_UP_PATH)) as records:
        request = predict_request("digits", inputs, signature=signature)
        records.write(prediction_log(request).SerializeToString())
    with pytest.raises(ParityError, match=message):
        replay_warm_up(copy, ("serving_default",), name="It")


def test_a_version_that_differs_from_its_keras_model_is_not_published(
    digits_run: Run, digits: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def write_broken(model: keras.Model, card: Card, path: Path, **options: Any) -> None:
        kernel = model.get_layer("logits").kernel
        kernel.assign(kernel * 1.0001)
        write_saved_model(model, card, path, **options)

    monkeypatch.setattr("kerasmlp.export.saved_model.exporting.write_saved_model", write_broken)
    base = tmp_path / "digits"
    assert main(["export", str(digits_run.path), "--saved-model", str(base)]) == 1
    message = capfd.readouterr().err
    assert f"`{base}/1`, signature `serving_default`" in message
    assert "1e-06. It is not published." in message
    assert not list(base.iterdir())


EXPECTED = np.array([[0.75, 0.25], [0.25, 0.75]], np.float32)
RIGHT = {
    "probabilities": EXPECTED,
    "class_id": np.array([0, 1], np.int32),
    "label": np.array([b"lily", "røse".encode()], object),
}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"probabilities": EXPECTED + np.float32(2e-6)},
            "100.00% of 2 test examples.*2.*e-06",
        ),
        ({"probabilities": EXPECTED * np.nan}, "probabilities.*not finite"),
        ({"probabilities": EXPECTED[:1]}, r"probabilities \(1, 2\); .* probabilities \(2, 2\)"),
        ({"class_id": np.array([1, 1])}, "50.00% of 2 test examples"),
        ({"class_id": np.array([0, 2])}, "50.00% of 2 test examples"),
        ({"class_id": np.array([0, -1])}, "50.00% of 2 test examples"),
        ({"label": np.array([b"lily", b"rose"], object)}, "test example 1 `rose`; .*`røse`"),
    ],
    ids=["a difference", "not finite", "too few", "another class", "no class", "less than a class", "another label"],
)
def test_answers_that_differ_from_the_keras_model_are_refused(change: dict[str, np.ndarray], message: str) -> None:
    assert check_answers("It", RIGHT, EXPECTED, Classification(("lily", "røse"))) == 0
    with pytest.raises(ParityError, match=message):
        check_answers("It", RIGHT | change, EXPECTED, Classification(("lily", "røse")))


def test_a_lean_model_answers_exactly_what_its_model_answers_from_fewer_operations(digits: Data) -> None:
    import keras
    import tensorflow as tf

    class Own(keras.layers.Layer):
        def call(self, inputs: Any, training: bool = True) -> Any:
            return inputs * 2 if training else inputs

    inputs = keras.Input((8, 8))
    flat = keras.layers.Flatten()(keras.layers.Rescaling(1 / 16)(inputs))
    branches = [keras.layers.Dense(4)(flat), keras.layers.Dense(4)(Own()(keras.layers.Rescaling(2, offset=1)(flat)))]
    model = keras.Model(inputs, keras.layers.Add()(branches))
    features = digits.test.features[:32].astype(np.float32)
    leaner = lean(model)
    np.testing.assert_array_equal(leaner(features, training=False), model(features, training=False))

    def operations(network: keras.Model) -> int:
        function = tf.function(lambda features: network(features, training=False))
        return len(function.get_concrete_function(tf.TensorSpec((None, 8, 8))).graph.get_operations())

    assert operations(leaner) <= operations(model) - 6


def test_either_of_two_equally_probable_classes_is_right() -> None:
    expected = np.array([[0.5, np.nextafter(np.float32(0.5), np.float32(1))]], np.float32)
    for probabilities, class_id, label in ((expected[:, ::-1], 0, b"lily"), (expected, 1, b"rose")):
        answers = {"probabilities": probabilities, "class_id": np.array([class_id]), "label": np.array([label], object)}
        assert check_answers("It", answers, expected, Classification(("lily", "rose"))) <= 1e-7


def test_the_process_of_the_check_refuses_to_run_with_kerasmlp_imported() -> None:
    code = f"import kerasmlp, runpy; runpy.run_path({str(PROGRAM)!r}, run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "must not import kerasmlp" in done.stderr


def test_a_savedmodel_that_does_not_load_in_plain_tensorflow_is_not_published(tmp_path: Path) -> None:
    with start_plain_tensorflow() as plain, pytest.raises(ParityError, match="It .*plain TensorFlow .*absent"):
        plain.run(tmp_path / "absent", {"serving_default": {}}, name="It")


def test_a_network_for_a_table_is_exported_with_its_columns_and_keep_deletes_older_versions(
    flowers_run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = tmp_path / "flowers"
    for number in (3, 4, 7):
        (base / str(number)).mkdir(parents=True)
        (base / str(number) / "saved_model.pb").touch()
    data = data_from_frame(frame(), "kind", test_share=0.2)
    report = export_saved_model(flowers_run, base, data=data, keep=2, verbose=1)
    out, err = capsys.readouterr()
    assert out == ""
    assert f"{base / '8'}: " in err
    assert f"accuracy {report.accuracy:.2%} (Keras model {report.keras_accuracy:.2%})" in err
    assert report.path == str(base / "8")
    assert (report.agreement, report.accuracy) == (1, flowers_run.metrics["test_accuracy"])
    assert report.max_abs_diff is not None
    assert report.max_abs_diff <= 1e-6
    assert sorted(path.name for path in base.iterdir()) == ["7", "8"]
    assert signature_names(flowers_run.card) == ("serving_default", "columns", "rows")
    assert len(read_warm_up(base / "8")) == 3 * len(BATCH_SIZES) + 1


def test_impossible_exports_are_refused_and_write_nothing(
    digits_run: Run, digits: Data, version: Path, tmp_path: Path
) -> None:
    occupied = tmp_path / "file"
    occupied.write_text("mine")
    for base in (occupied, occupied / "below"):
        with pytest.raises(OutputExists, match="file` is a file"):
            export_saved_model(digits_run, base, data=digits)
    with pytest.raises(OutputExists, match=f"`{version}` is .*`{version.parent}`"):
        export_saved_model(digits_run, version, data=digits)
    for keep in (0, -1, True):
        with pytest.raises(InvalidValue, match=f"`keep`.*1.*{keep}"):
            export_saved_model(digits_run, tmp_path / "served", data=digits, keep=keep)
    with pytest.raises(InvalidValue, match="`verbose` .*loud"):
        export_saved_model(digits_run, tmp_path / "served", data=digits, verbose="loud")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_network_that_would_break_existing_clients_is_refused(
    version: Path, tmp_path: Path, flowers_run: Run
) -> None:
    base = tmp_path / "digits"
    shutil.copytree(version.parent, base)
    with pytest.raises(InvalidValue, match=r"digits/1` .*\(8, 8\), .*`size` \(number\), .*`allow_change=True`"):
        export_saved_model(flowers_run, base)
    card = Card.from_json((base / "1" / "assets.extra" / "card.json").read_bytes())
    renamed = dataclasses.replace(card, task=None, class_names=(*card.class_names[:-1], "ten"))
    check_same_contract(card, base)
    with pytest.raises(InvalidValue, match="classes 0, .*, 9, .*classes 0, .*, ten, .*`allow_change=True`"):
        check_same_contract(renamed, base)
    assert [path.name for path in base.iterdir()] == ["1"]


# Networks for numbers


def houses_export(
    run: Run, data: Data, base: Path, capsys: pytest.CaptureFixture[str]
) -> tuple[dict[str, Answer], Answer]:
    """Exports a network for numbers; returns what each signature and the Keras model answer to all test examples."""
    report = export_saved_model(run, base, data=data, verbose=1)
    assert (report.accuracy, report.keras_accuracy, report.agreement, report.task) == (None, None, None, "regression")
    assert report.to_dict().keys() & {"accuracy", "agreement", "rmse", "keras_rmse"} == {"rmse", "keras_rmse"}
    assert report.keras_scores["rmse"] == pytest.approx(run.metrics["test_rmse"], rel=1e-6)
    assert report.scores["rmse"] == pytest.approx(report.keras_scores["rmse"], rel=1e-6)
    assert report.max_abs_diff is not None
    assert report.max_abs_diff <= 1e-6
    assert "standard deviations" in " ".join(capsys.readouterr().err.split())
    card = run.card
    found = {}
    for name in signature_names(card):
        found[name] = load(base / "1", name)(**signature_inputs(card, name, np.asarray(data.test.features)))
    return found, {"values": open_artefact(run.path).answers(data.test.features)}


@pytest.fixture(scope="module")
def rivers(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Data]:
    """A network for the logarithm of two targets of very different sizes."""
    from kerasmlp import train

    table = frame(120).drop(columns="kind").dropna()
    table = table.assign(depth=np.exp(table["size"] / 4), flow=1e6 * np.exp(table["size"]))
    data = data_from_frame(table, ["depth", "flow"], log_target=True, test_share=0.3)
    model = build_mlp(
        [data.num_features, 6, 2],
        input_shape=data.feature_shape,
        preprocessing=data.preprocessing(),
        postprocessing=data.postprocessing(),
        seed=0,
    )
    return train(model, data, epochs=3, learning_rate=0.01, out=tmp_path_factory.mktemp("runs") / "rivers"), data


def test_every_signature_answers_numbers_in_the_targets_own_units(
    houses_run: Run, houses: Data, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found, expected = houses_export(houses_run, houses, tmp_path / "houses", capsys)
    assert found.keys() == {"serving_default", "columns", "rows"}
    spread = houses.train.labels.std()
    for answer in found.values():
        assert answer.keys() == {"values"}
        assert (answer["values"].dtype, answer["values"].shape) == (np.float32, (len(houses.test), 1))
        np.testing.assert_allclose(answer["values"], expected["values"], rtol=0, atol=1e-6 * spread)
    assert np.abs(answer["values"] - houses.test.labels).mean() < spread, "the numbers are prices"
    opened = open_artefact(tmp_path / "houses")
    assert (opened.task, opened.num_outputs, opened.known_names) == (houses_run.card.task, 1, {})
    with pytest.raises(InvalidValue, match="answers values, not probabilities"):
        opened.probabilities(houses.test.features)
    card = load(tmp_path / "houses" / "1", "card")(request=[b"card"])
    assert (card["class_names"].tolist(), Card.from_json(card["card"][0])) == ([[b"price"]], houses_run.card)
    assert (tmp_path / "houses" / "1" / "assets.extra" / "labels.txt").read_text() == "price\n"


def test_logarithms_and_several_targets_are_undone_in_the_graph(
    rivers: tuple[Run, Data], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, data = rivers
    found, expected = houses_export(run, data, tmp_path / "rivers", capsys)
    spread = data.train.labels.std(axis=0)
    assert spread[1] > 1e6 * spread[0]
    for answer in found.values():
        assert (answer["values"] > 0).all()
        differences = np.abs(answer["values"].astype(np.float64) - expected["values"]) / spread
        assert differences.max() <= 1e-6


def test_a_saved_model_for_numbers_without_a_card_is_recognised_by_its_output(houses_run: Run, tmp_path: Path) -> None:
    write_saved_model(houses_run.load_model(), houses_run.card, tmp_path / "1")
    shutil.rmtree(tmp_path / "1" / "assets.extra")
    opened = open_artefact(tmp_path / "1")
    assert (opened.card, opened.task.kind, opened.answers(np.zeros((2, 5))).shape) == (None, "regression", (2, 1))


TWO = Regression(("price", "year"), means=(3e5, 2000.0), scales=(1e5, 0.5))
NUMBERS = np.array([[2e5, 1999.0], [4e5, 2001.0]], np.float32)


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        (
            {"values": NUMBERS + np.array([0.4, 0], np.float32)},
            "0.00% of 2 test examples, .* values.* 4.*e-06 standard",
        ),
        ({"values": NUMBERS + np.array([0, 0.01], np.float32)}, "0.00% of 2 test examples, and its values.* 2.*e-02"),
        ({"values": NUMBERS * np.nan}, "values that are not finite"),
        ({"values": NUMBERS[:, :1]}, r"values \(2, 1\); expected values \(2, 2\)"),
        ({"values": NUMBERS, "label": np.array([b"a", b"b"], object)}, r"label \(2,\), values .*; expected values"),
        ({"numbers": NUMBERS}, "numbers .*; expected values"),
    ],
    ids=["one target", "the other target", "not finite", "a missing target", "another output", "another name"],
)
def test_numbers_that_differ_from_the_keras_models_are_refused(answers: Any, message: str) -> None:
    with pytest.raises(ParityError, match=message):
        check_answers("It", answers, NUMBERS, TWO)


def test_numbers_may_differ_by_the_rounding_of_float32() -> None:
    near = np.nextafter(NUMBERS, np.float32(np.inf))  # a year is rounded to 2e-4 of this standard deviation
    assert 1e-6 < check_answers("It", {"values": near}, NUMBERS, TWO) < 1e-3


def test_a_network_for_another_task_or_other_targets_is_refused(houses_run: Run, tmp_path: Path) -> None:
    card = houses_run.card
    extra = tmp_path / "houses" / "1" / "assets.extra"
    extra.mkdir(parents=True)
    (extra / "card.json").write_text(card.to_json())
    check_same_contract(card, tmp_path / "houses")
    assert isinstance(card.task, Regression)
    logarithm = dataclasses.replace(card, task=dataclasses.replace(card.task, log=True))
    check_same_contract(logarithm, tmp_path / "houses")
    for changed, message in (
        (dataclasses.replace(card, task=None, class_names=("price",)), "trained for regression, but .* classification"),
        (dataclasses.replace(card, task=Regression(("rent",))), "has the targets price, but .* rent"),
    ):
        with pytest.raises(InvalidValue, match=f"{message}.*`allow_change=True`"):
            check_same_contract(changed, tmp_path / "houses")


def test_a_version_may_answer_more_but_not_less_than_the_one_before(tmp_path: Path) -> None:
    card = card_of((4,))
    (tmp_path / "1" / "assets.extra").mkdir(parents=True)
    (tmp_path / "1" / "assets.extra" / "card.json").write_text(card.to_json())

    class Richer(Classification):
        @property
        def outputs(self) -> dict[str, Any]:
            return {**super().outputs, "prediction_set": ("int32", (2,))}

    class Poorer(Classification):
        @property
        def outputs(self) -> dict[str, Any]:
            return {"probabilities": ("float32", (2,))}

    check_same_contract(dataclasses.replace(card, task=Richer(card.class_names)), tmp_path)
    with pytest.raises(InvalidValue, match="answers `class_id` int32 .*, but this network answers `probabilities`"):
        check_same_contract(dataclasses.replace(card, task=Poorer(card.class_names)), tmp_path)
