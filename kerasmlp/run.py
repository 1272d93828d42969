"""The run directory: all that one training leaves behind, and all that any later command needs."""

from __future__ import annotations

import csv
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kerasmlp._system.files import write_json
from kerasmlp.card import SPLIT_OPTIONS, Card
from kerasmlp.contract import CONFIG_NAME, HISTORY_NAME, METRICS_NAME, MODEL_NAME, STATE_NAME
from kerasmlp.errors import InvalidValue, NotFound, OutputExists

if TYPE_CHECKING:
    from os import PathLike

    import keras

    from kerasmlp.data.types import Data

LONGEST_SHOWN = 40  # characters of a setting that a message names


@dataclass(frozen=True)
class Run:
    """A finished training, read from its directory whenever it is asked.

    Attributes:
        path: The directory. It holds `config.json` (data, network and training as requested), `model.keras`,
            `history.csv` (a row per epoch), `metrics.json`, `labels.txt` and `plots/`.
    """

    path: Path

    @staticmethod
    def open(path: str | PathLike[str]) -> Run:
        """The finished run in the directory `path`.

        Raises:
            NotFound: there is no such directory.
            InvalidValue: the directory holds no run, or one that did not finish.
        """
        run = Run(Path(path))
        if not run.path.is_dir():
            raise NotFound(f"There is no run directory `{path}`.")
        for name in (CONFIG_NAME, MODEL_NAME, METRICS_NAME):
            if not (run.path / name).is_file():
                raise InvalidValue(
                    f"`{path}` is no finished run: it has no `{name}`. `kerasmlp train` makes one; an interrupted one "
                    "goes on when the same command is given again."
                )
        return run

    @property
    def model_path(self) -> Path:
        """Where the trained Keras model lies."""
        return self.path / MODEL_NAME

    @property
    def config(self) -> dict[str, Any]:
        """What was asked for: `data`, `model` and `training`."""
        return self._read_json(CONFIG_NAME)

    @property
    def metrics(self) -> dict[str, Any]:
        """What came out: test and validation accuracy, time per epoch and more."""
        return self._read_json(METRICS_NAME)

    @property
    def history(self) -> list[dict[str, float]]:
        """A row per epoch: `epoch` (from 1), `loss`, `accuracy`, `val_loss`, `val_accuracy`, `seconds`."""
        with (self.path / HISTORY_NAME).open(newline="", encoding="utf-8") as file:
            return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]

    @property
    def card(self) -> Card:
        """What artefacts made from this run say of themselves."""
        data, model = self.config["data"], self.config["model"]
        request = data["request"] or {}
        return Card(
            dataset=data["name"],
            fingerprint=data["fingerprint"],
            sizes=tuple(model["sizes"]),
            feature_shape=tuple(data["feature_shape"]),
            feature_range=None if data["feature_range"] is None else tuple(data["feature_range"]),
            class_names=tuple(data["class_names"]),
            test_accuracy=self.metrics["test_accuracy"],
            versions=self.config["versions"],
            columns=None if data.get("columns") is None else tuple(data["columns"]),
            split={name: request[name] for name in ("target", *SPLIT_OPTIONS) if request.get(name) is not None},
        )

    def load_model(self) -> keras.Model:
        """The trained Keras model, from raw features to logits."""
        from kerasmlp.artefacts.opening import load_keras

        return load_keras(self.model_path)

    def load_data(self) -> Data:
        """The data that the run was trained on, split as then.

        Raises:
            InvalidValue: they came from memory, or are no longer what they were.
        """
        from kerasmlp.data.loading import load_data

        recorded = self.config["data"]
        if recorded["request"] is None:
            raise InvalidValue(
                f"`{self.path}` was trained on arrays in memory, which it cannot load again; pass them as `data=`."
            )
        data = load_data(**recorded["request"])
        if data.fingerprint != recorded["fingerprint"]:
            raise InvalidValue(
                f"The data of `{self.path}` have changed since: `{recorded['request']['source']}` has the fingerprint "
                f"{data.fingerprint[:12]}, the run {recorded['fingerprint'][:12]}."
            )
        return data

    def _read_json(self, name: str) -> dict[str, Any]:
        try:
            values: dict[str, Any] = json.loads((self.path / name).read_text(encoding="utf-8"))
        except ValueError as error:
            raise InvalidValue(f"`{self.path / name}` is damaged: {error}.") from error
        return values


def as_run(run: Run | str | PathLike[str]) -> Run:
    """A run from itself or from its directory."""
    return run if isinstance(run, Run) else Run.open(run)


