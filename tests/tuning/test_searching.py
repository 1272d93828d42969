"""`search`: its trials, its records, its final training, and the requests that it refuses."""

from __future__ import annotations

import csv
import dataclasses
import json
from pathlib import Path
from typing import Any

import keras
import keras_tuner
import numpy as np
import pytest

import kerasmlp
from kerasmlp.data.types import Data
from kerasmlp.errors import InvalidType, InvalidValue, KerasMLPWarning, OutputExists
from kerasmlp.tuning import Range, Space, TrialRecord, search
from kerasmlp.tuning.trial_records import best_trial
from tests.helpers.searches import SPACE, Watcher, read_trials, results

SHORT: dict[str, Any] = {"sizes": [64, 16, 10], "trials": 3, "epochs": 1, "final_epochs": 2, "space": SPACE}


def test_a_search_leaves_a_run_that_was_trained_with_the_best_values(
    digits: Data, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    watcher = Watcher()
    run = search(digits, **SHORT, out=tmp_path / "search", listener=watcher, verbose=1)
    shown = capsys.readouterr()
    assert [line.split()[1] for line in shown.err.splitlines()] == ["1/3", "2/3", "3/3", "1/2", "2/2"]
    assert shown.out == ""
    records = read_trials(run.path)
    assert records == watcher.ended
    assert [record.number for record in records] == [1, 2, 3]
    for record in records:
        assert 1e-3 <= record.values["learning_rate"] <= 1e-2
        assert record.values["batch_size"] in (64, 128)
        assert record.status == "completed"
        assert watcher.curves[record.number] == [record.val_accuracy]
    best = best_trial(records)
    metrics = run.metrics
    assert {name: metrics[name] for name in ("learning_rate", "batch_size")} == best.values
    assert metrics["epochs"] == 2
    assert run.config["search"] == {
        "sizes": [64, 16, 10],
        "model_options": {},
        "trials": 3,
        "epochs": 1,
        "space": {"learning_rate": "0.001:0.01", "batch_size": [64, 128]},
        "oracle": "random",
        "early_stopping": True,
        "final_epochs": 2,
        "final_schedule": "cosine",
        "optimizer": "adam",
        "seed": 0,
    }, "unfinished searches of earlier versions are continued only if this stays the same"
    assert (run.path / "plots" / "search.png").stat().st_size > 1000
    with (run.path / "search" / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["val_accuracy"]) for row in rows] == [record.val_accuracy for record in records]
    assert [int(row["batch_size"]) for row in rows] == [record.values["batch_size"] for record in records]
    assert list((run.path / "search" / "tensorboard").rglob("events.out.tfevents.*"))


def test_the_same_seed_gives_the_same_trials_and_the_best_one_the_same_score_again(
    digits: Data, tmp_path: Path
) -> None:
    # The other oracles are compared with themselves where a search is interrupted.
    options = {**SHORT, "trials": 6, "epochs": 2, "seed": 4, "oracle": "bayesian", "dropout": 0.2}
    outcomes = []
    for name in ("a", "b"):
        run = search(digits, **options, out=tmp_path / name)
        outcomes.append(results(read_trials(run.path)))
        best = json.loads((run.path / "search" / "best.json").read_text())
        assert best["trained_again"] == {"val_accuracy": best["val_accuracy"], "val_loss": best["val_loss"]}
        assert not (run.path / "search" / "states").exists()
    assert outcomes[0] == outcomes[1]
    assert len(outcomes[0]) == 6


def test_a_search_can_vary_the_network_and_the_optimizer(digits: Data, tmp_path: Path) -> None:
    space = Space(
        batch_size=(64,),
        hidden=((16,), (24, 16)),
        activation=("relu", "tanh"),
        dropout=Range(0, 0.5),
        batch_normalization=(True, False),
        l2=Range(1e-6, 1e-3),
        optimizer=("adam", "nesterov"),
    )
    run = search(digits, **{**SHORT, "space": space, "trials": 6}, out=tmp_path / "search")
    records = read_trials(run.path)
    for name in ("hidden", "activation", "batch_normalization", "optimizer"):
        assert len({record.values[name] for record in records}) == 2, name
    best = best_trial(records).values
    assert run.metrics["sizes"] == [64, *map(int, best["hidden"].split("x")), 10]
    assert run.metrics["optimizer"] == best["optimizer"]


