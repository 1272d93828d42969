"""`search`: runs trials, trains the best one again to confirm its score, then trains the final network.

`join_search` lets another machine run trials of a search.
"""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kerasmlp._system.files import write_json
from kerasmlp._system.terminal import messages_console, shows_progress
from kerasmlp.card import package_versions
from kerasmlp.contract import PLAIN
from kerasmlp.data.describing import data_notes
from kerasmlp.engine.bfloat16 import show_unit
from kerasmlp.errors import KerasMLPWarning
from kerasmlp.model.building import build_mlp, check_sizes
from kerasmlp.model.members import members_of
from kerasmlp.model.optimizers import CYCLES
from kerasmlp.model.rate_cycles import cycle_ends
from kerasmlp.model.recipes import recipe_for, recipe_of
from kerasmlp.new_run_directory import open_run_directory
from kerasmlp.run import Run
from kerasmlp.settings_base import accepts
from kerasmlp.training.run_config import data_config, training_config
from kerasmlp.training.settings import TrainingSettings
from kerasmlp.tuning.extending import is_extended, keep_final_network
from kerasmlp.tuning.recipe_space import first_values, search_defaults
from kerasmlp.tuning.search_goal import Goal, label_of
from kerasmlp.tuning.search_listener import ListenerGroup
from kerasmlp.tuning.search_plot import plot_search
from kerasmlp.tuning.search_time import SearchTime
from kerasmlp.tuning.settings import SearchSettings
from kerasmlp.tuning.trial_network import TrialNetwork
from kerasmlp.tuning.trial_records import TrialRecord, best_trial
from kerasmlp.tuning.trial_writer import TrialWriter
from kerasmlp.tuning.worker_request import WorkerRequest, trial_splits

if TYPE_CHECKING:
    from os import PathLike

    import keras

    from kerasmlp.data.types import Data
    from kerasmlp.tuning.search_listener import Listener
    from kerasmlp.tuning.search_oracle import SearchOracle

SEARCH_NAME = "search"


