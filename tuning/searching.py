"""`search`: trials, the best one trained again, then a final training on its settings."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kerasmlp._system.files import write_json
from kerasmlp.card import package_versions
from kerasmlp.errors import InvalidValue
from kerasmlp.model.building import build_mlp, check_sizes, check_sizes_fit
from kerasmlp.plots import plot_search
from kerasmlp.run import Run
from kerasmlp.run_directory import open_run_directory
from kerasmlp.training.settings import check_schedule, data_config, training_config
from kerasmlp.tuning.records import Listener, TrialRecord, best_trial, write_trials
from kerasmlp.tuning.space import Network, Space

if TYPE_CHECKING:
    from os import PathLike

    import keras

    from kerasmlp.data.types import Data
    from kerasmlp.tuning.search_oracle import SearchOracle

SEARCH_NAME = "search"
_WRITE_EVERY_S = 2.0


def search(
    data: Data,
    *,
    sizes: Iterable[int],
    trials: int | None = None,
    epochs: int = 5,
    space: Space | None = None,
    oracle: str = "random",
    early_stopping: bool = True,
    workers: int = 1,
    address: str | None = None,
    final_epochs: int = 20,
    final_schedule: str = "cosine",
    optimizer: str = "adam",
    seed: int = 0,
    out: str | PathLike[str] | None = None,
    name: str | None = None,
    overwrite: bool = False,
    listener: Listener | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    warn: Callable[[str], None] = warnings.warn,
    **model_options: Any,
) -> Run:
    """Searches hyper-parameters, then trains anew on the best trial's.

    Trials are compared on `data.validation`; `data.test` is used once, by the final training.

    A search that was killed goes on where it was when it is asked for again: finished trials are not run again. What a
    trial gives depends on its values, on `seed` and on the number of threads, not on what ran before it.

    Args:
        data: The examples.
        sizes: Layer widths from input to output; see `build_mlp`. The space may replace the hidden ones.
        trials: Number of trials, at least 1. Default: 12, or all of a grid; Hyperband finds its own.
        epochs: Passes over the training examples in each trial; for Hyperband, in its longest ones.
        space: What to choose from. Default: rates from 1e-4 to 1e-2 and batch sizes of 16 to 128; see `Space`.
        oracle: `random`; `bayesian`, which models the score over the space with a Gaussian process; `hyperband`, many
            short trials of which the best go on; or `grid`, every combination.
        early_stopping: Whether a trial ends early that, after an epoch, has a lower best validation accuracy than the
            median of the finished trials had then. Hyperband has its own way.
        workers: Processes that run trials here and share its cores, from 1 to their number. One runs in this process.
        address: Where workers on other machines join (`join_search`), such as `192.168.0.10:7000`; then `workers` may
            be 0. The connection is not encrypted, and whoever reaches the port can take part: use a network that you
            trust.
        final_epochs: Passes in the final training.
        final_schedule: `cosine`, from the best rate down to zero in the final training, or `constant`.
        optimizer: One of `kerasmlp.model.optimizers.OPTIMIZERS`.
        seed: Seed of the oracle's choices, the initial weights and the order of the examples.
        out: The run directory. Default: the first of `runs/NAME-search`, `runs/NAME-search-2`, ... that is free, or
            that holds this same search unfinished.
        name: What stands for `NAME-search` there.
        overwrite: Whether a run that lies there may be replaced.
        listener: Hears of each trial as it begins, after each epoch, and when it ends.
        callbacks: Further Keras callbacks of the final training.
        warn: Takes a sentence where the best trial, trained again, gives another score.
        **model_options: Options of `build_mlp`, such as `activation` or `dropout`, the same for all trials.

    Returns:
        The run of the final training. Its `search/` holds `trials.csv`, `trials.json`, `best.json`,
        Keras Tuner's own files, and `tensorboard/` for TensorBoard's HParams; its `plots/` a picture of the trials.

    Raises:
        InvalidValue: a value is out of range or does not fit the data, nothing has been written; or a search that lies
            there is damaged, or the address cannot be listened on.
        OutputExists: the directory holds another run, or files that are no run; nothing has been written.
        RuntimeError: every trial failed.

    Example:
        >>> import tempfile, kerasmlp
        >>> run = search(kerasmlp.load_data("digits"), sizes=[64, 32, 10], trials=2, epochs=2, final_epochs=2,
        ...              out=tempfile.mkdtemp())
        >>> sorted(path.name for path in (run.path / "search").glob("*.json"))
        ['best.json', 'trials.json']
    """
    # These load Keras Tuner.
    from kerasmlp.tuning.oracles import check_oracle, make_oracle
    from kerasmlp.tuning.workers import check_workers

    widths = check_sizes(sizes)
    space = (space or Space()).for_examples(len(data.train))
    check_search(data, widths, epochs=epochs, final_epochs=final_epochs)
    check_schedule(final_schedule)
    check_oracle(oracle, space, trials)
    check_workers(workers, address)
    network = Network(widths, model_options, optimizer)
    build_mlp(widths, input_shape=data.feature_shape, **model_options)  # raises here rather than in every trial
    space.check(data, network)
    settings = {
        "sizes": widths,
        "model_options": model_options,
        "trials": trials,
        "epochs": epochs,
        "space": space.to_config(),
        "oracle": oracle,
        "early_stopping": early_stopping,
        "final_epochs": final_epochs,
        "final_schedule": final_schedule,
        "optimizer": optimizer,
        "seed": seed,
    }
    request = _request(data, network, epochs=epochs, seed=seed)
    config = {"data": data_config(data), "search": settings, "versions": package_versions()}
    with open_run_directory(out, name or f"{data.name}-{SEARCH_NAME}", config, overwrite=overwrite) as run:
        folder = run.path / SEARCH_NAME
        watcher = _Recorder(folder, listener or Listener())
        chooser = make_oracle(
            oracle,
            space,
            trials=trials,
            epochs=epochs,
            early_stopping=early_stopping,
            seed=seed,
            digest=request["digest"],
            listener=watcher,
        )
        chooser.open(folder / "keras_tuner")
        watcher.watch(chooser)
        best = _run_trials(
            chooser,
            data,
            network,
            {**request, "states": str(folder / "states") if oracle == "hyperband" else None},
            folder,
            workers=workers,
            address=address,
            warn=warn,
        )
        records = chooser.records()
        watcher.stop()
        _show(run, records, title=data.name)
        shutil.rmtree(folder / "states", ignore_errors=True)
        return _train_best(run, data, network, best, settings, callbacks)


def check_search(data: Data, sizes: tuple[int, ...], *, epochs: int, final_epochs: int) -> None:
    """Raises `InvalidValue` for settings with which no search can start."""
    check_sizes_fit(sizes, data.feature_shape, data.num_classes)
    for name, value in (("epochs", epochs), ("final_epochs", final_epochs)):
        if value < 1:
            raise InvalidValue(f"`{name}` needs to be at least 1; got {value}.")


def join_search(
    address: str,
    data: Data,
    *,
    sizes: Iterable[int],
    epochs: int = 5,
    optimizer: str = "adam",
    seed: int = 0,
    **model_options: Any,
) -> None:
    """Runs trials for the search whose chief listens at `address`, until it ends.

    Args:
        address: The chief's host and port, as in its `search(address=...)`.
        data: The same data, split alike.
        sizes: As in the chief's `search`, and so are all that follow.
        epochs: See `sizes`.
        optimizer: See `sizes`.
        seed: See `sizes`.
        **model_options: See `sizes`.

    Raises:
        InvalidValue: the chief runs another search.
        ConnectionError: nobody listens there for half a minute, or the chief is gone.
    """
    from kerasmlp.tuning.workers import join

    widths = check_sizes(sizes)
    check_search(data, widths, epochs=epochs, final_epochs=1)
    join(address, data, _request(data, Network(widths, model_options, optimizer), epochs=epochs, seed=seed))


def _request(data: Data, network: Network, *, epochs: int, seed: int) -> dict[str, Any]:
    """What a worker is told; its digest tells searches apart whose trials would not compare."""
    from kerasmlp.tuning.workers import worker_request

    request = worker_request(network, epochs=epochs, seed=seed, states=None)
    digest = hashlib.sha256(json.dumps([data.fingerprint, request]).encode())
    for part in (data.train, data.validation):
        digest.update(np.ascontiguousarray(part.labels).data)
    return {**request, "digest": digest.hexdigest()}


class _Recorder(Listener):
    """Writes the trials' records as they end, and hands on what happens."""

    def __init__(self, folder: Path, listener: Listener) -> None:
        self._folder, self._written_at = folder, 0.0
        self._oracle: SearchOracle | None = None
        self._listener = listener

    def watch(self, oracle: SearchOracle) -> None:
        """Takes the records from `oracle`, and tells of those that it has already."""
        self._oracle = oracle
        if oracle.records():
            self._listener.resume(oracle.records())

    def begin(self, number: int, values: dict[str, Any], worker: str) -> None:
        """Hands on."""
        self._listener.begin(number, values, worker)

    def epoch(self, number: int, epoch: int, epochs: int, val_accuracy: float) -> None:
        """Hands on."""
        self._listener.epoch(number, epoch, epochs, val_accuracy)

    def requeued(self, number: int, reason: str) -> None:
        """Hands on."""
        self._listener.requeued(number, reason)

    def end(self, record: TrialRecord) -> None:
        """Writes and hands on."""
        # Not each time: Keras Tuner's files hold the same, and a search may have thousands.
        if time.monotonic() - self._written_at > _WRITE_EVERY_S:
            self.write()
        self._listener.end(record)

    def stop(self) -> None:
        """Writes and hands on."""
        self.write()
        self._listener.stop()

    def write(self) -> None:
        """Writes all records."""
        if self._oracle is not None:
            write_trials(self._folder, self._oracle.records())
        self._written_at = time.monotonic()


