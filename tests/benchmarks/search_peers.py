"""The searches that `bench_search.py` compares with kerasmlp's, each written as its own documentation teaches.

    python tests/benchmarks/search_peers.py keras_tuner --data mnist.npz --out DIR
    python tests/benchmarks/search_peers.py optuna --data mnist.npz --workers 2 --trials 4 --epochs 1 --out DIR

The last line on stdout is a JSON object: the validation accuracy of the best trial, the test accuracy of the final
network that was trained with its values, the seconds of the search and of the final training, and for each trial its
values, validation accuracy, seconds and seconds per epoch.

Both have in common: the last 10,000 training examples are for validation, pixels are float32 in [0, 1] in memory, the
network is 784-128-64-10 with ReLU, Adam and the initial weights have the defaults of the framework, all pairs of the
given learning rates and batch sizes are tried, and the score of a trial is that of its best epoch.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

NUM_VALIDATION = 10_000
NUM_CLASSES = 10


@dataclass(frozen=True)
class Search:
    """What to search, on which data, and where to write the result."""

    data: str
    learning_rates: tuple[float, ...]
    batch_sizes: tuple[int, ...]
    trials: int
    epochs: int
    final_epochs: int
    workers: int
    out: Path
    seed: int = 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one search and its final training, and prints the result as the last line of stdout."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("peer", choices=sorted(PEERS))
    parser.add_argument("--data", required=True, help="MNIST as an npz in Keras's layout")
    parser.add_argument("--learning-rate", default="0.0001:0.01:6", help="LOW:HIGH:COUNT, spaced evenly on a log scale")
    parser.add_argument("--batch-size", default="32,64,128,256")
    parser.add_argument("--trials", type=int, help="number of pairs to try (default: all)")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--final-epochs", type=int, default=10)
    parser.add_argument("--workers", type=int, default=1, help="processes, for Optuna")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args(arguments)
    if options.peer == "keras_tuner" and options.workers != 1:
        parser.error("the script of the guide has one process, so leave out `--workers`")
    low, high, count = options.learning_rate.split(":")
    rates = tuple(float(rate) for rate in np.geomspace(float(low), float(high), int(count)))
    batch_sizes = tuple(int(size) for size in options.batch_size.split(","))
    trials = min(options.trials or len(rates) * len(batch_sizes), len(rates) * len(batch_sizes))
    options.out.mkdir(parents=True, exist_ok=True)
    search = Search(
        data=options.data,
        learning_rates=rates,
        batch_sizes=batch_sizes,
        trials=trials,
        epochs=options.epochs,
        final_epochs=options.final_epochs,
        workers=options.workers,
        out=options.out,
    )
    result = PEERS[options.peer](search)
    print(json.dumps(result), flush=True)
    return 0


def keras_tuner(search: Search) -> dict[str, Any]:
    """The script of https://keras.io/guides/keras_tuner/getting_started, "Tune model training", for a batch size.

    Differences from the guide: a grid instead of a random search; the final training has the same examples as the
    trials; epochs are timed; and a line per epoch instead of progress bars, which is faster.
    """
    import keras
    import keras_tuner

    keras.utils.set_random_seed(search.seed)
    with np.load(search.data) as file:
        x, y, x_test, y_test = (file[name] for name in ("x_train", "y_train", "x_test", "y_test"))
    x_train, x_val = x[:-NUM_VALIDATION], x[-NUM_VALIDATION:]
    y_train, y_val = y[:-NUM_VALIDATION], y[-NUM_VALIDATION:]
    x_train, x_val, x_test = (part.astype("float32") / 255.0 for part in (x_train, x_val, x_test))
    y_train, y_val, y_test = (keras.utils.to_categorical(part, NUM_CLASSES) for part in (y_train, y_val, y_test))
    trials: list[dict[str, Any]] = []

    class EpochClock(keras.callbacks.Callback):
        def on_train_begin(self, logs: Any = None) -> None:
            self.seconds: list[float] = []

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self.began = time.perf_counter()

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self.seconds.append(time.perf_counter() - self.began)

    class MyHyperModel(keras_tuner.HyperModel):
        def build(self, hp: Any) -> Any:
            self.began = time.perf_counter()
            model = keras.Sequential(
                [
                    keras.layers.Flatten(),
                    keras.layers.Dense(128, activation="relu"),
                    keras.layers.Dense(64, activation="relu"),
                    keras.layers.Dense(NUM_CLASSES, activation="softmax"),
                ]
            )
            learning_rate = hp.Choice("learning_rate", list(search.learning_rates))
            model.compile(
                optimizer=keras.optimizers.Adam(learning_rate=learning_rate),
                loss="categorical_crossentropy",
                metrics=["accuracy"],
            )
            return model

        def fit(self, hp: Any, model: Any, *args: Any, callbacks: Sequence[Any] = (), **kwargs: Any) -> Any:
            clock = EpochClock()
            batch_size = hp.Choice("batch_size", list(search.batch_sizes))
            history = model.fit(*args, batch_size=batch_size, callbacks=[clock, *callbacks], **kwargs)
            trials.append(
                {
                    "learning_rate": hp.get("learning_rate"),
                    "batch_size": batch_size,
                    "val_accuracy": max(history.history["val_accuracy"]),
                    "seconds": time.perf_counter() - self.began,
                    "epoch_seconds": clock.seconds,
                }
            )
            return history

    hypermodel = MyHyperModel()
    began = time.perf_counter()
    tuner = keras_tuner.GridSearch(
        hypermodel,
        objective="val_accuracy",
        max_trials=search.trials,
        overwrite=True,
        directory=search.out,
        project_name="mnist",
    )
    tuner.search(x_train, y_train, epochs=search.epochs, validation_data=(x_val, y_val), verbose=2)
    searched = time.perf_counter()
    best = tuner.get_best_hyperparameters()[0]
    model = hypermodel.build(best)
    model.fit(
        x_train,
        y_train,
        batch_size=best.get("batch_size"),
        epochs=search.final_epochs,
        validation_data=(x_val, y_val),
        verbose=2,
    )
    _, test_accuracy = model.evaluate(x_test, y_test, verbose=2)
    model.save(search.out / "model.keras")
    return _result(trials, float(test_accuracy), search_s=searched - began, final_s=time.perf_counter() - searched)


def optuna(search: Search) -> dict[str, Any]:
    """Optuna's `GridSampler` with PyTorch trials. Several processes share the study through a journal file."""
    import torch
    from optuna.trial import TrialState

    began = time.perf_counter()
    study = _study(search)
    others = [
        multiprocessing.get_context("spawn").Process(target=_optimize, args=(search,)) for _ in range(1, search.workers)
    ]
    for process in others:
        process.start()
    _optimize(search)
    for process in others:
        process.join()
        if process.exitcode:
            raise RuntimeError(f"a process of the search ended with {process.exitcode}")
    searched = time.perf_counter()
    torch.set_num_threads(os.cpu_count() or 1)
    best = study.best_params
    problem = _TorchProblem(search)
    model, _, _ = problem.train(best["learning_rate"], best["batch_size"], search.final_epochs)
    test_accuracy = problem.test_accuracy(model)
    torch.save(model.state_dict(), search.out / "model.pt")
    trials = [
        {**trial.params, "val_accuracy": trial.value, **trial.user_attrs}
        for trial in study.get_trials(states=[TrialState.COMPLETE])
    ]
    return _result(trials, test_accuracy, search_s=searched - began, final_s=time.perf_counter() - searched)


