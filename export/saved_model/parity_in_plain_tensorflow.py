"""Runs a SavedModel in a process without kerasmlp and Keras, and compares its answers with the Keras model's."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kerasmlp.contract import CARD, CLASS_NAMES, EVALUATION_BATCH_SIZE
from kerasmlp.errors import ParityError

if TYPE_CHECKING:
    from kerasmlp.card import Card
    from kerasmlp.tasks.task import Task

PROGRAM = Path(__file__).with_name("plain_tensorflow_program.py")
# Both sides run the same operations on the same batches, so only the processor's kernels may cause a difference. For
# numbers it is a share of their standard deviation.
TOLERANCE = 1e-6

Arrays = Mapping[str, np.ndarray]


class PlainTensorFlow:
    """A process that runs one SavedModel in plain TensorFlow. `start_plain_tensorflow` starts it."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        """Takes a process that runs `plain_tensorflow_program.py`."""
        self._process = process

    def run(self, saved_model: Path, inputs: Mapping[str, Arrays], *, name: str) -> dict[str, dict[str, np.ndarray]]:
        """Returns what each signature answers to its inputs: arrays `(examples, ...)` by output name.

        Args:
            saved_model: The folder of the SavedModel.
            inputs: For each signature, arrays `(examples, ...)` by input name.
            name: What messages call the SavedModel.

        Raises:
            ParityError: the SavedModel cannot be loaded, or a signature fails.
        """
        message = pickle.dumps((str(saved_model), inputs, EVALUATION_BATCH_SIZE))
        answers, errors = self._process.communicate(message)
        if self._process.returncode != 0:
            lines = errors.decode(errors="replace").strip().splitlines() or [f"status {self._process.returncode}"]
            raise ParityError(f"{name} does not run in plain TensorFlow and is not published: {lines[-1]}")
        answered: dict[str, dict[str, np.ndarray]] = pickle.loads(answers)
        return answered


@contextmanager
def start_plain_tensorflow() -> Iterator[PlainTensorFlow]:
    """Yields a process that runs a SavedModel in plain TensorFlow; ends it with the block.

    Starting takes seconds, so start it before it is needed and do other work meanwhile.
    """
    process = subprocess.Popen(
        [sys.executable, "-P", str(PROGRAM)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={"TF_CPP_MIN_LOG_LEVEL": "3", **os.environ},
    )
    with process:
        try:
            yield PlainTensorFlow(process)
        finally:
            process.kill()


def check_answers(name: str, answers: Arrays, expected: np.ndarray, task: Task) -> float:
    """Returns the largest difference between any main output and the Keras model's, as `Task.differences` measures it.

    Args:
        name: What messages call the SavedModel and its signature.
        answers: All outputs of the task for all examples.
        expected: The Keras model's main output, `(examples, *answer_shape)`.
        task: What the network learnt.

    Raises:
        ParityError: an output is missing or has another shape; a main output is not finite or differs by more
            than 1e-6; or another output does not follow from the Keras model's main output, or from one that differs
            by 1e-6, as those of two equally probable classes do.
    """
    num = len(expected)
    shapes = {output: array.shape for output, array in answers.items()}
    promised = {output: (num, *axes) for output, (_, axes) in task.outputs.items()}
    if shapes != promised:
        found, wanted = (
            ", ".join(f"{output} {shape}" for output, shape in sorted(each.items())) for each in (shapes, promised)
        )
        raise ParityError(f"{name} answers {found}; expected {wanted}. It is not published.")
    main = answers[task.main]
    if not np.isfinite(main).all():
        raise ParityError(f"{name} answers {task.main} that are not finite numbers. It is not published.")
    differences = task.differences(main, expected)
    is_near = (differences <= task.tolerance(TOLERANCE, expected)).reshape(num, -1).all(axis=1)
    difference = float(differences.max())
    # What follows from numbers that are right to 1e-6 is right: either of two equally probable classes, for instance.
    right = [task.complete(expected), task.complete(main)]
    texts = [output for output, (dtype, _) in task.outputs.items() if dtype == "string"]
    others = [output for output in task.outputs if output not in (task.main, *texts)]
    agreement = float((_equal_one_of(answers, right, others, task) if others else is_near).mean())
    if agreement < 1 or not is_near.all():
        unit = " standard deviations" if task.has_units else ""
        raise ParityError(
            f"{name} agrees with the Keras model on {agreement:.2%} of {num} test examples, and its {task.main} differ "
            f"by up to {difference:.1e}{unit}; expected 100% and at most {TOLERANCE:.0e}. It is not published."
        )
    wrong = np.flatnonzero(~_equal_one_of(answers, right, [*others, *texts], task))
    if len(wrong):
        index = wrong[0]
        given, expects = ({text: _decoded(each[text])[index] for text in texts} for each in (answers, right[1]))
        output = next((text for text in texts if given[text] != expects[text]), texts[0])
        raise ParityError(
            f"{name} gives as {output} of test example {index} `{given[output]}`; expected `{expects[output]}`. It is "
            "not published."
        )
    return difference


def _equal_one_of(
    answers: Arrays, right: Sequence[Mapping[str, Any]], outputs: Sequence[str], task: Task
) -> np.ndarray:
    """Returns for which examples all these outputs are those of one of the right answers, bool `(examples,)`."""
    num = len(answers[task.main])
    is_equal = np.zeros(num, bool)
    for wanted in right:
        equal = [_is_equal(answers[output], wanted[output], task).reshape(num, -1).all(axis=1) for output in outputs]
        is_equal |= np.all([np.ones(num, bool), *equal], axis=0)
    return is_equal


def _is_equal(found: np.ndarray, wanted: np.ndarray, task: Task) -> np.ndarray:
    if wanted.dtype.kind == "f":
        return np.asarray(task.differences(found, wanted) <= task.tolerance(TOLERANCE, wanted))
    return np.asarray(_decoded(found) == _decoded(wanted))


def _decoded(array: np.ndarray) -> np.ndarray:
    texts = [value.decode(errors="replace") if isinstance(value, bytes) else value for value in array.ravel().tolist()]
    return np.array(texts).reshape(array.shape)


def check_card(name: str, answers: Arrays, card: Card) -> None:
    """Checks that the signature `card` answers the network's card and the names of its classes or targets.

    Args:
        name: What messages call the SavedModel and its signature.
        answers: `card` and `class_names` for one request.
        card: The card.

    Raises:
        ParityError: the answer is another one.
    """
    expected = {CARD: [card.to_json().encode()], CLASS_NAMES: [[label.encode() for label in card.learnt.names]]}
    if {output: array.tolist() for output, array in answers.items()} != expected:
        raise ParityError(f"{name} does not answer the network's card and its names. It is not published.")