def _run_trials(
    oracle: SearchOracle,
    data: Data,
    network: Network,
    request: dict[str, Any],
    folder: Path,
    *,
    workers: int,
    address: str | None,
    warn: Callable[[str], None],
) -> TrialRecord:
    """Runs all trials; returns the best, which has been trained again and gave the same score, or `warn` was told."""
    from kerasmlp.tuning.trials import TrialTrainer, TrialTuner
    from kerasmlp.tuning.workers import run_with_workers

    path = folder / "best.json"
    if path.is_file():
        known = json.loads(path.read_text(encoding="utf-8"))["trained_again"]
        oracle.again = (known["val_accuracy"], known["val_loss"])
    if workers == 1 and address is None:
        states = None if request["states"] is None else Path(request["states"])
        trainer = TrialTrainer(data, network, epochs=request["epochs"], seed=request["seed"])
        TrialTuner(oracle, trainer, folder=folder / "keras_tuner", states=states).search(verbose=0)
    else:
        run_with_workers(oracle, data, request, workers=workers, address=address)
    best = best_trial(oracle.records())
    if oracle.again != (best.val_accuracy, best.val_loss):
        warn(
            f"Trial {best.number} gave a validation accuracy of {best.val_accuracy} and a loss of {best.val_loss}, but "
            f"{oracle.again} when it was trained again: the machines that trained it compute differently."
        )
    accuracy, loss = oracle.again or (None, None)
    again = {"val_accuracy": accuracy, "val_loss": loss}
    write_json(path, {**asdict(best), "seed": request["seed"], "trained_again": again})
    return best


def _show(run: Run, records: Sequence[TrialRecord], *, title: str) -> None:
    from kerasmlp.tuning.tensorboard_log import write_hparams

    plot_search([asdict(record) for record in records], run.path / "plots" / "search.png", title=title)
    write_hparams(run.path / SEARCH_NAME / "tensorboard", records)


def _train_best(
    run: Run,
    data: Data,
    network: Network,
    best: TrialRecord,
    settings: dict[str, Any],
    callbacks: Sequence[keras.callbacks.Callback],
) -> Run:
    from kerasmlp.training.fitting import train_run

    chosen = network.with_values(best.values)
    model = build_mlp(
        chosen.sizes,
        seed=settings["seed"],
        preprocessing=data.preprocessing(),
        **{"input_shape": data.feature_shape, **chosen.options},
    )
    final = {
        "epochs": settings["final_epochs"],
        "batch_size": best.values["batch_size"],
        "learning_rate": best.values["learning_rate"],
        "optimizer": chosen.optimizer,
        "schedule": settings["final_schedule"],
        "early_stopping": None,
        "seed": settings["seed"],
    }
    return train_run(run, model, data, training_config(model, data, final, search=settings), callbacks=callbacks)
