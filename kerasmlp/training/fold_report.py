"""`CrossValidation`: the result of a cross-validation, and the files that it consists of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kerasmlp._system.files import write_json, write_text
from kerasmlp.card import read_json
from kerasmlp.contract import CROSS_VALIDATION_NAME, LABEL, OUT_OF_FOLD_NAME, PROBABILITIES
from kerasmlp.errors import NotFound
from kerasmlp.plots import plot_folds
from kerasmlp.run import Run
from kerasmlp.tasks.scores import score_title

if TYPE_CHECKING:
    from os import PathLike

    import pandas as pd

    from kerasmlp.data.folds import FoldedData
    from kerasmlp.tasks.task import Task

# What a person sees of the scores of a fold.
SHOWN = (
    *("accuracy", "balanced_accuracy", "macro_f1", "micro_f1", "average_precision", "log_loss", "auc", "f1"),
    *("rmse", "mae", "r2"),
    *("pinball", "coverage", "width"),
)


@dataclass(frozen=True)
class CrossValidation:
    """The result of `kerasmlp.cross_validate`. Its properties read the files of its folder each time you ask.

    Attributes:
        path: The folder.
    """

    path: Path

    @staticmethod
    def open(path: str | PathLike[str]) -> CrossValidation:
        """Returns the finished cross-validation in a folder.

        Raises:
            NotFound: the folder holds none.
        """
        if not (Path(path) / CROSS_VALIDATION_NAME).is_file():
            raise NotFound(f"`{path}` holds no finished cross-validation: it has no `{CROSS_VALIDATION_NAME}`.")
        return CrossValidation(Path(path))

    @property
    def summary(self) -> dict[str, Any]:
        """What `cross_validation.json` says: `mean` and `std` of every score, and `runs` with the scores of each fold.

        `std` is the standard deviation over all folds and repetitions, divided by their number, as `numpy.std` is.
        """
        return read_json(self.path / CROSS_VALIDATION_NAME)

    @property
    def mean(self) -> dict[str, float]:
        """Mean of every score over the folds, by name."""
        values: dict[str, float] = self.summary["mean"]
        return values

    @property
    def std(self) -> dict[str, float]:
        """Standard deviation of every score over the folds, by name."""
        values: dict[str, float] = self.summary["std"]
        return values

    @property
    def runs(self) -> list[Run]:
        """The run of each fold, in order."""
        return [Run(self.path / about["run"]) for about in self.summary["runs"]]

    def out_of_fold(self) -> pd.DataFrame:
        """Returns the answer to each example by the network that was not trained on it, as `out_of_fold.csv` has it.

        Returns:
            A row for each example and repetition, ordered by repetition and position. The columns are

            - `position`: position of the example in the source, from 0: its own validation and test come last;
            - `repeat` and `fold`: the network, each from 1;
            - `target`: the class or the number that is right; for several targets or labels `target_NAME` each;
            - `predicted`: the answer, or `predicted_NAME`; for quantiles `predicted_0.05` or `predicted_NAME_0.05`;
            - `probability_NAME` for each class or label.
        """
        import pandas as pd

        return pd.read_csv(self.path / OUT_OF_FOLD_NAME, keep_default_na=False)


@dataclass(frozen=True, eq=False)
class FoldResult:
    """How the network of one fold answered.

    Attributes:
        part: The fold.
        name: Path of its run in the folder of the cross-validation.
        metrics: The `metrics.json` of the run.
        num_validation: Number of its validation examples.
        task: What the network learnt.
        answers: Its answers to the examples of the fold.
        targets: What is right, as in `Split.labels`.
    """

    part: FoldedData
    name: str
    metrics: Mapping[str, Any]
    num_validation: int
    task: Task
    answers: np.ndarray
    targets: np.ndarray

    @property
    def scores(self) -> dict[str, float]:
        """The test scores by name."""
        tested = {name: value for name, value in self.metrics.items() if name.startswith("test_")}
        return {name.removeprefix("test_"): value for name, value in tested.items() if name != "test_examples"}

    def to_json(self) -> dict[str, Any]:
        """Returns what `cross_validation.json` says about the fold."""
        return {
            "run": self.name,
            "repeat": self.part.repeat,
            "fold": self.part.number,
            "seed": self.part.seed,
            "train_examples": self.metrics["train_examples"],
            "validation_examples": self.num_validation,
            "test_examples": self.metrics["test_examples"],
            "best_epoch": self.metrics["best_epoch"],
            "epochs": self.metrics["epochs"],
            "scores": self.scores,
        }


def write_fold_report(path: Path, results: Sequence[FoldResult], config: Mapping[str, Any]) -> CrossValidation:
    """Writes what the folds amount to. `cross_validation.json` comes last and marks the end.

    Args:
        path: The folder.
        results: Those of all folds.
        config: What `config.json` says.
    """
    first = results[0]
    scores = [result.scores for result in results]
    # A score may be undefined in some fold, as the area under a curve is without examples of both classes.
    by_name = {name: [each[name] for each in scores if name in each] for name in _names(scores)}
    summary = {
        "task": first.task.kind,
        "dataset": first.metrics["dataset"],
        "objective": first.task.objective(first.metrics.get("objective"))[0].removeprefix("val_"),
        **config["cross_validation"],
        "tested_examples": len(np.unique(np.concatenate([result.part.positions for result in results]))),
        "mean": {name: float(np.mean(values)) for name, values in by_name.items()},
        "std": {name: float(np.std(values)) for name, values in by_name.items()},
        "runs": [result.to_json() for result in results],
    }
    write_text(path / OUT_OF_FOLD_NAME, _out_of_fold(results))
    panels = {
        f"{score_title(name)}\n"
        f"{first.task.shown(name, summary['mean'][name])} ± {first.task.shown(name, summary['std'][name])}": by_name[
            name
        ]
        for name in shown_scores(summary)
    }
    plot_folds(panels, path / "plots" / "folds.png", title=f"{summary['dataset']}, {len(results)} folds")
    if first.metrics.get("threshold") is None:  # otherwise each fold decides by its own threshold
        once = [result for result in results if result.part.repeat == 1]
        answers, targets = (np.concatenate([getattr(r, name) for r in once]) for name in ("answers", "targets"))
        first.task.score(answers, targets).draw(path / "plots", title=f"{summary['dataset']}, out of fold")
    write_json(path / CROSS_VALIDATION_NAME, summary)
    return CrossValidation(path)


def shown_scores(summary: Mapping[str, Any]) -> list[str]:
    """Returns the names of the scores that a person should see first, the objective before the others."""
    names = [name for name in (summary["objective"], *SHOWN) if name in summary["mean"]]
    return list(dict.fromkeys(names))


def _names(scores: Iterable[Mapping[str, float]]) -> list[str]:
    return list(dict.fromkeys(name for each in scores for name in each))


def _out_of_fold(results: Sequence[FoldResult]) -> str:
    import pandas as pd

    frames = [
        pd.DataFrame(
            {
                "position": result.part.positions,
                "repeat": result.part.repeat,
                "fold": result.part.number,
                **answer_columns(result.task, result.answers, result.targets),
            }
        )
        for result in results
    ]
    rows = pd.concat(frames).sort_values(["repeat", "position"])
    # Nine digits tell all numbers of float32 apart.
    return str(rows.to_csv(index=False, lineterminator="\n", float_format="%.9g"))


def answer_columns(task: Task, answers: np.ndarray, targets: np.ndarray) -> dict[str, np.ndarray]:
    """Returns what is right and what was answered as columns of a table, as `CrossValidation.out_of_fold` explains.

    Example:
        >>> from kerasmlp.tasks.classification import Classification
        >>> columns = answer_columns(Classification(("no", "yes")), np.array([[0.25, 0.75]]), np.array([0]))
        >>> {name: column.tolist() for name, column in columns.items()}
        {'target': ['no'], 'predicted': ['yes'], 'probability_no': [0.25], 'probability_yes': [0.75]}
    """
    probabilities = (
        {f"probability_{name}": answers[:, index] for index, name in enumerate(task.names)}
        if task.main == PROBABILITIES
        else {}
    )
    if task.has_classes:
        return {
            "target": np.array(task.names)[targets],
            "predicted": task.complete(answers)[LABEL],
            **probabilities,
        }
    endings = [f"_{name}" for name in task.names] if len(task.names) > 1 or probabilities else [""]
    decided = task.decisions(answers)
    columns = {f"target{ending}": targets[:, index] for index, ending in enumerate(endings)}
    for index, ending in enumerate(endings):
        if decided.ndim == 2:
            decision = decided[:, index]
            columns[f"predicted{ending}"] = decision.astype(int) if decision.dtype == bool else decision
        else:
            levels = getattr(task, "quantiles", ())
            columns |= {f"predicted{ending}_{level:g}": decided[:, index, at] for at, level in enumerate(levels)}
    return {**columns, **probabilities}
