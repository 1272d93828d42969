"""`WorkerRequest`: what a worker needs to know to run trials, and the files that pass it to another process."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from kerasmlp.contract import PLAIN
from kerasmlp.data.disk_array import DiskArray
from kerasmlp.data.fold_choice import VALIDATION
from kerasmlp.data.folds import divide
from kerasmlp.data.types import Array, Data, Split
from kerasmlp.engine.bfloat16 import FLOAT32, note_on_gain
from kerasmlp.engine.preparing_models import worth_compiling
from kerasmlp.model.optimizers import COSINE, CYCLES
from kerasmlp.model.rate_cycles import cycle_ends
from kerasmlp.training.best_epoch import ends_that_decide
from kerasmlp.tuning.recipe_space import search_defaults
from kerasmlp.tuning.trial_network import TrialNetwork

if TYPE_CHECKING:
    from kerasmlp.tuning.settings import SearchSettings
    from kerasmlp.tuning.space import Space

# A chief takes its trial from a worker that was silent for this long, and a worker ends if its chief was.
LOST_AFTER_S = 30.0

TRIALS_PER_COMPILE = 4  # trials that share a compile, in a search of a usual size; of tables, nearly each has its own

_REQUEST_NAME = "request.json"


@dataclass(frozen=True)
class WorkerRequest:
    """What a worker needs to know, in addition to the data, to run the trials of a search.

    Attributes:
        network: The network that the values of a trial change.
        epochs: Epochs of a trial, unless its oracle chooses another number.
        seed: Seed of the initial weights and of the order of the examples.
        objective: What trials are compared by; None for the task's default.
        loss: Name of the loss; None for the task's default.
        label_smoothing: Share of each label that is spread over all classes.
        precision: Of the products of matrices in training.
        folds: Number of folds in each repetition, if a trial trains on several splits; None if it trains on one.
        recipe: Name of the recipe; None for the default of the data.
        schedule: Learning-rate schedule of a trial.
        digest: SHA-256 of the data and of the attributes above. Trials of searches with different digests cannot be
            compared.
        states: Folder on this machine for the training states that Hyperband continues from; None for other oracles.
        threads: Number of threads for TensorFlow; None leaves the choice to TensorFlow.
    """

    network: TrialNetwork
    epochs: int
    seed: int
    digest: str
    states: Path | None = None
    threads: int | None = None
    objective: str | None = None
    loss: str | None = None
    label_smoothing: float = 0.0
    precision: str = FLOAT32
    folds: int | None = None
    recipe: str | None = None
    schedule: str = "constant"

    @classmethod
    def of(cls, splits: Sequence[Data], network: TrialNetwork, settings: SearchSettings) -> Self:
        """Returns the request of a search on these splits, as `trial_splits` returns them.

        The settings are those of `for_data` for the whole data: a fold may be so small that it had other defaults.
        """
        data = splits[0]
        assert settings.epochs is not None, "settings of `for_data`"
        assert settings.recipe is not None, "settings of `for_data`"
        request = cls(
            network,
            settings.epochs,
            settings.seed,
            digest="",
            objective=settings.objective,
            loss=settings.loss,
            label_smoothing=settings.label_smoothing or 0.0,
            precision=settings.precision,
            folds=settings.folds,
            recipe=settings.recipe,
            schedule=search_defaults(data, settings.recipe).schedule,
        )
        # The digest is part of unfinished searches on disk, so what goes into it must not change.
        compared = {name: request.to_json()[name] for name in ("network", "epochs", "seed", "states")}
        added = {
            "objective": settings.objective,
            "loss": settings.loss,
            "label_smoothing": settings.label_smoothing or None,
            "precision": None if settings.precision == FLOAT32 else settings.precision,
            "folds": settings.folds,
            "recipe": None if settings.recipe == PLAIN else settings.recipe,
            **data.task_config(),
        }
        compared |= {name: value for name, value in added.items() if value is not None}
        digest = hashlib.sha256(json.dumps([data.fingerprint, compared]).encode())
        for split in splits:
            for part in (split.train, split.validation):
                digest.update(np.ascontiguousarray(part.labels).data)
        return replace(request, digest=digest.hexdigest())

    def deciding_ends(self, splits: Sequence[Data]) -> tuple[int, ...]:
        """Returns the ends of cycles of the learning rate if only these epochs of a trial count; otherwise none."""
        ends = cycle_ends(self.epochs) if self.schedule == CYCLES else ()
        first_repetition = splits[: self.folds]  # the others have the same validation examples
        return tuple(ends_that_decide(ends, sum(len(each.validation) for each in first_repetition)))

    def may_use_xla(self, splits: Sequence[Data], space: Space) -> bool:
        """Returns whether XLA compiles trials of the largest network of a space for data."""
        num_weights, num_examples = self.network.largest(space).num_weights, len(splits[0].train)
        return any(
            worth_compiling(
                steps_per_compile(self.schedule, self.epochs, num_examples, batch_size),
                self.precision,
                num_weights * batch_size,
            )
            for batch_size in _batch_sizes(space)
        )

    def notes(self, splits: Sequence[Data], space: Space) -> list[str]:
        """Returns a sentence for each option that no trial on these splits can gain from."""
        num_weights, batch_size = self.network.largest(space).num_weights, max(_batch_sizes(space))
        xla = self.may_use_xla(splits, space)
        note = note_on_gain(self.precision, num_weights, batch_size, xla=xla, subject="Each trial")
        return [] if note is None else [note]

    def to_json(self) -> dict[str, Any]:
        """Returns the request in a form that can be written as JSON."""
        return {
            "network": self.network.to_json(),
            "epochs": self.epochs,
            "seed": self.seed,
            "states": None if self.states is None else str(self.states),
            "digest": self.digest,
            "threads": self.threads,
            "objective": self.objective,
            "loss": self.loss,
            "label_smoothing": self.label_smoothing,
            "precision": self.precision,
            "folds": self.folds,
            "recipe": self.recipe,
            "schedule": self.schedule,
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """Returns the request that `to_json` described."""
        network = TrialNetwork(**{name: _with_tuples(value) for name, value in values["network"].items()})
        states = None if values["states"] is None else Path(values["states"])
        return cls(**{**values, "network": network, "states": states})


def steps_per_compile(schedule: str, epochs: int, num_examples: int, batch_size: int) -> int:
    """Returns how many steps of trials share a compile.

    The number of trials is a constant: with the real one, the result of a trial would depend on how many there are.
    """
    # With these schedules, the number of steps is part of the compiled code, which other trials then cannot share.
    sharing = 1 if schedule in (CYCLES, COSINE) else TRIALS_PER_COMPILE
    return sharing * epochs * num_examples // batch_size


def trial_splits(data: Data, settings: SearchSettings) -> list[Data]:
    """Returns the splits that each trial trains on: `data` themselves, or one for each fold of each repetition.

    The test examples of `data` are in none of the folds.

    Raises:
        InvalidValue: the data cannot be divided into these folds.
    """
    if settings.folds is None:
        return [data]
    return [fold.load() for fold in divide(data, settings.folds, settings.repeats, part=VALIDATION)]


def write_request(folder: Path, splits: Sequence[Data], request: WorkerRequest) -> None:
    """Writes what `read_request` reads: the request, and the training and validation examples of each split."""
    written: list[Any] = []
    for number, data in enumerate(splits):
        files: dict[str, Any] = {}
        for part in ("train", "validation"):
            split = getattr(data, part)
            if isinstance(split.features, DiskArray):
                files[part] = split.features.to_config()
            else:
                np.save(folder / f"{number}-{part}-features.npy", split.features)
            np.save(folder / f"{number}-{part}-labels.npy", split.labels)
        written.append({"data": data.to_config(), "files": files})
    text = json.dumps({"splits": written, "request": request.to_json()})
    (folder / _REQUEST_NAME).write_text(text, encoding="utf-8")


def read_request(folder: Path) -> tuple[list[Data], WorkerRequest]:
    """Returns the splits and the request that `write_request` wrote.

    Features are read from their files on demand, so all processes share the memory that they take. Trials never see the
    test examples: the test of the returned data is their validation.
    """
    read = json.loads((folder / _REQUEST_NAME).read_text(encoding="utf-8"))
    splits = []
    for number, written in enumerate(read["splits"]):
        parts = []
        for part in ("train", "validation"):
            if part in written["files"]:
                features: Array = DiskArray.from_config(written["files"][part])
            else:
                features = np.load(folder / f"{number}-{part}-features.npy", mmap_mode="r")
            parts.append(Split(features, np.load(folder / f"{number}-{part}-labels.npy")))
        train, validation = parts
        splits.append(Data.from_config(written["data"], train=train, validation=validation, test=validation))
    return splits, WorkerRequest.from_json(read["request"])


def _batch_sizes(space: Space) -> list[int]:
    assert isinstance(space.batch_size, tuple), "a space for data"
    return [int(size) for size in space.batch_size]


def _with_tuples(value: Any) -> Any:
    """JSON has no tuples: a list in it was one."""
    if isinstance(value, dict):
        return {key: _with_tuples(part) for key, part in value.items()}
    return tuple(_with_tuples(part) for part in value) if isinstance(value, list) else value
