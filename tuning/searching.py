"""`search`: trials, then a final training on the best one's settings."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kerasmlp.card import package_versions
from kerasmlp.errors import InvalidValue, nearest
from kerasmlp.files import write_json, write_text
from kerasmlp.model import build_mlp, check_sizes, check_sizes_fit
from kerasmlp.optimizers import check_optimizer
from kerasmlp.plots import plot_search
from kerasmlp.runs import Run, open_run_directory
from kerasmlp.settings import check_schedule, data_config, training_config
from kerasmlp.training import train_run
from kerasmlp.tuning.space import Space

if TYPE_CHECKING:
    from collections.abc import Sequence
    from os import PathLike

    import keras
    import keras_tuner

    from kerasmlp.data import Data
    from kerasmlp.tuning.trials import TrialRecord

ORACLES = ("random", "bayesian")
SEARCH_NAME = "search"


def search(
    data: Data,
    *,
    sizes: Iterable[int],
    trials: int = 12,
    epochs: int = 5,
    space: Space | None = None,
    oracle: str = "random",
    final_epochs: int = 20,
    final_schedule: str = "cosine",
    optimizer: str = "adam",
    seed: int = 0,
    out: str | PathLike[str] | None = None,
    overwrite: bool = False,
    on_trial: Callable[[TrialRecord], None] = lambda record: None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    **model_options: Any,
) -> Run:
    """Searches learning rate and batch size, then trains anew on the best pair.

    A search that was killed goes on where it was when it is asked for again: finished trials are not run again.

    Trials are compared on `data.validation`; `data.test` is used once, by the final training.

    Args:
        data: The examples.
        sizes: Layer widths from input to output; see `build_mlp`.
        trials: Number of pairs to try, at least 1.
        epochs: Passes over the training examples in each trial.
        space: What to choose from. Default: rates from 1e-4 to 1e-2 and batch sizes of 16, 32, 64 and 128.
        oracle: `random`, or `bayesian`, which models the score over the space with a Gaussian process.
        final_epochs: Passes in the final training.
        final_schedule: `cosine`, from the best rate down to zero in the final training, or `constant`.
        optimizer: One of `kerasmlp.optimizers.OPTIMIZERS`.
        seed: Seed of the oracle's choices, the initial weights and the order of the examples.
        out: The run directory. Default: the first free one of `runs/NAME-search`, `runs/NAME-search-2`, ...
        overwrite: Whether a run that lies there may be replaced.
        on_trial: Called with the record of each trial when it ends, failed ones included.
        callbacks: Further Keras callbacks of the final training.
        **model_options: Options of `build_mlp`, such as `activation` or `dropout`, the same for all trials.

    Returns:
        The run of the final training. Its `search/` holds `trials.csv`, `trials.json` and Keras Tuner's own files,
        its `plots/` a picture of the trials.

    Raises:
        InvalidValue: a value is out of range, or does not fit the data; nothing has been written.
        OutputExists: the directory holds another run, or files that are no run; nothing has been written.
        RuntimeError: every trial failed.
    """
    widths = check_sizes(sizes)
    space = space or Space()
    check_search(data, widths, trials=trials, epochs=epochs, final_epochs=final_epochs, oracle=oracle)
    check_schedule(final_schedule)
    space.check(len(data.train))
    check_optimizer(optimizer, space.learning_rate[0])
    model_options = {"input_shape": data.feature_shape, **model_options}
    build_mlp(widths, **model_options)  # raises here rather than in every trial
    settings = {
        "sizes": widths,
        "model_options": model_options,
        "trials": trials,
        "epochs": epochs,
        "space": asdict(space),
        "oracle": oracle,
        "final_epochs": final_epochs,
        "final_schedule": final_schedule,
        "optimizer": optimizer,
        "seed": seed,
    }
    config = {"data": data_config(data), "search": settings, "versions": package_versions()}
    with open_run_directory(out, f"{data.name}-{SEARCH_NAME}", config, overwrite=overwrite) as run:
        records = _run_trials(run, data, widths, settings, space, model_options, on_trial)
        best = best_trial(records)
        plot_search([asdict(record) for record in records], run.path / "plots" / "search.png", title=data.name)
        model = build_mlp(widths, seed=seed, preprocessing=data.preprocessing(), **model_options)
        final = {
            "epochs": final_epochs,
            "batch_size": best.batch_size,
            "learning_rate": best.learning_rate,
            "optimizer": optimizer,
            "schedule": final_schedule,
            "early_stopping": None,
            "seed": seed,
        }
        return train_run(run, model, data, training_config(model, data, final, search=settings), callbacks=callbacks)


def check_search(
    data: Data, sizes: tuple[int, ...], *, trials: int, epochs: int, final_epochs: int, oracle: str
) -> None:
    """Raises `InvalidValue` for settings with which no search can start."""
    check_sizes_fit(sizes, data.feature_shape, data.num_classes)
    for name, value in (("trials", trials), ("epochs", epochs), ("final_epochs", final_epochs)):
        if value < 1:
            raise InvalidValue(f"`{name}` needs to be at least 1; got {value}.")
    if oracle not in ORACLES:
        raise InvalidValue(f"There is no oracle `{oracle}`.{nearest(oracle, ORACLES)} There are {', '.join(ORACLES)}.")


def best_trial(records: Iterable[TrialRecord]) -> TrialRecord:
    """The completed trial with the highest validation accuracy, at equal ones with the lowest validation loss.

    Raises:
        RuntimeError: every trial failed.
    """
    records = list(records)
    completed = [record for record in records if record.val_accuracy is not None and record.val_loss is not None]
    if not completed:
        raise RuntimeError(f"All {len(records)} trials failed; the first said: {records[0].error}")
    return max(completed, key=lambda record: (record.val_accuracy, -(record.val_loss or 0.0)))


def _run_trials(
    run: Run,
    data: Data,
    sizes: tuple[int, ...],
    settings: dict[str, Any],
    space: Space,
    model_options: dict[str, Any],
    on_trial: Callable[[TrialRecord], None],
) -> list[TrialRecord]:
    from kerasmlp.tuning.trials import TrialTuner

    folder = run.path / SEARCH_NAME

    def record(trial: TrialRecord) -> None:
        write_trials(folder, tuner.records)
        on_trial(trial)

    tuner = TrialTuner(
        _make_oracle(settings, space),
        data,
        sizes=sizes,
        epochs=settings["epochs"],
        seed=settings["seed"],
        model_options=model_options,
        optimizer=settings["optimizer"],
        on_trial=record,
        records=read_trials(folder),
        directory=str(folder),
        project_name="keras_tuner",
    )
    tuner.search(verbose=0)
    return tuner.records


def _make_oracle(settings: dict[str, Any], space: Space) -> keras_tuner.Oracle:
    import keras_tuner

    classes = {
        "random": keras_tuner.oracles.RandomSearchOracle,
        "bayesian": keras_tuner.oracles.BayesianOptimizationOracle,
    }
    return classes[settings["oracle"]](
        objective=keras_tuner.Objective("val_accuracy", "max"),
        max_trials=settings["trials"],
        seed=settings["seed"] + 1,  # Keras Tuner takes 0 for no seed
        hyperparameters=space.hyperparameters(),
        allow_new_entries=False,
        tune_new_entries=False,
        # One failed rate says little of the next: the search ends early only when every trial fails.
        max_consecutive_failed_trials=settings["trials"] + 1,
    )


def write_trials(folder: Path, records: Sequence[TrialRecord]) -> None:
    """Writes `trials.csv` and `trials.json`, a row per trial."""
    from kerasmlp.tuning.trials import TrialRecord

    rows = [asdict(record) for record in records]
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=[field.name for field in fields(TrialRecord)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(folder / "trials.csv", text.getvalue())
    write_json(folder / "trials.json", rows)


def read_trials(folder: Path) -> list[TrialRecord]:
    """The records that `write_trials` wrote, or none where it wrote none."""
    from kerasmlp.tuning.trials import TrialRecord

    path = folder / "trials.json"
    return [TrialRecord(**row) for row in json.loads(path.read_text(encoding="utf-8"))] if path.is_file() else []
