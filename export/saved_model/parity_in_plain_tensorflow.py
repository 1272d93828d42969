"""Runs a SavedModel in a process without kerasmlp and Keras, and compares its answers with the Keras model's."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kerasmlp.contract import CARD, CLASS_ID, CLASS_NAMES, EVALUATION_BATCH_SIZE, LABEL, PROBABILITIES
from kerasmlp.errors import ParityError

if TYPE_CHECKING:
    from kerasmlp.card import Card

PROGRAM = Path(__file__).with_name("plain_tensorflow_program.py")
# Both sides run the same operations on the same batches, so only the processor's kernels may cause a difference.
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


def check_answers(name: str, answers: Arrays, expected: np.ndarray, class_names: Sequence[str]) -> float:
    """Returns the largest difference between any probability and the Keras model's.

    Args:
        name: What messages call the SavedModel and its signature.
        answers: `probabilities`, `class_id` and `label` for all examples.
        expected: The Keras model's probabilities, `(examples, classes)`.
        class_names: Name of each class.

    Raises:
        ParityError: an output is missing or has another shape; a probability is not finite or differs by more than
            1e-6; an example has another class, unless the two are equally probable; or a label is not the name of
            its class.
    """
    if answers.keys() != {PROBABILITIES, CLASS_ID, LABEL} or answers[PROBABILITIES].shape != expected.shape:
        shapes = ", ".join(f"{output} {array.shape}" for output, array in sorted(answers.items()))
        raise ParityError(
            f"{name} answers {shapes}; expected class_id, label and probabilities {expected.shape}. It is not "
            "published."
        )
    differences = np.abs(answers[PROBABILITIES] - expected)
    classes = answers[CLASS_ID]
    is_valid = (classes >= 0) & (classes < len(class_names))
    chosen = np.take_along_axis(expected, np.where(is_valid, classes, 0)[:, np.newaxis], axis=1)[:, 0]
    agreement = float((is_valid & (chosen >= expected.max(axis=1) - TOLERANCE)).mean())
    if not np.isfinite(differences).all():
        raise ParityError(f"{name} answers probabilities that are not finite numbers. It is not published.")
    difference = float(differences.max())
    if agreement < 1 or difference > TOLERANCE:
        raise ParityError(
            f"{name} agrees with the Keras model on {agreement:.2%} of {len(expected)} test examples, and its "
            f"probabilities differ by up to {difference:.1e}; expected 100% and at most {TOLERANCE:.0e}. It is not "
            "published."
        )
    labels = np.array([label.encode() for label in class_names], object)[classes]
    wrong = np.flatnonzero(answers[LABEL] != labels)
    if len(wrong):
        raise ParityError(
            f"{name} labels test example {wrong[0]} `{answers[LABEL][wrong[0]].decode(errors='replace')}`; expected "
            f"`{labels[wrong[0]].decode()}`. It is not published."
        )
    return difference


def check_card(name: str, answers: Arrays, card: Card) -> None:
    """Checks that the signature `card` answers the network's card and class names.

    Args:
        name: What messages call the SavedModel and its signature.
        answers: `card` and `class_names` for one request.
        card: The card.

    Raises:
        ParityError: the answer is another one.
    """
    expected = {CARD: [card.to_json().encode()], CLASS_NAMES: [[label.encode() for label in card.class_names]]}
    if {output: array.tolist() for output, array in answers.items()} != expected:
        raise ParityError(f"{name} does not answer the network's card and class names. It is not published.")