@accepts(SearchSettings)
def search(
    data: Data,
    settings: SearchSettings | None = None,
    *,
    sizes: Iterable[int] | None = None,
    out: str | PathLike[str] | None = None,
    name: str | None = None,
    overwrite: bool = False,
    listener: Listener | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    verbose: str | int = "auto",
    **options: Any,
) -> Run:
    """Searches for the best hyper-parameters, then trains a final network with them.

    Trials are compared by the `objective` on `data.validation`: by default the accuracy for classification, and the
    RMSE for regression. With `folds`, they are compared by its mean over folds of the training and validation examples.
    `data.test` is used once, to test the final network.

    A search that was interrupted continues when you call `search` again with the same arguments: finished trials are
    not run again. To extend a search, interrupted or finished, call it again with the same arguments, its directory as
    `out`, and a larger number of `trials`. The final network is trained again only if another trial is the best now.

    The result of a trial depends on its values, on `seed` and on the number of threads, but not on the
    trials before it.

    Args:
        data: The examples.
        settings: Options of the search; see `SearchSettings` for all of them. Each can also be given as a keyword
            argument, which then has priority over `settings`.
        sizes: Layer widths from input to output, such as `[784, 128, 64, 10]`. The first is the number of features, the
            last the number of classes or targets. The space may replace the hidden widths. By default, the hidden
            widths are those of the recipe, and the default space for tables varies them.
        out: The run directory. By default, `search` takes the first of `runs/NAME-search`, `runs/NAME-search-2`, ...
            that does not exist or that holds this same search unfinished; `NAME` is the name of the data.
        name: Replaces `NAME-search` in the default of `out`.
        overwrite: Whether to replace a run that is already in the directory.
        listener: A `kerasmlp.tuning.Listener`, whose methods are called when a trial begins, finishes an epoch or ends.
        callbacks: Keras callbacks of the final training.
        verbose: `"auto"` shows progress in a terminal or a notebook; 0 never does; 1 and 2 always do.
        **options: Attributes of `SearchSettings`, such as `trials=24`, and options of `build_mlp` for the networks of
            all trials, such as `dropout=0.2`.

    Returns:
        The run of the final training. Its folder `search/` holds `trials.csv`, `trials.json`, `best.json`, Keras
        Tuner's own files, and `tensorboard/` for TensorBoard's HParams page. `plots/search.png` shows the trials.

    Raises:
        InvalidType: an option has an unknown name.
        InvalidValue: a value is out of range or does not suit the data, and nothing has been written; or the
            search in the directory is damaged or has begun more trials; or this machine cannot listen on `address`.
        OutputExists: the directory holds another run, or this same search with as many trials, finished, and
            `overwrite` is False; or it holds files that are not a run; or another process is writing to it. Nothing
            has been written.
        WorkFailed: every trial failed.

    Warns:
        KerasMLPWarning: classes have very few examples, or the score of the best trial differs when it is trained
            again, or `precision` makes the trials no faster.

    See Also:
        `kerasmlp.train`: trains one network, with hyper-parameters that you choose.
        `join_search`: runs trials for a search on another machine.

    Example:
        >>> import tempfile, kerasmlp
        >>> run = search(kerasmlp.load_data("digits"), sizes=[64, 32, 10], trials=2, epochs=2, final_epochs=2,
        ...              out=tempfile.mkdtemp())
        >>> sorted(path.name for path in (run.path / "search").glob("*.json"))
        ['best.json', 'trials.json']
    """
    from kerasmlp.tuning.oracles import make_oracle  # imports Keras Tuner

    shown = shows_progress(verbose)
    settings = SearchSettings.of(settings, options)
    splits = trial_splits(data, settings)
    settings = settings.for_data(data, varies_widths=sizes is None, splits=splits)
    widths = _widths(data, settings, sizes)
    settings.check(data, widths, splits)
    network = settings.network(widths)
    request = WorkerRequest.of(splits, network, settings)
    for note in (*data_notes(data), *request.notes(splits, settings.whole_space)):
        warnings.warn(note, KerasMLPWarning, stacklevel=2)
    clock = None
    if settings.minutes is not None:
        final_epochs = search_defaults(data, settings.recipe or data.recipe).final_epochs
        clock = SearchTime(settings.minutes, final_epochs / (request.epochs * len(splits)))
    first = None if settings.recipe == PLAIN else first_values(settings.whole_space, data, network)
    goal = Goal.of(data.task, settings.objective, request.deciding_ends(splits))
    config = {"data": data_config(data), "search": settings.to_config(widths), "versions": package_versions()}
    extends = partial(is_extended, config=config, settings=settings)
    name = name or f"{data.name}-{SEARCH_NAME}"
    with open_run_directory(out, name, config, overwrite=overwrite, extends=extends) as run:
        folder = run.path / SEARCH_NAME
        writer = TrialWriter(folder, goal)
        listeners = [writer, *([] if listener is None else [listener])]
        if shown:
            from kerasmlp.tuning.search_display import SearchDisplay

            show_unit(settings.precision, xla=request.may_use_xla(splits, settings.whole_space))
            # How many trials there is time for shows only in the end.
            known = settings.minutes is None or settings.trials is not None
            display = SearchDisplay(messages_console(), settings.num_trials() if known else None, goal)
            listeners.append(display)
        everybody = ListenerGroup(*listeners)
        oracle = make_oracle(
            settings, digest=request.digest, listener=everybody, goal=goal, first=first, schedule=request.schedule
        )
        writer.oracle, oracle.time = oracle, clock
        oracle.open(folder / "keras_tuner")
        try:
            if oracle.records():
                everybody.resume(oracle.records())
            if settings.oracle == "hyperband" and settings.folds is None:
                request = replace(request, states=folder / "states")
            best, minutes = _run_trials(oracle, splits, request, folder, settings)
            everybody.stop()
        finally:
            if shown:
                display.stop()
        _show(run, oracle.records(), goal, title=data.name)
        shutil.rmtree(folder / "states", ignore_errors=True)
        return _train_best(run, data, network, best, settings, minutes, callbacks, verbose=int(shown))


@accepts(SearchSettings)
def join_search(
    address: str,
    data: Data,
    settings: SearchSettings | None = None,
    *,
    sizes: Iterable[int] | None = None,
    **options: Any,
) -> None:
    """Runs trials for a search on another machine until that search ends.

    Args:
        address: Host and port where the search listens, as in its `search(address=...)`.
        data: The same data, with the same splits.
        settings: The same settings as those of the search. Those that only matter where the search runs, such as
            `trials`, `oracle` and `workers`, are ignored here.
        sizes: The same layer widths as those of the search; left out if the search does so.
        **options: Attributes of `SearchSettings` and options of `build_mlp`, as in `search`.

    Raises:
        InvalidType: an option has an unknown name.
        InvalidValue: the search at `address` has other data, sizes or settings.
        ChiefLost: nobody listens at `address` for half a minute, or the connection is lost.

    See Also:
        `search`: starts a search.
    """
    from kerasmlp.model.building import check_sizes_fit
    from kerasmlp.tuning.worker import join

    settings = SearchSettings.of(settings, options).for_data(data)
    widths = _widths(data, settings, sizes)
    check_sizes_fit(widths, data.feature_shape, data.num_outputs, data.task.unit)
    splits = trial_splits(data, settings)
    join(address, splits, WorkerRequest.of(splits, settings.network(widths), settings))