def test_failed_trials_are_recorded_and_never_chosen(digits: Data, tmp_path: Path) -> None:
    watcher = Watcher()
    # Rates up to 1e38 with plain gradient descent: most overflow, some train.
    run = search(
        digits,
        **{**SHORT, "space": Space(Range(1e-2, 1e38), (64,)), "trials": 6},
        optimizer="sgd",
        out=tmp_path / "search",
        listener=watcher,
    )
    failed = [record for record in watcher.ended if record.status == "failed"]
    assert 0 < len(failed) < 6
    assert "nan" in str(failed[0].error) or "inf" in str(failed[0].error)
    assert all(record.val_accuracy is None for record in failed)
    assert run.metrics["learning_rate"] in {r.values["learning_rate"] for r in watcher.ended if not r.error}


def test_a_search_in_which_every_trial_fails_raises_the_first_error(digits: Data, tmp_path: Path) -> None:
    space = Space(Range(1e30, 1e38), (64,))
    with pytest.raises(RuntimeError, match="3 trials failed.*(nan|inf)"):
        search(digits, **{**SHORT, "space": space}, optimizer="sgd", out=tmp_path / "search")


def test_trials_below_the_median_are_stopped_and_have_the_scores_that_they_would_have_had(
    digits: Data, tmp_path: Path
) -> None:
    # A grid tries the good rates first, so there is something to compare the bad ones with.
    space = Space(learning_rate=(1e-2, 9e-3, 8e-3, 7e-3, 6e-3, 1e-6, 2e-6), batch_size=(64,))
    options = {**SHORT, "space": space, "trials": None, "oracle": "grid", "epochs": 4}
    with_stops, whole = Watcher(), Watcher()
    run = search(digits, **options, out=tmp_path / "stops", listener=with_stops)
    search(digits, **options, out=tmp_path / "whole", early_stopping=False, listener=whole)
    stopped = [record for record in with_stops.ended if record.status == "stopped"]
    assert {f"{record.values['learning_rate']:.0e}" for record in stopped} >= {"1e-06", "2e-06"}
    for record in stopped:
        assert record.epochs < 4
        assert with_stops.curves[record.number] == whole.curves[record.number][: record.epochs]
    assert run.metrics["learning_rate"] not in {record.values["learning_rate"] for record in stopped}
    assert all(record.status == "completed" for record in whole.ended)


def test_the_loss_decides_between_equal_accuracies() -> None:
    one = TrialRecord(0, {}, "completed", 0.9, 0.5, 1, 1, 1.0, None)
    records = [dataclasses.replace(one, number=n, val_loss=loss) for n, loss in enumerate((0.5, 0.3, 0.4))]
    assert best_trial(records).number == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sizes": [64, 10, 9]}, "`sizes`.*9.*64,10,10"),
        ({"trials": 0}, "`trials`.* 0"),
        ({"epochs": 0}, "`epochs`.* 0"),
        ({"final_epochs": 0}, "`final_epochs`.* 0"),
        ({"oracle": "bayes"}, "`bayes`.*`bayesian`"),
        ({"oracle": "hyperband"}, "`epochs`.*`trials`.*3"),
        ({"oracle": "grid"}, "`learning_rate`.*0.001:0.01"),
        ({"oracle": "grid", "space": Space((1e-3, 1e-2), (32, 64))}, "4 combinations.*`trials=4`"),
        ({"optimizer": "adan"}, "optimizer.*`adan`"),
        ({"activation": "rellu"}, "`activation`.*rellu.*`relu`"),
        ({"space": Space(activation=("relu", "rellu"))}, "`activation`.*rellu.*`relu`"),
        ({"space": Space(optimizer=("adan",))}, "optimizer.*`adan`"),
        ({"space": Space(dropout=(0.5, 1.0))}, "`dropout`.*1.0"),
        ({"space": Space(learning_rate=(-1.0,))}, "`learning_rate`.*-1.0"),
        ({"space": Space(batch_size=(4096,))}, "`batch_size`.*4096"),
        ({"workers": 0}, "`workers`.* 1.* 0"),
        ({"workers": 1000}, "`workers`.* 1000"),
        ({"address": "nowhere"}, "`address`.*nowhere"),
    ],
)
def test_searches_that_cannot_start_are_refused_before_anything_is_written(
    digits: Data, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidValue, match=message):
        search(digits, **{**SHORT, **changes}, out=tmp_path / "search")
    assert not list(tmp_path.iterdir())


