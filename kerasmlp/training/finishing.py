"""`finish_network`: what is done with a trained network on its validation examples: calibration, threshold, limits."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from kerasmlp._system.files import write_json
from kerasmlp.artefacts.keras_file import wrap_model
from kerasmlp.contract import CALIBRATION_NAME
from kerasmlp.model.model_files import load_keras, save_keras, store_task, weights_digest
from kerasmlp.model.quantized_layers import is_quantized, on_levels
from kerasmlp.tasks.task import Task
from kerasmlp.training.validation_data import model_outputs

if TYPE_CHECKING:
    from kerasmlp.data.types import Data
    from kerasmlp.run import Run
    from kerasmlp.training.settings import TrainingSettings

NUM_COMPARED = 100  # validation examples that show whether a network was divided
CALIBRATED = ("log_loss", "brier", "ece")  # scores that a temperature changes


@dataclass(frozen=True)
class Finished:
    """What `finish_network` decided.

    Attributes:
        task: The task, with a threshold and conformal limits.
        calibration: What `metrics.json` says about the calibration; None if the task has no probabilities.
    """

    task: Task
    calibration: dict[str, Any] | None


def finish_network(run: Run, data: Data, settings: TrainingSettings) -> Finished:
    """Calibrates the saved network, and chooses the threshold and the conformal limits on validation.

    A network that was trained for a file of few bits gets the weights which the file stores before.

    The temperature is multiplied into the last layer of `model.keras`, and the task is stored in the same file. If the
    process is killed in between, the next call continues: it never calibrates twice. A calibrated network is saved
    without its optimizer and its loss, because the optimizer's state belongs to the weights before.

    Args:
        run: The run directory, with the best `model.keras`.
        data: The data.
        settings: The settings of the training.

    Raises:
        InvalidValue: the threshold does not suit the task or cannot be chosen.
    """
    model = load_keras(run.model_path)
    if is_quantized(model):
        save_keras(run.model_path, on_levels(model), data.task)
    calibration = _calibrate(run, data) if settings.calibrate else None
    model = load_keras(run.model_path)
    answers = wrap_model(model, run.model_path, task=data.task).answers(data.validation.features)
    task = data.task.decided(answers, data.validation.labels, settings.threshold)
    store_task(run.model_path, task)
    return Finished(task, calibration)


def _calibrate(run: Run, data: Data) -> dict[str, Any] | None:
    """Multiplies the temperature into the saved network. Returns it, with the scores before."""
    notes = run.path / CALIBRATION_NAME
    model = load_keras(run.model_path)
    if notes.is_file():
        known: dict[str, Any] = json.loads(notes.read_text(encoding="utf-8"))
        if known.pop("weights") != weights_digest(model):
            return known  # the network was saved after these notes, and has the temperature already
    outputs = model_outputs(model, data.validation.features)
    calibration = data.task.calibration(outputs, data.validation.labels)
    if calibration is None:
        return None
    about: dict[str, Any] = {"temperature": calibration.temperature, "reason": calibration.reason}
    if calibration.temperature == 1:
        return about
    saved = wrap_model(model, run.model_path, task=data.task)
    before = {part: saved.answers(getattr(data, part).features) for part in ("validation", "test")}
    digest = weights_digest(model)
    if not _divide_outputs(model, calibration.temperature, data.validation.features[:NUM_COMPARED]):
        reason = "the network does not end in a dense layer, into which a temperature could be multiplied"
        return {"temperature": 1.0, "reason": reason}
    calibrated = wrap_model(model, run.model_path, task=data.task)
    # Validation alone decides: nothing in the saved network may depend on the test.
    changed = data.task.decisions(calibrated.answers(data.validation.features)) != data.task.decisions(
        before["validation"]
    )
    if num_changed := int(changed.sum()):  # their probabilities are equal up to rounding
        return {"temperature": 1.0, "reason": f"the calibrated network would round {num_changed} answers differently"}
    for part, answers in before.items():
        scores = data.task.score(answers, getattr(data, part).labels).numbers
        prefix = {"validation": "val", "test": "test"}[part]
        about |= {f"{prefix}_{name}_before": scores[name] for name in CALIBRATED if name in scores}
    write_json(notes, {**about, "weights": digest})
    save_keras(run.model_path, model, data.task)
    return about


def _divide_outputs(model: keras.Model, temperature: float, features: np.ndarray) -> bool:
    """Divides the last dense layer's weights. Returns whether that divides the outputs: other layers may follow it."""
    dense = [layer for layer in model.layers if isinstance(layer, keras.layers.Dense)]
    if not dense:
        return False
    wanted = model_outputs(model, features) / temperature
    dense[-1].set_weights([np.float32(np.float64(weights) / temperature) for weights in dense[-1].get_weights()])
    # 1 % is the precision of bfloat16.
    return bool(np.abs(model_outputs(model, features) - wanted).max() <= 0.01 * np.abs(wanted).max())