def _widths(data: Data, settings: SearchSettings, sizes: Iterable[int] | None) -> tuple[int, ...]:
    """Returns layer widths from input to output, by default those of the recipe."""
    if sizes is None:
        recipe = recipe_for(data, settings.recipe, settings.model_options.get("members"))
        sizes = (data.num_features, *recipe.hidden, data.num_outputs)
    return check_sizes(sizes)


def _run_trials(
    oracle: SearchOracle, splits: Sequence[Data], request: WorkerRequest, folder: Path, settings: SearchSettings
) -> tuple[TrialRecord, float | None]:
    """Runs all trials. Returns the best one, and the minutes for the final training if they are limited.

    Warns if the best one had another score when it was trained again.
    """
    path, known = folder / "best.json", {}
    if path.is_file():
        known = json.loads(path.read_text(encoding="utf-8"))
        oracle.again = {known["number"]: known["trained_again"]} if "trained_again" in known else {}
    if settings.workers == 1 and settings.address is None:
        from kerasmlp.tuning.running_trials import TrialTrainer, TrialTuner

        trainer = TrialTrainer.of(splits, request)
        TrialTuner(oracle, trainer, folder=folder / "keras_tuner", states=request.states).search(verbose=0)
    else:
        from kerasmlp.tuning.chief import run_with_workers

        run_with_workers(oracle, splits, request, workers=settings.workers, address=settings.address)
    best = best_trial(oracle.records(), oracle.goal)
    written = {**best.to_json(), "seed": settings.seed}
    # A search with a completed trial ends after the best one was trained again, unless its time is limited.
    again, first = oracle.again.get(best.number), {name: best.score(name) for name in oracle.goal.recorded}
    if again is not None:
        written["trained_again"] = again
    if again is not None and again != first:
        reached = " and a ".join(f"{label_of(name)} of {score:.7g}" for name, score in first.items())
        warnings.warn(
            f"Trial {best.number} reached a validation {reached}, but "
            f"{' and '.join(f'{again[name]:.7g}' for name in first)} when it was trained again, because another "
            "machine or another number of threads computed it. Treat differences of this size between trials as noise.",
            KerasMLPWarning,
            stacklevel=3,
        )
    final_minutes = None
    if oracle.time is not None:
        # That of a final training that was killed, if there was one.
        ends = cycle_ends(request.epochs) if request.schedule == CYCLES else []
        final_minutes = known.get("final_minutes", oracle.time.minutes_for_final(best, ends))
        written["final_minutes"] = final_minutes
        if len(oracle.records()) == 1 and settings.trials != 1:
            warnings.warn(
                f"There was time for one trial only, so nothing was compared. Give the search more `minutes` than "
                f"{settings.minutes:g}, or train without one.",
                KerasMLPWarning,
                stacklevel=3,
            )
    write_json(path, written)
    return best, final_minutes


def _show(run: Run, records: Sequence[TrialRecord], goal: Goal, *, title: str) -> None:
    from kerasmlp.tuning.tensorboard_log import write_hparams

    plot_search(records, run.path / "plots" / "search.png", goal, title=title)
    write_hparams(run.path / SEARCH_NAME / "tensorboard", records, goal)


def _train_best(
    run: Run,
    data: Data,
    network: TrialNetwork,
    best: TrialRecord,
    settings: SearchSettings,
    minutes: float | None,
    callbacks: Sequence[keras.callbacks.Callback],
    *,
    verbose: int,
) -> Run:
    from kerasmlp.training.fitting import train_run

    chosen = network.with_values(best.values)
    model = build_mlp(
        chosen.sizes,
        seed=settings.seed,
        preprocessing=data.preprocessing(settings.recipe, embedding=chosen.embedding),
        input_shape=data.feature_shape,
        postprocessing=data.postprocessing(),
        **chosen.options,
    )
    final = TrainingSettings(
        epochs=settings.final_epochs,
        minutes=minutes,
        batch_size=best.values["batch_size"],
        learning_rate=best.values["learning_rate"],
        optimizer=chosen.optimizer,
        weight_decay=chosen.weight_decay,
        schedule=settings.final_schedule,
        loss=settings.loss,
        label_smoothing=settings.label_smoothing,
        precision=settings.precision,
        objective=settings.objective,
        seed=settings.seed,
        **settings.final_options,
    ).completed(recipe_for(data, recipe_of(model), members_of(model)))
    recorded = settings.to_config(network.sizes)
    if keep_final_network(run, training_config(model, data, final, search=recorded)):
        if verbose:
            messages_console().print(f"Trial {best.number} is still the best, so the final network stays.")
        return run
    return train_run(run, model, data, final, search=recorded, callbacks=callbacks, verbose=verbose)