def test_an_unknown_option_is_refused_and_the_nearest_one_suggested(digits: Data, tmp_path: Path) -> None:
    with pytest.raises(InvalidType, match="`drpout`.*`dropout`"):
        search(digits, **SHORT, drpout=0.1, out=tmp_path / "search")
    assert not list(tmp_path.iterdir())


def test_a_search_does_not_replace_a_run_unless_told_to(digits: Data, digits_run: Any) -> None:
    with pytest.raises(OutputExists, match=str(digits_run.path)):
        search(digits, **SHORT, out=digits_run.path)


class StopAfterTwo(Watcher):
    """Interrupts the search when its second trial ends."""

    def end(self, record: TrialRecord) -> None:
        """Remembers the record, and interrupts the search."""
        super().end(record)
        if len(self.ended) == 2:
            raise keras_tuner.errors.FatalError("stopped")


@pytest.mark.parametrize("oracle", ["random", "grid", "hyperband"])
def test_an_interrupted_search_continues_without_running_finished_trials_again(
    digits: Data, tmp_path: Path, oracle: str
) -> None:
    options = {**SHORT, "seed": 2, "oracle": oracle}
    if oracle == "grid":
        options["space"] = Space(learning_rate=(1e-3, 1e-2), batch_size=(64,), depth=Range(1, 2))
        options["trials"] = None
    if oracle == "hyperband":
        options |= {"trials": None, "epochs": 4}
    with pytest.raises(keras_tuner.errors.FatalError):
        search(digits, **options, out=tmp_path / "stopped", listener=StopAfterTwo())
    watcher = Watcher()
    run = search(digits, **options, out=tmp_path / "stopped", listener=watcher)
    assert [record.number for record in watcher.resumed] == [1, 2]
    assert 1 not in watcher.curves
    assert 2 not in watcher.curves
    whole = search(digits, **options, out=tmp_path / "whole")
    trials = results(read_trials(run.path))
    assert trials == results(read_trials(whole.path))
    assert len(trials) == {"random": SHORT["trials"], "hyperband": 10, "grid": 4}[oracle]
    assert run.metrics["test_loss"] == whole.metrics["test_loss"]
    best = json.loads((run.path / "search" / "best.json").read_text())
    assert best["trained_again"] == {"val_accuracy": best["val_accuracy"], "val_loss": best["val_loss"]}
    assert not (run.path / "search" / "states").exists()
    extending = {
        "random": "after 3 trials; extend it .*`trials=6`",
        "grid": "after all 4 combinations of its space",
        "hyperband": "Hyperband cannot be extended.*`epochs`",
    }
    with pytest.raises(OutputExists, match=f"this same search, finished.*{extending[oracle]}"):
        search(digits, **options, out=tmp_path / "whole")


def test_a_folder_with_a_different_unfinished_search_is_refused(digits: Data, tmp_path: Path) -> None:
    with pytest.raises(keras_tuner.errors.FatalError):
        search(digits, **SHORT, out=tmp_path / "search", listener=StopAfterTwo())
    with pytest.raises(OutputExists, match=r"search.space.batch_size.*\[64, 128\].*\[32\]"):
        search(digits, **{**SHORT, "space": Space(SPACE.learning_rate, (32,))}, out=tmp_path / "search")
    with pytest.raises(OutputExists, match="search.seed.*0.*5"):
        search(digits, **SHORT, seed=5, out=tmp_path / "search")


def test_a_damaged_search_is_refused_with_the_path_of_the_damaged_file(digits: Data, tmp_path: Path) -> None:
    with pytest.raises(keras_tuner.errors.FatalError):
        search(digits, **SHORT, out=tmp_path / "search", listener=StopAfterTwo())
    path = next((tmp_path / "search").rglob("trial.json"))
    path.write_text(path.read_text()[:50])
    with pytest.raises(InvalidValue, match=r"trial\.json"):
        search(digits, **SHORT, out=tmp_path / "search")


def test_a_trial_has_the_same_result_alone_and_after_others(digits: Data, tmp_path: Path) -> None:
    many, alone = Watcher(), Watcher()
    search(digits, **{**SHORT, "trials": 4, "epochs": 2}, seed=1, out=tmp_path / "many", listener=many)
    last = many.ended[-1]
    only = Space(learning_rate=(last.values["learning_rate"],), batch_size=(last.values["batch_size"],))
    options = {**SHORT, "trials": None, "epochs": 2, "space": only, "oracle": "grid"}
    search(digits, **options, seed=1, out=tmp_path / "one", listener=alone)
    assert results(alone.ended)[0][1:] == results([last])[0][1:]