@contextmanager
def open_run_directory(
    out: str | PathLike[str] | None, name: str, config: dict[str, Any], *, overwrite: bool
) -> Iterator[Run]:
    """A run directory that holds `config.json` and is this process's alone while the block runs.

    Where an unfinished run of the same `config` lies there, it is left as it is, to go on with. Package versions do not
    count.

    Args:
        out: The directory. Default: the first of `runs/name`, `runs/name-2`, ... that is free or holds such a run.
        name: See `out`.
        config: What was asked for.
        overwrite: Whether another run may be replaced.

    Raises:
        OutputExists: `out` is a file, holds another run and `overwrite` is off, holds what is no run, or is being
            written to by another process; nothing has been touched.
    """
    config = json.loads(json.dumps(config))  # as it will be read again, lists for tuples
    path = choose_run_directory(out, name, config)
    resumes = _difference(path, config) == []
    if not resumes:
        check_output_is_free(path, config, overwrite=overwrite)
    path.mkdir(parents=True, exist_ok=True)
    with _locked(path):
        if not resumes:
            for entry in path.iterdir():
                shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
            write_json(path / CONFIG_NAME, config)
        yield Run(path)


@contextmanager
def follow_run(path: str | PathLike[str] | None, config: dict[str, Any]) -> Iterator[Run]:
    """A run of a worker that is not the chief: a temporary directory, with the state to go on from, if there is one.

    Args:
        path: The chief's directory, in a folder that the workers share.
        config: What was asked for.
    """
    config = json.loads(json.dumps(config))
    with tempfile.TemporaryDirectory() as folder:
        state = Path(path or ".") / STATE_NAME
        if state.is_file() and _difference(state.parent, config) == []:
            shutil.copy(state, folder)
        yield Run(Path(folder))


def choose_run_directory(out: str | PathLike[str] | None, name: str, config: dict[str, Any] | None = None) -> Path:
    """`out`, or by default the first of `runs/name`, `runs/name-2`, ... that is free or `config`'s, unfinished."""
    if out is not None:
        return Path(out)
    path, number = Path("runs") / name, 1
    while path.exists() and (config is None or _difference(path, config) != []):
        number += 1
        path = Path("runs") / f"{name}-{number}"
    return path


def check_output_is_free(path: Path, config: dict[str, Any] | None = None, *, overwrite: bool) -> None:
    """Raises where a new run cannot be written to `path`; touches nothing.

    Args:
        path: The directory.
        config: What was asked for, to name what an unfinished run there has otherwise.
        overwrite: Whether another run may be replaced.

    Raises:
        OutputExists: `path` is a file, holds another run and `overwrite` is off, or holds what is no run.
    """
    existing = next(folder for folder in (path, *path.absolute().parents) if folder.exists())
    if not existing.is_dir():
        raise OutputExists(f"`{existing}` is a file; a run needs a folder.")
    if not path.exists() or not any(path.iterdir()):
        return
    if not (path / CONFIG_NAME).is_file():
        raise OutputExists(f"`{path}` holds files that are no run; choose another folder with `--out` (`out=`).")
    if overwrite:
        return
    difference = None if config is None else _difference(path, config)
    what = "another run" if not difference else f"an unfinished run of other settings ({', '.join(difference)})"
    if config is not None and _settings_that_differ(path, config) == []:
        what = "this same run, finished"
    raise OutputExists(
        f"`{path}` holds {what}; choose another folder with `--out` (`out=`), or replace it with `--overwrite` "
        "(`overwrite=True`)."
    )


def _difference(path: Path, config: dict[str, Any]) -> list[str] | None:
    """What an unfinished run at `path` was asked for otherwise than in `config`; None where there is no such run."""
    if not (path / CONFIG_NAME).is_file() or (path / METRICS_NAME).is_file():
        return None
    return _settings_that_differ(path, config)


def _settings_that_differ(path: Path, config: dict[str, Any]) -> list[str]:
    # A search adds its final training to what it was asked for; a training is not part of a search.
    sections = (config.keys() | {"search"}) - {"versions"}
    there = _flatten({name: part for name, part in Run(path).config.items() if name in sections})
    here = _flatten({name: part for name, part in config.items() if name in sections})
    names = sorted(there.keys() | here.keys())
    return [
        f"{name}: {_short(there.get(name))} there, {_short(here.get(name))} here"
        for name in names
        if there.get(name) != here.get(name)
    ]


def _flatten(config: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(config, dict):
        return {prefix: config}
    parts = (_flatten(value, f"{prefix}.{name}" if prefix else name) for name, value in config.items())
    return {name: value for part in parts for name, value in part.items()}


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= LONGEST_SHOWN else f"{text[: LONGEST_SHOWN - 3]}..."


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Holds the directory for this process; the operating system lets go of it however the process ends."""
    import fcntl

    directory = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(directory)
        raise OutputExists(
            f"`{path}` is being written to by another process; wait for it, or choose another folder with `--out` "
            "(`out=`)."
        ) from None
    try:
        yield
    finally:
        os.close(directory)
