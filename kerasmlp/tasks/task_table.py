"""`TASKS`: the kinds of tasks, and which of them some targets are."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from kerasmlp.contract import LABELS, QUANTILES, VALUES
from kerasmlp.errors import InvalidValue, nearest
from kerasmlp.tasks.classification import Classification
from kerasmlp.tasks.multi_label import MultiLabel
from kerasmlp.tasks.quantiles import Quantiles, check_quantiles
from kerasmlp.tasks.regression import Regression
from kerasmlp.tasks.task import Task

TASKS: Mapping[str, type[Task]] = {task.kind: task for task in (Classification, Regression, Quantiles, MultiLabel)}


def task_from_config(config: Mapping[str, Any]) -> Task:
    """Returns the task that `Task.to_config` described.

    Raises:
        InvalidValue: it describes no task, or one with values that are not possible.

    Example:
        >>> task_from_config({"kind": "classification", "names": ["no", "yes"]})
        Classification(names=('no', 'yes'), coverage=None, threshold=None, limits=None)
    """
    kind = config.get("kind") if isinstance(config, Mapping) else None
    if not isinstance(kind, str) or kind not in TASKS:
        raise InvalidValue(f"`kind` of a task needs to be one of {', '.join(TASKS)}; got {kind!r}.")
    return TASKS[kind].from_config(config)


def task_answering(outputs: Container[str], names: Sequence[str], path: object) -> Task:
    """Returns the task of a network without a card, of which only the names of the outputs are known.

    Args:
        outputs: The outputs of `serving_default`, or what a TFLite file returns.
        names: Name of each class, label or target.
        path: What messages call the network.

    Raises:
        InvalidValue: the network answers quantiles, and nothing says which.

    Example:
        >>> task_answering(["values"], ["0"], "mobile.tflite").kind
        'regression'
    """
    if QUANTILES in outputs:
        raise InvalidValue(
            f"`{path}` answers `{QUANTILES}` and has no card, which would say what quantiles they are. Use the run, or "
            "export it again."
        )
    kind = Regression if VALUES in outputs else MultiLabel if LABELS in outputs else Classification
    return kind(tuple(names))


@dataclass(frozen=True)
class TaskOptions:
    """What a user says about the task. The fields are arguments of `kerasmlp.load_data`.

    Attributes:
        task: The kind of task. None: what the targets look like.
        log_target: Whether a network learns the logarithm of numbers.
        quantiles: The quantiles of numbers that a network learns; empty for their mean.
    """

    task: str | None = None
    log_target: bool = False
    quantiles: Iterable[float] = ()

    def __post_init__(self) -> None:
        """Checks the values.

        Raises:
            InvalidType: the quantiles are no numbers.
            InvalidValue: there is no such task, or the options do not go together.
        """
        if self.task is not None and self.task not in TASKS:
            raise InvalidValue(
                f"`task` needs to be one of {', '.join(TASKS)}; got {self.task!r}.{nearest(str(self.task), TASKS)}"
            )
        if self.log_target and self.task not in (None, Regression.kind, Quantiles.kind):
            raise InvalidValue(f"`log_target=True` is for numbers, and `task={self.task}` learns none; leave one out.")
        if not isinstance(self.quantiles, tuple | list) or self.quantiles:
            object.__setattr__(self, "quantiles", check_quantiles(self.quantiles))
            if self.task not in (None, Regression.kind, Quantiles.kind):
                raise InvalidValue(f"`quantiles` are for numbers, and `task={self.task}` learns none; leave one out.")
        elif self.task == Quantiles.kind:
            raise InvalidValue("`task=quantiles` needs `quantiles`, such as `quantiles=(0.05, 0.5, 0.95)`.")

    @property
    def kind(self) -> str | None:
        """The kind of task that the options ask for."""
        if self.quantiles:
            return Quantiles.kind
        return Regression.kind if self.log_target else self.task

    def make(self, kind: str, names: tuple[str, ...]) -> Task:
        """Returns a task of this kind, before it is trained."""
        wanted: dict[str, Any] = {"log": self.log_target, "quantiles": self.quantiles}
        known = {part.name for part in fields(TASKS[kind])}
        return TASKS[kind](names, **{name: value for name, value in wanted.items() if value and name in known})