class Interrupt(keras.callbacks.Callback):
    """Interrupts a training when it begins."""

    def on_train_begin(self, logs: Any = None) -> None:
        """Interrupts the training."""
        raise InterruptedError


def test_a_search_warns_if_the_best_trial_has_another_score_when_trained_again(digits: Data, tmp_path: Path) -> None:
    options = {**SHORT, "trials": 1, "final_epochs": 1, "out": tmp_path / "search"}
    with pytest.raises(InterruptedError):
        search(digits, **options, callbacks=[Interrupt()])
    path = tmp_path / "search" / "search" / "best.json"
    best = json.loads(path.read_text())
    best["trained_again"]["val_loss"] = 123.5  # as if another machine had trained it again
    path.write_text(json.dumps(best))
    with pytest.warns(KerasMLPWarning, match=r"Trial 1 .*123\.5"):
        search(digits, **options)


def test_some_options_are_those_of_the_final_training_alone(digits: Data, tmp_path: Path) -> None:
    options = {
        **SHORT,
        "trials": 1,
        "out": tmp_path / "search",
        "final_options": {"ema": 0.9, "quantize_aware": "int4"},
    }
    run = search(digits, **options)
    assert (run.config["training"]["ema"], run.metrics["quantize_aware"]) == (0.9, "int4")
    assert run.config["search"]["final_options"] == {"ema": 0.9, "quantize_aware": "int4"}


def test_a_search_warns_about_classes_with_very_few_examples(tmp_path: Path) -> None:
    labels = np.repeat([0, 1, 2], [40, 40, 5])
    features = np.random.default_rng(0).normal(labels[:, None], 0.1, (len(labels), 2)).astype("float32")
    data = kerasmlp.data_from_arrays(features, labels, test_share=0.2)
    with pytest.warns(KerasMLPWarning, match="`2`"):
        search(data, sizes=[2, 4, 3], trials=1, epochs=1, final_epochs=1, out=tmp_path / "search")


def test_a_finished_search_can_be_extended_by_more_trials(digits: Data, tmp_path: Path) -> None:
    # With this seed, the order of the rates is 1e-6, 1e-2, 1e-7: only the second trial learns.
    space = Space(learning_rate=(1e-2, 1e-6, 1e-7), batch_size=(64,))
    options = {**SHORT, "space": space, "seed": 3}
    out = tmp_path / "extended"
    first = search(digits, **{**options, "trials": 1}, out=out)
    assert first.metrics["learning_rate"] == pytest.approx(1e-6)
    (out / "export").mkdir()
    with pytest.raises(OutputExists, match=r"another run \(search.seed: 3 there, 4 here,"):
        search(digits, **{**options, "seed": 4}, out=out)

    class Stop(Watcher):
        def epoch(self, *args: Any) -> None:
            raise keras_tuner.errors.FatalError("stopped")

    with pytest.raises(keras_tuner.errors.FatalError):
        search(digits, **{**options, "trials": 2}, out=out, listener=Stop())
    assert kerasmlp.Run.open(out).metrics == first.metrics, "the run is as it was until its network is trained again"
    with pytest.warns(KerasMLPWarning, match="export"), pytest.raises(InterruptedError):
        search(digits, **{**options, "trials": 2}, out=out, callbacks=[Interrupt()])
    with pytest.raises(InvalidValue, match="`trials`.* 2,.* 1"):
        search(digits, **{**options, "trials": 1}, out=out)
    extended = search(digits, **{**options, "trials": 2}, out=out)
    whole = search(digits, **{**options, "trials": 2}, out=tmp_path / "whole")
    assert results(read_trials(out)) == results(read_trials(whole.path))
    assert extended.metrics["learning_rate"] == pytest.approx(1e-2)
    assert extended.metrics["test_loss"] == whole.metrics["test_loss"]

    written = extended.model_path.stat().st_mtime_ns
    watcher = Watcher()
    last = search(digits, **{**options, "trials": 3}, out=out, listener=watcher)
    assert [record.number for record in watcher.ended] == [3]
    assert last.model_path.stat().st_mtime_ns == written, "the best trial is the same, and so is the network"
    assert last.config["search"]["trials"] == 3
    assert last.metrics == extended.metrics
    with pytest.raises(OutputExists, match="all 3 combinations"):
        search(digits, **{**options, "trials": 9}, out=out)
