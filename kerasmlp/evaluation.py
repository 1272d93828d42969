"""`evaluate`: how good a network is on a split."""

from __future__ import annotations

from os import PathLike
from typing import TYPE_CHECKING

from kerasmlp.artefacts.opening import open_artefact
from kerasmlp.errors import InvalidValue

if TYPE_CHECKING:
    from kerasmlp.artefacts.protocol import Artefact
    from kerasmlp.data.types import Data, Split
    from kerasmlp.tasks.scores import Scores
    from kerasmlp.tasks.task import Task


def check_split(split: str) -> None:
    """Raises `InvalidValue` if data have no such split."""
    if split not in ("train", "validation", "test"):
        raise InvalidValue(f"There is no split `{split}`; the splits are train, validation and test.")


def evaluate(artefact: Artefact | str | PathLike[str], data: Data, *, split: str = "test") -> Scores:
    """Returns the scores of an artefact on a whole split.

    Args:
        artefact: The artefact, or the path or URL of one: a run directory, a `.keras` file, a SavedModel folder, a
            `.tflite` or `.onnx` file or a served model.
        data: Data of the same feature shape and of the same classes or targets as the network.
        split: `train`, `validation` or `test`. Defaults to `test`.

    Returns:
        For classification a `kerasmlp.Evaluation`, for regression a `kerasmlp.RegressionScores`, for quantiles a
        `kerasmlp.tasks.quantiles.QuantileScores`, and for several labels a
        `kerasmlp.tasks.multi_label.MultiLabelScores`. All have `examples` and `numbers`, the scores by name.
        Those of probabilities are missing if the artefact answers only the class.

    Raises:
        NotFound: nothing exists at the path.
        InvalidValue: there is no such split, the path is not an artefact, or network and data do not fit each other.
        ServerError: the server of a served model failed.

    See Also:
        `kerasmlp.export.verify`: compares artefacts with the Keras model that they were made from.

    Example:
        >>> import tempfile, kerasmlp
        >>> data = kerasmlp.load_data("digits")
        >>> path = tempfile.mkdtemp() + "/untrained.keras"
        >>> kerasmlp.build_mlp([64, 10], input_shape=data.feature_shape, seed=0).save(path)
        >>> evaluation = evaluate(path, data)
        >>> evaluation.examples, evaluation.confusion.shape
        (360, (10, 10))
    """
    check_split(split)
    if isinstance(artefact, str | PathLike):
        artefact = open_artefact(artefact)
    check_artefact_fits(artefact, data)
    examples: Split = getattr(data, split)
    answers = artefact.answers(examples.features)
    check_artefact_fits(artefact, data)  # again, because the answers of a server contain the names of the classes
    scores = judging_task(artefact, data).score(answers, examples.labels)
    return scores if artefact.has_probabilities else scores.without_probabilities()


def judging_task(artefact: Artefact, data: Data) -> Task:
    """Returns the task by which answers are judged: the network's own, which knows its thresholds, or that of the data.

    An artefact without names does not know what else its task needs.
    """
    return artefact.task if artefact.has_names else data.task


def check_artefact_fits(artefact: Artefact, data: Data) -> None:
    """Checks that an artefact has the same task and classes or targets as the data. Shapes are checked with each batch.

    Raises:
        InvalidValue: they differ.
    """
    task = artefact.task
    if task.kind != data.task.kind:
        raise InvalidValue(
            f"`{artefact.path}` was trained for {task.kind}; {data.name} was loaded for {data.task.kind}. "
            f"{task.loading_option} loads it for the network."
        )
    if artefact.num_outputs != data.num_outputs:
        raise InvalidValue(
            f"`{artefact.path}` has {artefact.num_outputs} {task.unit}; {data.name} has {data.num_outputs}."
        )
    if artefact.has_names and task.names != data.task.names:
        raise InvalidValue(
            f"`{artefact.path}` was trained on the {task.unit} {', '.join(task.names)}; {data.name} has "
            f"{', '.join(data.task.names)}."
        )
    for index, name in artefact.known_names.items():
        if data.class_names[index] != name:
            raise InvalidValue(
                f"`{artefact.path}` calls class {index} `{name}`; {data.name} calls it `{data.class_names[index]}`."
            )
