"""`TASKS`: the kinds of tasks, and which of them some targets are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kerasmlp.errors import InvalidValue, nearest
from kerasmlp.tasks.classification import Classification
from kerasmlp.tasks.regression import Regression
from kerasmlp.tasks.task import Task

TASKS: Mapping[str, type[Task]] = {task.kind: task for task in (Classification, Regression)}


def task_from_config(config: Mapping[str, Any]) -> Task:
    """Returns the task that `Task.to_config` described.

    Example:
        >>> task_from_config({"kind": "classification", "names": ["no", "yes"]})
        Classification(names=('no', 'yes'))
    """
    values = {key: tuple(value) if isinstance(value, list) else value for key, value in config.items() if key != "kind"}
    return TASKS[config["kind"]](**values)


def task_answering(main: str, names: Sequence[str]) -> Task:
    """Returns the task of a network without a card, of which only the main output is known.

    Example:
        >>> task_answering("values", ["0"]).kind
        'regression'
    """
    return next(task for task in TASKS.values() if task.main == main)(tuple(names))


@dataclass(frozen=True)
class TaskOptions:
    """What a user says about the task. The fields are arguments of `kerasmlp.load_data`.

    Attributes:
        task: The kind of task. None: what the targets look like.
        log_target: Whether a network learns the logarithm of numbers.
    """

    task: str | None = None
    log_target: bool = False

    def __post_init__(self) -> None:
        """Checks the values.

        Raises:
            InvalidValue: there is no such task, or the options do not go together.
        """
        if self.task is not None and self.task not in TASKS:
            raise InvalidValue(
                f"`task` needs to be one of {', '.join(TASKS)}; got {self.task!r}.{nearest(str(self.task), TASKS)}"
            )
        if self.log_target and self.task not in (None, Regression.kind):
            raise InvalidValue(f"`log_target=True` is for numbers, and `task={self.task}` learns none; leave one out.")

    @property
    def kind(self) -> str | None:
        """The kind of task that the options ask for."""
        return Regression.kind if self.log_target else self.task

    def make(self, kind: str, names: tuple[str, ...]) -> Task:
        """Returns a task of this kind, before it is trained."""
        return Regression(names, log=self.log_target) if kind == Regression.kind else TASKS[kind](names)
