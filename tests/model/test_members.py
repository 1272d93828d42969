"""Networks with members: what they compute, how they learn, and that files keep it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from kerasmlp import build_mlp, evaluate, load_data, mlp_for, open_artefact, train
from kerasmlp.artefacts.tflite_runners import InterpreterRunner
from kerasmlp.cli import main
from kerasmlp.cli.result_tables import show_run
from kerasmlp.engine import block_dataset, prepare
from kerasmlp.errors import InvalidValue
from kerasmlp.export import export_saved_model, export_tflite
from kerasmlp.export.tflite.converting import convert
from kerasmlp.export.tflite.folding import fold
from kerasmlp.model.members import members_of
from kerasmlp.model.model_files import load_keras

SIZES = [5, 4, 3]
X = np.random.default_rng(0).normal(size=(23, 5)).astype(np.float32)
Y = np.random.default_rng(1).integers(0, 3, 23)


def _alone(model: keras.Model, member: int) -> keras.Model:
    """Returns a plain network with the weights of one member."""
    alone = build_mlp(SIZES)
    for layer in alone.layers:
        if layer.weights:
            kernel, bias = model.get_layer(layer.name).get_weights()
            layer.set_weights([kernel[member], bias[member, 0]])
    return alone


def _compiled(model: keras.Model) -> keras.Model:
    model.compile(keras.optimizers.SGD(0.3), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def test_the_answer_is_the_mean_of_members_that_differ(tmp_path: Path) -> None:
    model = build_mlp(SIZES, members=3, seed=0)
    members = np.stack([_alone(model, member).predict(X, verbose=0) for member in range(3)])
    answers = model.predict(X, verbose=0)
    np.testing.assert_allclose(answers, members.mean(axis=0), atol=1e-6)
    assert (np.abs(members - answers).max(axis=(1, 2)) > 0.01).all()
    assert members_of(model) == 3
    np.testing.assert_array_equal(model.get_weights()[0], build_mlp(SIZES, members=3, seed=0).get_weights()[0])
    model.save(tmp_path / "model.keras")
    np.testing.assert_array_equal(load_keras(tmp_path / "model.keras").predict(X, verbose=0), answers)


@pytest.mark.parametrize("engine", [False, True], ids=["Keras's fit", "engine"])
def test_each_member_learns_from_its_share_of_a_step(engine: bool) -> None:
    model = build_mlp(SIZES, members=3, seed=0)
    alone = [_compiled(_alone(model, member)) for member in range(3)]
    _compiled(model)
    if engine:
        prepare(model, batch_size=23)
        model.fit(block_dataset(X, Y, batch_size=23, shuffle=False), shuffle=False, verbose=0)
    else:
        model.fit(X, Y, batch_size=23, shuffle=False, verbose=0)
    for member, network in enumerate(alone):
        share = slice(member * 8, member * 8 + 8)  # the last has 7 of the 23
        network.optimizer.learning_rate = 0.3 * 3 * len(X[share]) / 23  # the last share is smaller
        network.fit(X[share], Y[share], batch_size=8, shuffle=False, verbose=0)
        for ours, theirs in zip(_alone(model, member).get_weights(), network.get_weights(), strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_members_are_trained_and_exported_as_one_network(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    iris = load_data("iris")
    model = mlp_for(iris, hidden=[8, 8], members=4, seed=0)
    run = train(model, iris, epochs=6, out=tmp_path / "run")
    assert run.config["model"]["members"] == 4
    assert run.config["model"]["sizes"] == [4, 8, 8, 3]
    about = {"recipe": "table", "dropout": 0.2, "embedding": 8, "loss": "cross_entropy", "label_smoothing": 0.1}
    assert {name: run.metrics[name] for name in about} == about
    show_run(run)
    assert "table, 8 learnt features of each number, dropout 0.2, smoothed labels" in capsys.readouterr().out
    # A new process knows no layers but Keras's own. The documentation says what to import.
    code = (
        "import sys, keras, kerasmlp.model.members, kerasmlp.data.number_embeddings\n"
        "keras.saving.load_model(sys.argv[1] + '/model.keras', compile=False)\n"
        "from kerasmlp import Run; Run.open(sys.argv[1]).load_model()"
    )
    subprocess.run([sys.executable, "-c", code, str(run.path)], check=True)
    reports = [
        *export_tflite(run, tmp_path / "mobile", quantize=["float32", "int8"], max_drop=0.1),
        export_saved_model(run, tmp_path / "served"),
    ]
    assert all(report.published for report in reports)
    files = list((tmp_path / "mobile").glob("*.tflite"))
    assert len(files) == 2
    for path in (*files, tmp_path / "served"):
        card = open_artefact(path).card
        assert card is not None
        assert card.members == 4
    assert main(["info", str(files[0])]) == 0
    assert "4 - 8 - 8 - 3, 4 members" in capsys.readouterr().out
    assert evaluate(files[0], iris).accuracy == pytest.approx(run.metrics["test_accuracy"], abs=0.07)


@pytest.mark.parametrize(("hidden", "activation"), [([4], "gelu"), ([4, 4], "relu"), ([4, 4], "softmax")])
def test_a_file_computes_each_member_by_itself(hidden: list[int], activation: str) -> None:
    model = build_mlp([5, *hidden, 3], members=3, activation=activation, seed=0)
    content = convert(fold(model), "features", batch_size=len(X), output="logits")
    np.testing.assert_allclose(InterpreterRunner(content).run(X), np.asarray(model(X)), atol=1e-6)


def test_wrong_members_are_refused() -> None:
    with pytest.raises(InvalidValue, match="`members` needs to be a whole number of at least 1; got 0"):
        build_mlp(SIZES, members=0)
    with pytest.raises(InvalidValue, match="`members` needs to be a whole number of at least 1; got 0"):
        mlp_for(load_data("iris"), members=0)
    with pytest.raises(InvalidValue, match="`batch_normalization` works for one member only; got `members=2`"):
        build_mlp(SIZES, members=2, batch_normalization=True)
