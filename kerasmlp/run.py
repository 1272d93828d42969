"""`Run`: a finished training, read from its run directory.

`kerasmlp.new_run_directory` decides where a new run is written and protects it while it is written.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kerasmlp.card import Card, check_run_is_finished, read_json
from kerasmlp.contract import CONFIG_NAME, DATA_NAME, HISTORY_NAME, METRICS_NAME, MODEL_NAME
from kerasmlp.errors import InvalidValue

if TYPE_CHECKING:
    from os import PathLike

    import keras

    from kerasmlp.data.types import Data

TUNED_FOLDER = "fine_tuned"  # of a run, which holds the runs that are made from it


@dataclass(frozen=True)
class Run:
    """A finished training. Its properties read the files of the run directory each time you ask.

    Attributes:
        path: The directory. It holds `config.json` (the data, network and training that were requested), `data.json`,
            `model.keras`, `history.csv` (one row per epoch), `metrics.json`, `labels.txt` and `plots/`.

    Example:
        >>> import tempfile, kerasmlp
        >>> data = kerasmlp.load_data("digits")
        >>> model = kerasmlp.build_mlp([64, 10], input_shape=data.feature_shape, preprocessing=data.preprocessing())
        >>> folder = tempfile.mkdtemp()
        >>> _ = kerasmlp.train(model, data, epochs=2, out=folder)
        >>> run = kerasmlp.Run.open(folder)
        >>> run.metrics["test_examples"], len(run.history), run.card.sizes
        (360, 2, (64, 10))
    """

    path: Path

    @staticmethod
    def open(path: str | PathLike[str]) -> Run:
        """Returns the finished run in the directory `path`.

        Raises:
            NotFound: there is no such directory.
            InvalidValue: the directory does not hold a run, or the run did not finish.

        See Also:
            `kerasmlp.open_artefact`: opens the network of a run, or any other artefact, to compute with it.
        """
        check_run_is_finished(Path(path))
        return Run(Path(path))

    @property
    def model_path(self) -> Path:
        """Path of the trained Keras model."""
        return self.path / MODEL_NAME

    @property
    def config(self) -> dict[str, Any]:
        """What was requested: `data`, `model`, `training` and more."""
        return read_json(self.path / CONFIG_NAME)

    @property
    def metrics(self) -> dict[str, Any]:
        """The results: test and validation accuracy, time per epoch and more."""
        return read_json(self.path / METRICS_NAME)

    @property
    def about_data(self) -> dict[str, Any]:
        """How the data were read, their splits and the cautions about them: `data.json`."""
        return read_json(self.path / DATA_NAME)

    @property
    def history(self) -> list[dict[str, float]]:
        """One row per epoch: `epoch` (from 1), `loss`, `accuracy`, `val_loss`, `val_accuracy`, `seconds` and more.

        A committee has none, because it was not trained.
        """
        if "committee" in self.config.get("origin", {}):
            return []
        with (self.path / HISTORY_NAME).open(newline="", encoding="utf-8") as file:
            return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]

    @property
    def card(self) -> Card:
        """The card that every artefact made from this run carries."""
        return Card.from_run_directory(self.path)

    def load_model(self) -> keras.Model:
        """Returns the trained, uncompiled Keras model, which maps raw features to logits.

        Raises:
            InvalidValue: the file is damaged.
        """
        from kerasmlp.model.model_files import load_keras

        return load_keras(self.model_path)

    def load_data(self) -> Data:
        """Loads the data that the run was trained on, with the same split.

        Raises:
            InvalidValue: the data were arrays in memory, they have changed since the training, or `load_data` cannot
                read their source any more.
            NotFound: the source does not exist any more.
        """
        from kerasmlp.data.loading import load_data
        from kerasmlp.data.readers.choosing import takes_option
        from kerasmlp.model.model_files import stored_task

        recorded = self.config["data"]
        if recorded["request"] is None:
            raise InvalidValue(
                f"`{self.path}` was trained on arrays in memory and cannot load them again; pass them as `data`."
            )
        request = recorded["request"]
        # Earlier versions took every target for classes, and stored no task.
        if stored_task(self.model_path) is None and "task" not in request and takes_option(request["source"], "task"):
            request = {**request, "task": self.card.learnt.kind}
        data = load_data(**request)
        if data.fingerprint != recorded["fingerprint"]:
            raise InvalidValue(
                f"The data of `{self.path}` have changed since the training: the fingerprint of "
                f"`{recorded['request']['source']}` is {data.fingerprint[:12]} now and was "
                f"{recorded['fingerprint'][:12]} then. Restore the file, pass the original data as `data`, or train "
                "again."
            )
        return data


def tuned_folder(run: Run, precision: str, epochs: int) -> Path:
    """Returns where a run that was fine-tuned for a precision is kept."""
    return run.path / TUNED_FOLDER / f"{precision}-{epochs}"


def as_run(run: Run | str | PathLike[str]) -> Run:
    """Returns `run` itself, or the finished run in the directory `run`."""
    return run if isinstance(run, Run) else Run.open(run)
