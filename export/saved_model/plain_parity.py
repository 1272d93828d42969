"""A SavedModel in a process of plain TensorFlow, without kerasmlp and Keras, and its answers held to Keras's."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from kerasmlp.errors import ParityError
from kerasmlp.export.saved_model.answers import CLASS_ID, LABEL, PROBABILITIES

PROGRAM = Path(__file__).with_name("plain_process.py")
# The same operations on the same batches: what differs at all is a difference of processors' kernels.
TOLERANCE = 1e-6

Arrays = Mapping[str, np.ndarray]


class PlainTensorFlow:
    """A process of TensorFlow's that runs one SavedModel; it starts before it is needed, for that takes seconds."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        """`process` runs `plain_process.py`."""
        self._process = process

    def run(self, saved_model: Path, inputs: Mapping[str, Arrays], *, name: str) -> dict[str, dict[str, np.ndarray]]:
        """What each signature answers to its `inputs`: arrays `(examples, ...)` by output name.

        Args:
            saved_model: The folder.
            inputs: Arrays `(examples, ...)` by input name, by signature.
            name: What the SavedModel is called in messages.

        Raises:
            ParityError: it cannot be loaded, or a signature fails.
        """
        answers, errors = self._process.communicate(pickle.dumps((str(saved_model), inputs)))
        if self._process.returncode != 0:
            lines = errors.decode(errors="replace").strip().splitlines() or [f"status {self._process.returncode}"]
            raise ParityError(f"{name} does not run in plain TensorFlow and is not published: {lines[-1]}")
        answered: dict[str, dict[str, np.ndarray]] = pickle.loads(answers)
        return answered


@contextmanager
def plain_tensorflow() -> Iterator[PlainTensorFlow]:
    """Starts the process; ends it with the block."""
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


def check_answers(name: str, answers: Arrays, expected: np.ndarray, class_names: Sequence[str]) -> float:
    """The largest difference of any probability from the Keras model's.

    Args:
        name: SavedModel and signature, as messages call them.
        answers: `probabilities`, `class_id` and `label` of all examples.
        expected: The Keras model's probabilities, `(examples, classes)`.
        class_names: Name of each class.

    Raises:
        ParityError: an output is missing or of another shape; a probability is no number or differs by more than 1e-6;
            or an example has another class, or a label that is not its class's.
    """
    if answers.keys() != {PROBABILITIES, CLASS_ID, LABEL} or answers[PROBABILITIES].shape != expected.shape:
        shapes = ", ".join(f"{output} {array.shape}" for output, array in sorted(answers.items()))
        raise ParityError(
            f"{name} answers {shapes}; class_id, label and probabilities {expected.shape} were expected. It is not "
            "published."
        )
    differences = np.abs(answers[PROBABILITIES] - expected)
    classes = expected.argmax(axis=1)
    agreement = float((answers[CLASS_ID] == classes).mean())
    if not np.isfinite(differences).all():
        raise ParityError(f"{name} answers probabilities that are no numbers. It is not published.")
    difference = float(differences.max())
    if agreement < 1 or difference > TOLERANCE:
        raise ParityError(
            f"{name} agrees with the Keras model on {agreement:.2%} of {len(expected)} test examples, with "
            f"probabilities up to {difference:.1e} apart; all of them and {TOLERANCE:.0e} were expected. It is not "
            "published."
        )
    labels = np.array([label.encode() for label in class_names], object)[classes]
    wrong: Any = np.flatnonzero(answers[LABEL] != labels)
    if len(wrong):
        raise ParityError(
            f"{name} calls test example {wrong[0]} `{answers[LABEL][wrong[0]].decode(errors='replace')}`; "
            f"`{labels[wrong[0]].decode()}` was expected. It is not published."
        )
    return difference
