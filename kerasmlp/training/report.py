"""What a finished training reports: `metrics.json` and the plots."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from kerasmlp._system.files import write_json
from kerasmlp.artefacts.keras_file import wrap_model
from kerasmlp.contract import METRICS_NAME
from kerasmlp.data.number_embeddings import TableFeatures
from kerasmlp.engine.block_function import step_with_targets
from kerasmlp.evaluation import evaluate
from kerasmlp.model.augmentation import Augmentation
from kerasmlp.model.model_files import load_keras
from kerasmlp.model.optimizers import CYCLES
from kerasmlp.model.rate_cycles import cycle_ends
from kerasmlp.model.recipes import recipe_of
from kerasmlp.plots import IMAGES_PER_CLASS, plot_examples, plot_history
from kerasmlp.training.cycle_stop import why_ended

if TYPE_CHECKING:
    from kerasmlp.data.types import Data
    from kerasmlp.run import Run
    from kerasmlp.tasks.task import Task
    from kerasmlp.training.finishing import Finished
    from kerasmlp.training.run_recorder import RunRecorder
    from kerasmlp.training.time_budget import TimeBudget

NUM_AUGMENTED = 6  # training images in `plots/augmentation.png`


def write_report(
    run: Run,
    model: keras.Model,
    data: Data,
    recorder: RunRecorder,
    config: dict[str, Any],
    finished: Finished,
    budget: TimeBudget | None = None,
    about_teachers: Mapping[str, Any] | None = None,
) -> None:
    """Evaluates the saved model, draws the plots and writes `metrics.json`, whose existence marks the run as finished.

    Args:
        run: The run directory, with `model.keras` in it.
        model: The trained model.
        data: The data it was trained on.
        recorder: The recorder of the training.
        config: What `config.json` says.
        finished: What was decided on validation after the training.
        budget: The budget of a training that had a number of minutes.
        about_teachers: What to say about the teachers of a network that had some.
    """
    _plot_augmentation(run, model, data)
    task, best, objective = finished.task, recorder.best, recorder.ranking.objective
    title = network_title(data, config)
    seconds = [row["seconds"] for row in recorder.history]
    metrics = measured(run, model, data, config, finished, val_loss=best["val_loss"]) | {
        "best_epoch": int(best["epoch"]),
        "epochs": len(recorder.history),
        "seconds_per_epoch": statistics.median(seconds[1:] or seconds),  # the first epoch includes the compile
    }
    words = f"best epoch {best['epoch']:.0f}, {objective} {task.shown(objective, best[objective])}"
    plot_history(
        recorder.history,
        run.path / "plots" / "training.png",
        best=best,
        quantity=task.logged,
        title=f"{title}: {words}",
    )
    settings = config["training"]
    if budget is None and settings["early_stopping"] is None and settings["schedule"] == CYCLES:
        why = why_ended(cycle_ends(settings["epochs"]), len(recorder.history))
        metrics |= {} if why is None else {"ended_because": why}
    elif budget is not None:
        metrics |= budget.report(len(recorder.history), settings["early_stopping"])
    metrics |= about_teachers or {}
    write_json(run.path / METRICS_NAME, metrics)


def measured(
    run: Run, model: keras.Model, data: Data, config: dict[str, Any], finished: Finished, *, val_loss: float
) -> dict[str, Any]:
    """Returns what the `metrics.json` of every network says: the scores of the saved network, and what it is.

    Draws the plots of the test answers, too.

    Args:
        run: The run directory, with `model.keras` in it.
        model: The network.
        data: The data it was trained on.
        config: What `config.json` says.
        finished: What was decided on validation after the training.
        val_loss: The loss on validation.
    """
    task = finished.task
    saved = wrap_model(load_keras(run.model_path), run.model_path, task=task)
    tested, validated = evaluate(saved, data), evaluate(saved, data, split="validation")
    tested.draw(run.path / "plots", title=f"{network_title(data, config)}, test")
    about = {} if finished.calibration is None else {"calibration": finished.calibration}
    settings = dict(config["training"])
    if not isinstance(settings["optimizer"], str):
        settings["optimizer"] = settings["optimizer"]["class_name"]
    return {
        "task": task.kind,
        **{name if name in task.unprefixed else f"test_{name}": value for name, value in tested.numbers.items()},
        "val_loss": val_loss,
        **{f"val_{name}": value for name, value in validated.numbers.items() if name not in task.unprefixed},
        **about,
        "parameters": config["model"]["parameters"],
        **_about_network(model),
        "loss": _loss_name(config, task),
        **settings,
        "train_examples": len(data.train),
        "test_examples": tested.examples,
        "dataset": data.name,
        **{name: config["model"][name] for name in ("sizes", "members") if name in config["model"]},
    }


def network_title(data: Data, config: dict[str, Any]) -> str:
    """Returns the data and the network in words, for the titles of plots."""
    members = f"{config['model']['members']} x " if "members" in config["model"] else ""
    return f"{data.name}, {members}{' - '.join(map(str, config['model']['sizes']))}"


def _about_network(model: keras.Model) -> dict[str, Any]:
    """What a recipe decides about a network."""
    rates = [layer.rate for layer in model.layers if isinstance(layer, keras.layers.Dropout)]
    features = [layer.units for layer in model.layers if isinstance(layer, TableFeatures)]
    return {
        "recipe": recipe_of(model),
        "dropout": max(rates, default=0.0),
        **({"embedding": features[0]} if features else {}),
    }


def _loss_name(config: dict[str, Any], task: Task) -> str:
    """The name by which a loss is asked for, or the class of one that has none."""
    loss = config.get("loss") or config.get("search", {}).get("loss") or task.losses[0]
    return str(loss["class_name"] if isinstance(loss, dict) else loss)


def _plot_augmentation(run: Run, model: keras.Model, data: Data) -> None:
    """Plots some training images as they are stored and as the network saw them, if it augments images."""
    layer = next((layer for layer in model.layers if isinstance(layer, Augmentation)), None)
    if layer is None:
        return
    images = data.train.features[:NUM_AUGMENTED]
    # A copy of the layer: drawing from the model's own would advance its seed, and a second training would differ.
    copy = Augmentation.from_config(layer.get_config())
    with step_with_targets(data.train.labels[:NUM_AUGMENTED]):
        seen = [keras.ops.convert_to_numpy(copy(images, training=True)) for _ in range(IMAGES_PER_CLASS - 1)]
    rows = np.stack([images.astype(np.float32), *seen], axis=1)
    labels = np.repeat(np.arange(len(images)), IMAGES_PER_CLASS)
    names = [data.task.shown_target(target) for target in data.train.labels[:NUM_AUGMENTED]]
    plot_examples(
        rows.reshape(-1, *images.shape[1:]),
        labels,
        names,
        run.path / "plots" / "augmentation.png",
        title="as stored (left), and as seen in training",
    )
