"""`committee`: the network of several runs answers with their mean, and everything else is that of an ordinary run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kerasmlp
from kerasmlp.data.types import Data
from kerasmlp.errors import InvalidType, InvalidValue
from kerasmlp.export import export_saved_model, export_tflite
from kerasmlp.model.committees import join_networks
from kerasmlp.run import Run
from tests.helpers.small_tasks import KINDS, small_data, small_network


def trained(data: Data, out: Path, seed: int = 0, **options: Any) -> Run:
    hidden = options.pop("hidden", [24, 12])
    build = {name: options.pop(name) for name in ("recipe", "activation", "batch_normalization") if name in options}
    model = kerasmlp.mlp_for(data, hidden=hidden, members=options.pop("members", 1), seed=seed, **build)
    return kerasmlp.train(model, data, out=out, **{"epochs": 3, "batch_size": 32, **options})


@pytest.fixture(scope="module")
def runs(digits: Data, tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    """Three networks with batch normalisation."""
    folder = tmp_path_factory.mktemp("runs")
    return [trained(digits, folder / f"{seed}", seed, batch_normalization=True) for seed in (1, 2, 3)]


@pytest.fixture(scope="module")
def joined(runs: list[Run], digits: Data, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return kerasmlp.committee(runs, data=digits, out=tmp_path_factory.mktemp("runs") / "joined")


def outputs(run: Run, data: Data) -> np.ndarray:
    return np.asarray(run.load_model().predict(data.test.features, verbose=0))


def test_the_logits_are_the_mean_of_those_of_the_runs(joined: Run, runs: list[Run], digits: Data) -> None:
    expected = np.mean([outputs(run, digits) for run in runs], axis=0)
    assert np.abs(outputs(joined, digits) - expected).max() < 1e-5  # sums of float32 in another order


def test_a_committee_of_one_is_its_run(runs: list[Run], digits: Data, tmp_path: Path) -> None:
    run = kerasmlp.committee(runs[:1], data=digits, out=tmp_path / "one")
    assert np.abs(outputs(run, digits) - outputs(runs[0], digits)).max() < 1e-5
    assert run.metrics["test_accuracy"] == runs[0].metrics["test_accuracy"]
    assert "members" not in run.metrics


def test_it_is_an_ordinary_run(joined: Run, runs: list[Run], digits: Data) -> None:
    metrics = joined.metrics
    assert metrics["test_accuracy"] == kerasmlp.evaluate(joined.path, digits).accuracy
    assert metrics["members"] == joined.card.members == 3
    assert metrics["epochs"] == 3
    assert joined.history == []
    assert [each["test_accuracy"] for each in metrics["committee_of"]] == [r.metrics["test_accuracy"] for r in runs]
    assert not Path(metrics["committee_of"][0]["run"]).is_absolute()
    assert (joined.path / metrics["committee_of"][0]["run"]).resolve() == runs[0].path.resolve()
    assert (joined.path / "labels.txt").read_text() == (runs[0].path / "labels.txt").read_text()
    assert joined.load_data().fingerprint == digits.fingerprint
    assert metrics["val_loss"] == pytest.approx(metrics["val_log_loss"], rel=1e-4)


def test_it_is_exported_with_parity(joined: Run, digits: Data, tmp_path: Path) -> None:
    (report,) = export_tflite(joined, tmp_path / "mobile", quantize=["float32"], data=digits)
    assert report.published
    assert report.max_abs_diff is not None
    assert report.max_abs_diff < 1e-5
    assert export_saved_model(joined, tmp_path / "served", data=digits).published


@pytest.mark.parametrize("kind", KINDS)
def test_committees_of_every_task_answer_with_the_mean(kind: str, tmp_path: Path) -> None:
    data = small_data(kind)
    both = [
        kerasmlp.train(small_network(data, 8, seed), data, epochs=6, learning_rate=0.02, out=tmp_path / f"{seed}")
        for seed in (1, 2)
    ]
    run = kerasmlp.committee(both, data=data, out=tmp_path / "both")
    own, its = outputs(run, data), [outputs(each, data) for each in both]
    if kind == "quantiles":  # the middle one is the mean; the steps to the others are means before they become positive
        assert (np.diff(own, axis=1) >= 0).all()
        own, its = own[:, 1:2], [each[:, 1:2] for each in its]
    expected = np.exp(np.mean(np.log(its), axis=0)) if kind == "logarithms" else np.mean(its, axis=0)
    assert np.abs(own / expected - 1).max() < 1e-3
    (report,) = export_tflite(run, tmp_path / "mobile", quantize=["float32"], data=data)
    assert report.published


def test_networks_with_members_are_joined_to_one_with_all_of_them(digits: Data, tmp_path: Path) -> None:
    both = [trained(digits, tmp_path / f"{seed}", seed, hidden=[12], members=2, epochs=1) for seed in (1, 2)]
    run = kerasmlp.committee(both, data=digits, out=tmp_path / "both")
    assert run.metrics["members"] == 4
    expected = np.mean([outputs(each, digits) for each in both], axis=0)
    assert np.abs(outputs(run, digits) - expected).max() < 1e-5


def test_a_committee_is_calibrated_anew(tmp_path: Path) -> None:
    data = kerasmlp.load_data("digits", validation_share=0.3)
    both = [trained(data, tmp_path / f"{seed}", seed, hidden=[4], epochs=4) for seed in (1, 2)]
    run = kerasmlp.committee(both, data=data, out=tmp_path / "both")
    assert run.metrics["calibration"]["temperature"] != 1
    assert run.card.learnt.limits is not None  # type: ignore[attr-defined]


def test_a_committee_teaches(joined: Run, digits: Data, tmp_path: Path) -> None:
    student = kerasmlp.distill(joined, digits, sizes=[64, 8, 10], copies=1, epochs=2, out=tmp_path / "student")
    assert student.metrics["teachers"][0]["members"] == 3


def test_the_same_call_is_refused_when_it_is_finished(joined: Run, runs: list[Run], digits: Data) -> None:
    with pytest.raises(FileExistsError, match="this same run, finished"):
        kerasmlp.committee(runs, data=digits, out=joined.path)


ALIKE: dict[str, tuple[dict[str, Any], str]] = {
    "sizes": ({"hidden": [24, 11]}, r"`sizes`.*24, 12.*24, 11"),
    "depth": ({"hidden": [24]}, r"`sizes`"),
    "activation": ({"activation": "elu"}, "`activation`.*relu.*elu"),
    "members": ({"members": 2}, "`members`.*1.*2"),
    "calibration": ({"calibrate": False}, "`calibrate`"),
}


@pytest.mark.parametrize("name", ALIKE)
def test_networks_that_differ_are_refused(name: str, runs: list[Run], digits: Data, tmp_path: Path) -> None:
    options, words = ALIKE[name]
    other = trained(digits, tmp_path / "other", **{"epochs": 1, **options})
    with pytest.raises(InvalidValue, match=words):
        kerasmlp.committee([runs[0], other], data=digits, out=tmp_path / "both")
    assert not (tmp_path / "both").exists()


def test_another_split_is_refused(runs: list[Run], tmp_path: Path) -> None:
    data = kerasmlp.load_data("digits", seed=5)
    with pytest.raises(InvalidValue, match="same data and split.*`seed`"):
        kerasmlp.committee([runs[0], trained(data, tmp_path / "other", epochs=1)], out=tmp_path / "both")


def test_an_embedding_of_each_network_is_refused_with_the_option_for_it() -> None:
    data = small_data("classification")
    networks = {f"{seed}": kerasmlp.mlp_for(data, hidden=[8], members=1, seed=seed) for seed in (1, 2)}
    with pytest.raises(InvalidValue, match="embedding.*`members=8`"):
        join_networks(networks)
    alone = join_networks({"1": networks["1"]})
    features = data.test.features
    assert np.abs(alone.predict(features, verbose=0) - networks["1"].predict(features, verbose=0)).max() < 1e-5


def test_wrong_requests_are_refused(runs: list[Run], digits: Data, tmp_path: Path) -> None:
    with pytest.raises(InvalidType, match="`runs` needs a list"):
        kerasmlp.committee(runs[0])  # type: ignore[arg-type]
    with pytest.raises(InvalidValue, match="`runs` needs at least one run"):
        kerasmlp.committee([])
    with pytest.raises(InvalidValue, match="`runs` names a run twice"):
        kerasmlp.committee([runs[0], runs[0].path], data=digits)
    with pytest.raises(InvalidValue, match="`data`"):
        kerasmlp.committee(runs, data=replace(digits, fingerprint="other"), out=tmp_path / "other")


def test_networks_of_other_layers_are_refused() -> None:
    import keras

    inputs = keras.Input((4,))
    hidden = keras.layers.LayerNormalization(name="odd")(keras.layers.Dense(3)(inputs))
    model = keras.Model(inputs, keras.layers.Dense(2)(hidden))
    with pytest.raises(InvalidValue, match="`own` has the layer `odd`"):
        join_networks({"own": model})
