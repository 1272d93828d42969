"""Training state: all that a killed run needs to go on bit by bit, and the way back to a model's first day."""

from __future__ import annotations

import json
import os
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kerasmlp.errors import InvalidValue, NotFound

_INFO = "info.json"


def save_state(path: str | os.PathLike[str], model: keras.Model, info: Mapping[str, Any] | None = None) -> None:
    """Writes weights, seed generators and optimizer variables to `path`, in one step: the old file or the new one.

    Weights include the statistics of batch normalisation and the states of the seed generators of dropout; optimizer
    variables include the step count, the learning rate, the averages of EMA and the scale of loss scaling.

    Call it at an epoch's end, in a callback's `on_epoch_end`. After `fit` it may be too late: with `use_ema`, Keras has
    then put the averages in the place of the weights.

    Args:
        path: The file, an `.npz` by format whatever its name; its folder must exist.
        model: A compiled and built model.
        info: What else the run needs to know, such as `{"epoch": 3, "best_val_accuracy": 0.97}`: anything that JSON
            can hold, NaN and infinities included.

    Raises:
        InvalidValue: the model is not compiled or not built.
        OSError: `path` cannot be written.

    Example:
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
        >>> model.compile("adam", "mse")
        >>> folder = tempfile.mkdtemp()
        >>> save_state(f"{folder}/state.npz", model, {"epoch": 3})
        >>> restore_state(f"{folder}/state.npz", model)
        {'epoch': 3}
    """
    arrays = {name: variable.numpy() for name, variable in _variables(model).items()}
    arrays[_INFO] = np.array(json.dumps(dict(info or {})))
    path = Path(path)
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez(file, **arrays)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def restore_state(path: str | os.PathLike[str], model: keras.Model) -> dict[str, Any]:
    """Sets `model` and its optimizer to what `save_state` wrote, and returns the `info` that was saved with it.

    Nothing is set where anything does not fit.

    Raises:
        NotFound: there is no such file.
        InvalidValue: the file is not a state, or belongs to another architecture or optimizer, or the model is not
            compiled and built.
    """
    path = Path(path)
    if not path.is_file():
        raise NotFound(f"no training state at `{path}`.")
    variables = _variables(model)
    try:
        # Opened here, for NumPy leaves a damaged archive open.
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            saved = {name: file[name] for name in file.files}
        info: dict[str, Any] = json.loads(str(saved.pop(_INFO)))
    except (ValueError, KeyError, OSError, zipfile.BadZipFile) as error:
        raise InvalidValue(f"`{path}` is not a training state that `save_state` wrote: {error}.") from error
    for name in sorted(variables.keys() | saved.keys()):
        received = saved[name].shape if name in saved else None
        expected = tuple(variables[name].shape) if name in variables else None
        if received != expected:
            path_in_model = f" (`{variables[name].path}`)" if name in variables else ""
            raise InvalidValue(
                f"`{path}` holds the state of another model or optimizer: variable `{name}`{path_in_model} has shape "
                f"{received} in the file and {expected} in the model."
            )
    for name, variable in variables.items():
        # NumPy stores bfloat16 as bytes without a name; the variable knows what they are.
        array = saved[name]
        variable.assign(array.view(variable.numpy().dtype) if array.dtype.kind == "V" else array)
    return info


def reset(model: keras.Model, fresh: keras.Model) -> None:
    """Sets a trained model back to the state of `fresh`, keeping its compiled functions; `fresh` may then be dropped.

    This is how trials of a search share one compile: build the architecture anew with the trial's seed, which takes
    milliseconds, and copy its variables. The result trains bit by bit like `fresh` compiled with the same optimizer.
    Set the trial's learning rate afterwards (`model.optimizer.learning_rate = 3e-4`); it is kept as it is otherwise.

    Args:
        model: A compiled and built model.
        fresh: A model of the same architecture, such as `build_mlp(sizes, seed=7)`; it need not be compiled.

    Raises:
        InvalidValue: the two differ in their variables' number or shapes, or `model` is not compiled and built.

    Example:
        >>> build = lambda seed: keras.Sequential(
        ...     [keras.Input((4,)), keras.layers.Dense(2, kernel_initializer=keras.initializers.HeNormal(seed))])
        >>> model = build(0)
        >>> model.compile("adam", "mse")
        >>> reset(model, build(7))
        >>> bool((model.get_weights()[0] == build(7).get_weights()[0]).all())
        True
    """
    _variables(model)
    shapes = [tuple(variable.shape) for variable in model.variables]
    fresh_shapes = [tuple(variable.shape) for variable in fresh.variables]
    if shapes != fresh_shapes:
        raise InvalidValue(
            f"`reset` needs a fresh model of the same architecture: its variables have shapes {fresh_shapes}, "
            f"those of the model {shapes}."
        )
    for variable, source in zip(model.variables, fresh.variables, strict=True):
        variable.assign(source)
    optimizer = model.optimizer
    # Built anew rather than zeroed: Adagrad's accumulators and dynamic loss scales do not start from zero.
    first_day = type(optimizer).from_config(optimizer.get_config())
    first_day.build(model.trainable_variables)
    for variable, source in zip(optimizer.variables, first_day.variables, strict=True):
        variable.assign(source)
    model.reset_metrics()
    model.stop_training = False


def _variables(model: keras.Model) -> dict[str, keras.Variable]:
    """All of a training's variables by whose they are and their place; Keras's names count models, and may differ."""
    if not model.compiled or not model.built or model.optimizer is None:
        raise InvalidValue("`model` needs weights and an optimizer: build it and call `model.compile(...)` first.")
    model.optimizer.build(model.trainable_variables)
    owners = {"model": model.variables, "optimizer": model.optimizer.variables}
    return {f"{owner}/{index}": v for owner, variables in owners.items() for index, v in enumerate(variables)}
