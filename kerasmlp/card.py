"""`Card`: what a trained network says about itself. Every artefact made from it carries its card."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from importlib.metadata import version
from pathlib import Path
from typing import Any

from kerasmlp import __version__
from kerasmlp.contract import CARD_NAME, CONFIG_NAME, CROSS_VALIDATION_NAME, METRICS_NAME, MODEL_NAME
from kerasmlp.data.table_encoding import Encoder
from kerasmlp.data.types import DataSpec
from kerasmlp.errors import InvalidValue, NotFound
from kerasmlp.model.model_files import stored_task
from kerasmlp.tasks.classification import Classification
from kerasmlp.tasks.task import Task
from kerasmlp.tasks.task_table import task_from_config

SPLIT_OPTIONS = ("group", "time", "test_share", "keep_duplicates_together")
PACKAGES = ("tensorflow", "keras")
EMPTY_BY_DEFAULT = ("columns", "train_fingerprint", "split")


@dataclass(frozen=True)
class Card:
    """What you need to know to use a network without the program that trained it.

    Attributes:
        dataset: Name of the data.
        fingerprint: SHA-256 of the data, as in `Data.fingerprint`.
        sizes: Layer widths from input to output.
        feature_shape: Shape of one raw example.
        feature_range: Lowest and highest raw value, or None if the data define no range.
        class_names: Name of each class, in the order of the outputs.
        test_accuracy: Share of test examples that the trained Keras model classified correctly, in [0, 1].
        versions: Version of each package that made the network.
        columns: The columns of the table it was trained on, as `Encoder.to_config` returns them; None if the data are
            not a table.
        train_fingerprint: As `Data.train_fingerprint`.
        split: The arguments `target` and `SPLIT_OPTIONS` of the `load_data` call for its training, so that the same
            test examples can be found again; and `fold` and `seed` if the test is a fold.
        task: What the network learnt; None in cards of earlier versions, which only had classification.
        scores: Scores of the trained Keras model on the test, by name; empty in cards of earlier versions.
        members: Number of networks of these sizes that answer with their mean.
    """

    dataset: str
    fingerprint: str
    sizes: tuple[int, ...]
    feature_shape: tuple[int, ...]
    feature_range: tuple[float, float] | None
    class_names: tuple[str, ...]
    test_accuracy: float | None
    versions: dict[str, str]
    columns: tuple[dict[str, Any], ...] | None = None
    train_fingerprint: str | None = None
    split: dict[str, Any] = field(default_factory=dict)
    task: Task | None = None
    scores: dict[str, float] = field(default_factory=dict)
    members: int = 1

    @property
    def learnt(self) -> Task:
        """What the network learnt."""
        return self.task or Classification(self.class_names)

    @property
    def encoder(self) -> Encoder | None:
        """How the columns of a table become features; None if the data are not a table."""
        return None if self.columns is None else Encoder.from_config(self.columns)

    @property
    def spec(self) -> DataSpec:
        """What the network knows about its data."""
        return DataSpec(self.class_names, self.feature_range, self.encoder, self.learnt)

    def to_json(self, *, compact: bool = False) -> str:
        """Returns the card as JSON.

        Args:
            compact: Whether to leave out spaces, line breaks and what is empty. Defaults to `False`, indented JSON.
        """
        values = {part.name: getattr(self, part.name) for part in fields(self)}
        for name in ("task", "scores"):  # cards of earlier versions, which have neither, stay as they are
            if not values[name]:
                del values[name]
        if self.members == 1:
            del values["members"]
        if self.task is not None:
            values["task"] = self.task.to_config()
        if not compact:
            return json.dumps(values, indent=2) + "\n"
        if self.task is not None and self.task.class_names == self.class_names:
            del values["class_names"]
        filled = {name: value for name, value in values.items() if value or name not in EMPTY_BY_DEFAULT}
        return json.dumps(filled, separators=(",", ":"))

    def labels_text(self) -> str:
        """Returns the names of classes or targets, one per line, as a label file for clients."""
        return "".join(f"{name}\n" for name in self.learnt.names)

    @staticmethod
    def from_json(text: str | bytes) -> Card:
        """Returns the card that `to_json` wrote.

        Raises:
            InvalidValue: the text is not a card.
        """
        try:
            values: dict[str, Any] = json.loads(text)
            known = {
                "columns": None,
                **{part.name: values[part.name] for part in fields(Card) if part.name in values},
            }
            known["task"] = task_from_config(known["task"]) if known.get("task") else None
            if known["task"] is not None:
                known.setdefault("class_names", known["task"].class_names)
            Card(**known)  # raises if a field is missing
        except (ValueError, KeyError, TypeError) as error:
            raise InvalidValue(f"`{CARD_NAME}` does not describe a network made by kerasmlp: {error!r}.") from error
        for name in ("sizes", "feature_shape", "class_names", "feature_range", "columns"):
            known[name] = None if known[name] is None else tuple(known[name])
        return Card(**known)

    @staticmethod
    def from_run_directory(folder: Path) -> Card:
        """Returns the card of a finished run, from its `config.json` and `metrics.json`.

        Args:
            folder: The run directory; see `check_run_is_finished`.

        Raises:
            InvalidValue: one of the files is damaged.
        """
        config, metrics = read_json(folder / CONFIG_NAME), read_json(folder / METRICS_NAME)
        data, request = config["data"], config["data"]["request"] or {}
        told = ("target", *SPLIT_OPTIONS, *(("fold", "seed") if "fold" in request else ()))
        return Card(
            dataset=data["name"],
            fingerprint=data["fingerprint"],
            sizes=tuple(config["model"]["sizes"]),
            members=config["model"].get("members", 1),
            feature_shape=tuple(data["feature_shape"]),
            feature_range=None if data["feature_range"] is None else tuple(data["feature_range"]),
            class_names=tuple(data["class_names"]),
            test_accuracy=metrics.get("test_accuracy"),
            versions=config["versions"],
            columns=None if data.get("columns") is None else tuple(data["columns"]),
            train_fingerprint=data.get("train_fingerprint"),
            split={name: request[name] for name in told if request.get(name) is not None},
            task=_task_of(folder, data),
            scores=_test_scores(metrics) if "task" in data else {},
        )


def _task_of(folder: Path, data: Mapping[str, Any]) -> Task | None:
    """What a run learnt; None for a classifier of an earlier version."""
    if (folder / MODEL_NAME).is_file() and (task := stored_task(folder / MODEL_NAME)) is not None:
        return task
    return task_from_config(data["task"]) if "task" in data else None


def _test_scores(metrics: dict[str, Any]) -> dict[str, float]:
    tested = {name.removeprefix("test_"): value for name, value in metrics.items() if name.startswith("test_")}
    return {name: value for name, value in tested.items() if name != "examples"}


def check_run_is_finished(folder: Path) -> None:
    """Checks that a folder holds a finished run.

    Raises:
        NotFound: there is no such folder.
        InvalidValue: the folder does not hold a run, or the run did not finish.
    """
    if not folder.is_dir():
        raise NotFound(f"There is no run directory `{folder}`.")
    if (folder / CROSS_VALIDATION_NAME).is_file():
        example = next(iter(sorted(folder.glob(f"**/{MODEL_NAME}"))), folder / "fold-1" / MODEL_NAME).parent
        raise InvalidValue(f"`{folder}` is a cross-validation with several runs; choose one, such as `{example}`.")
    for name in (CONFIG_NAME, MODEL_NAME, METRICS_NAME):
        if not (folder / name).is_file():
            raise InvalidValue(
                f"`{folder}` is not a finished run: it has no `{name}`. If its training was interrupted, call `train` "
                "again with the same arguments, or repeat the command, to finish it."
            )


def read_json(path: Path) -> dict[str, Any]:
    """Returns the JSON object in a file of a run directory.

    Raises:
        InvalidValue: the file is damaged.
    """
    try:
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InvalidValue(f"`{path}` is damaged: {error}.") from error
    return values


def package_versions() -> dict[str, str]:
    """Returns the version of each package that affects a network and what is exported from it."""
    return {"kerasmlp": __version__, **{package: version(package) for package in PACKAGES}}
