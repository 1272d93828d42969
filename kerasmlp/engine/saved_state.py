"""The state of a training: saving it, restoring it bit for bit, and resetting a model to its untrained state.

`save_state` and `restore_state` use a file, `copy_state` and `set_state` the memory.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kerasmlp._system.files import appearing
from kerasmlp.errors import InvalidValue, NotFound

_INFO = "info.json"


def save_state(path: str | os.PathLike[str], model: keras.Model, info: Mapping[str, Any] | None = None) -> None:
    """Writes all variables of a training to `path`. A crash at any moment leaves either the old file or the new one.

    The variables of the model include the statistics of batch normalisation and the states of dropout's seed
    generators. Those of the optimizer include the step count, the learning rate, the averages of EMA and the scale of
    loss scaling.

    Call it at the end of an epoch, in the `on_epoch_end` of a callback. With `use_ema=True`, it is too late after
    `fit`, because Keras has then replaced the weights by their averages.

    Args:
        path: The file. Its format is `.npz` whatever its name. Its folder must exist.
        model: A compiled and built model.
        info: Additional information for `restore_state` to return, such as `{"epoch": 3}`: anything that JSON can hold,
            including NaN and infinities. Defaults to None.

    Raises:
        InvalidValue: the model is not compiled or not built.
        OSError: `path` cannot be written.

    Example:
        >>> import tempfile
        >>> import keras
        >>> from kerasmlp.engine import restore_state, save_state
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
        >>> model.compile("adam", "mse")
        >>> folder = tempfile.mkdtemp()
        >>> save_state(f"{folder}/state.npz", model, {"epoch": 3})
        >>> restore_state(f"{folder}/state.npz", model)
        {'epoch': 3}
    """
    write_state(path, {name: variable.numpy() for name, variable in _variables(model).items()}, info)


def restore_state(path: str | os.PathLike[str], model: keras.Model) -> dict[str, Any]:
    """Sets `model` and its optimizer to a state that `save_state` wrote. Returns the `info` that was saved with it.

    If anything does not fit, nothing is changed.

    Args:
        path: The file.
        model: A compiled and built model with the same architecture and optimizer.

    Raises:
        NotFound: there is no such file.
        InvalidValue: the file is not a state, belongs to another architecture or optimizer, or the model is not
            compiled and built.
    """
    path = Path(path)
    if not path.is_file():
        raise NotFound(f"There is no training state at `{path}`.")
    variables = _variables(model)
    try:
        # Opened here, because NumPy does not close a damaged archive.
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
    set_state(model, saved)
    return info


def write_state(
    path: str | os.PathLike[str], state: Mapping[str, np.ndarray], info: Mapping[str, Any] | None = None
) -> None:
    """Writes what `copy_state` returned, as `save_state` writes the state of a model."""
    arrays: dict[str, Any] = {**state, _INFO: np.array(json.dumps(dict(info or {})))}
    # An open file, because NumPy adds `.npz` to names that lack it.
    with appearing(Path(path)) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)


def copy_state(model: keras.Model) -> dict[str, np.ndarray]:
    """Returns a copy of all variables of a training, as `save_state` writes them.

    Raises:
        InvalidValue: the model is not compiled or not built.
    """
    return {name: variable.numpy().copy() for name, variable in _variables(model).items()}


def set_state(model: keras.Model, state: Mapping[str, np.ndarray]) -> None:
    """Sets a model and its optimizer to what `copy_state` returned for a model with the same architecture.

    Several trainings take turns with one compiled model this way.
    """
    for name, variable in _variables(model).items():
        # NumPy stores bfloat16 as bytes of an unknown type. The variable knows the type.
        array = state[name]
        variable.assign(array.view(variable.numpy().dtype) if array.dtype.kind == "V" else array)


def reset(model: keras.Model, fresh: keras.Model) -> None:
    """Sets a trained model back to the state of `fresh`, and keeps its compiled functions.

    The trials of a search share one compile this way: each builds the architecture again with its own seed, which takes
    milliseconds, and copies the variables. The result trains bit for bit like `fresh` compiled with the same optimizer.
    The learning rate stays as it is; set it afterwards if you want another (`model.optimizer.learning_rate = 3e-4`).

    Args:
        model: A compiled and built model.
        fresh: A model of the same architecture, such as `build_mlp(sizes, seed=7)`. It does not need to be compiled,
            and is not needed afterwards.

    Raises:
        InvalidValue: the number or the shapes of the variables differ, or `model` is not compiled and built.

    Example:
        >>> import keras
        >>> from kerasmlp.engine import reset
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
            f"`fresh` needs the same architecture as `model`: its variables have the shapes {fresh_shapes}, but those "
            f"of `model` have {shapes}."
        )
    for variable, source in zip(model.variables, fresh.variables, strict=True):
        variable.assign(source)
    optimizer = model.optimizer
    # Copied from a new optimizer and not set to zero: Adagrad's accumulators and loss scales do not start at zero.
    untrained = type(optimizer).from_config(optimizer.get_config())
    untrained.build(model.trainable_variables)
    for variable, source in zip(optimizer.variables, untrained.variables, strict=True):
        variable.assign(source)
    model.reset_metrics()
    model.stop_training = False


def _variables(model: keras.Model) -> dict[str, keras.Variable]:
    """Returns all variables of a training, named by owner and position.

    The names that Keras gives to variables contain counters of models in the process, so they can differ.
    """
    if not model.compiled or not model.built or model.optimizer is None:
        raise InvalidValue("`model` needs weights and an optimizer. Build it and call `model.compile(...)` first.")
    model.optimizer.build(model.trainable_variables)
    owners = {"model": model.variables, "optimizer": model.optimizer.variables}
    return {f"{owner}/{index}": v for owner, variables in owners.items() for index, v in enumerate(variables)}