PEERS: dict[str, Callable[[Search], dict[str, Any]]] = {"keras_tuner": keras_tuner, "optuna": optuna}


def _result(trials: list[dict[str, Any]], test_accuracy: float, *, search_s: float, final_s: float) -> dict[str, Any]:
    return {
        "val_accuracy": max(trial["val_accuracy"] for trial in trials),
        "test_accuracy": test_accuracy,
        "search_s": search_s,
        "final_s": final_s,
        "trials": trials,
    }


def _study(search: Search) -> Any:
    import optuna
    from optuna.storages.journal import (
        JournalFileBackend,
    )

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(
        study_name="mnist",
        direction="maximize",
        storage=optuna.storages.JournalStorage(JournalFileBackend(str(search.out / "journal.log"))),
        sampler=optuna.samplers.GridSampler(_grid(search), seed=search.seed),
        load_if_exists=True,
    )


def _grid(search: Search) -> dict[str, list[Any]]:
    return {"learning_rate": list(search.learning_rates), "batch_size": list(search.batch_sizes)}


def _optimize(search: Search) -> None:
    """Runs trials until the study has enough of them, including those that run in other processes."""
    import torch
    from optuna.study import MaxTrialsCallback
    from optuna.trial import TrialState

    torch.set_num_threads(max(1, (os.cpu_count() or 1) // search.workers))
    problem = _TorchProblem(search)

    def objective(trial: Any) -> float:
        began = time.perf_counter()
        learning_rate = trial.suggest_categorical("learning_rate", search.learning_rates)
        batch_size = trial.suggest_categorical("batch_size", search.batch_sizes)
        _, accuracies, seconds = problem.train(learning_rate, batch_size, search.epochs)
        trial.set_user_attr("epoch_seconds", seconds)
        trial.set_user_attr("seconds", time.perf_counter() - began)
        return max(accuracies)

    # If running trials did not count, the process that ends first would repeat the last trial of the other one.
    enough = MaxTrialsCallback(search.trials, states=(TrialState.COMPLETE, TrialState.RUNNING))
    _study(search).optimize(objective, callbacks=[enough])


class _TorchProblem:
    """MNIST as tensors in memory, and the training of a network on it."""

    def __init__(self, search: Search) -> None:
        import torch

        with np.load(search.data) as file:
            x, y, x_test, y_test = (file[name] for name in ("x_train", "y_train", "x_test", "y_test"))
        features = [torch.from_numpy(part.reshape(len(part), -1).astype(np.float32) / 255) for part in (x, x_test)]
        labels = [torch.from_numpy(part.astype(np.int64)) for part in (y, y_test)]
        self.train_part = features[0][:-NUM_VALIDATION], labels[0][:-NUM_VALIDATION]
        self.validation_part = features[0][-NUM_VALIDATION:], labels[0][-NUM_VALIDATION:]
        self.test_part = features[1], labels[1]
        self.seed = search.seed

    def train(self, learning_rate: float, batch_size: int, epochs: int) -> tuple[Any, list[float], list[float]]:
        """Returns a network, and its validation accuracy and seconds, validation included, for each epoch."""
        import torch
        from torch import nn

        torch.manual_seed(self.seed)
        x, y = self.train_part
        model = nn.Sequential(
            nn.Linear(x.shape[1], 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, NUM_CLASSES)
        )
        optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate, fused=True)
        accuracies, seconds = [], []
        for _ in range(epochs):
            began = time.perf_counter()
            for indices in torch.randperm(len(x)).split(batch_size):
                loss = nn.functional.cross_entropy(model(x[indices]), y[indices])
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
            accuracies.append(_torch_accuracy(model, *self.validation_part))
            seconds.append(time.perf_counter() - began)
        return model, accuracies, seconds

    def test_accuracy(self, model: Any) -> float:
        """Returns the share of test examples that the network classifies correctly."""
        return _torch_accuracy(model, *self.test_part)


def _torch_accuracy(model: Any, x: Any, y: Any) -> float:
    import torch

    with torch.inference_mode():
        return float((model(x).argmax(1) == y).float().mean())


if __name__ == "__main__":
    sys.exit(main())
