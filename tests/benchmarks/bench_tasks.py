"""Claims: numbers are predicted as well as by scikit-learn, and probabilities, sets and intervals can be trusted.

By the recipe `plain`:

- `diabetes`: RMSE of five folds, next to scikit-learn's `RidgeCV` with standardised features;
- `california`: RMSE of seeds 0 to 4 (test share 0.2), next to scikit-learn's `MLPRegressor` with standardised features
  and target, trained on the same rows;
- `calibration`: log-loss and calibration error on the test before and after calibration, and the coverage of sets;
- `intervals`: the coverage of intervals for California, from the mean and from quantiles;
- `threshold`: F1 of `>50K` in adult's own test with `best-f1`, next to the F1 at 0.5.

Data sets that are not named are left out.

    python tests/benchmarks/bench_tasks.py --tables FOLDER --mnist mnist.npz --json tasks.json
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import kerasmlp
from kerasmlp.data.types import Data
from kerasmlp.run import Run
from kerasmlp.tasks.conformal import needed_examples
from tests.benchmarks.machine import describe_machine
from tests.helpers.coverage import coverage_standard_error

HIDDEN = (128, 64)  # the default of `kerasmlp train`
COVERAGES = (0.8, 0.9, 0.95)
SEEDS = range(5)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures, prints the results and writes the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=Path, default=os.environ.get("KERASMLP_TABLES"))
    parser.add_argument("--mnist", default=os.environ.get("KERASMLP_MNIST"))
    parser.add_argument("--only", default="", help="names of results with commas between them")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    warnings.simplefilter("ignore")
    parts: dict[str, Callable[[], dict[str, Any]]] = {
        "diabetes": diabetes,
        "california": lambda: california(options.tables),
        "trusted": lambda: trusted(options.tables, options.mnist),
        "threshold": lambda: threshold(options.tables),
    }
    wanted = options.only.split(",") if options.only else list(parts)
    results: dict[str, Any] = {"machine": describe_machine("kerasmlp", "tensorflow", "keras", "scikit-learn")}
    for name in wanted:
        results[name] = parts[name]()
        print(name, json.dumps(results[name], indent=2), flush=True)
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    return 0


def train(data: Data, *, seed: int = 0, **options: Any) -> Run:
    """Trains by the recipe `plain`."""
    model = kerasmlp.build_mlp(
        [data.num_features, *HIDDEN, data.num_outputs],
        input_shape=data.feature_shape,
        preprocessing=data.preprocessing("plain"),
        postprocessing=data.postprocessing(),
        seed=seed,
    )
    return kerasmlp.train(model, data, seed=seed, out=f"{tempfile.mkdtemp()}/run", verbose=0, **options)


def diabetes() -> dict[str, Any]:
    """RMSE of five folds of both."""
    from sklearn.datasets import load_diabetes
    from sklearn.linear_model import RidgeCV
    from sklearn.model_selection import KFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    table = load_diabetes(scaled=False)
    ours, ridge = [], []
    for fold, test in KFold(5, shuffle=True, random_state=0).split(table.data):
        x, y, x_test, y_test = table.data[fold], table.target[fold], table.data[test], table.target[test]
        run = train(kerasmlp.data_from_arrays(x, y, x_test, y_test, task="regression"))
        ours.append(run.metrics["test_rmse"])
        peer = make_pipeline(StandardScaler(), RidgeCV(np.logspace(-3, 3, 30))).fit(x, y)
        ridge.append(float(np.sqrt(np.square(peer.predict(x_test) - y_test).mean())))
    return {"kerasmlp": ours, "ridge": ridge, "ratio": float(np.mean(ours) / np.mean(ridge))}


def california(tables: Path) -> dict[str, Any]:
    """RMSE of five seeds of both."""
    from sklearn.neural_network import MLPRegressor

    ours, peers = [], []
    for seed in SEEDS:
        data = kerasmlp.load_data(tables / "california_housing.csv", target="median_house_value", seed=seed)
        ours.append(train(data, seed=seed).metrics["test_rmse"])
        x = np.concatenate([data.train.features, data.validation.features])
        y = np.concatenate([data.train.labels, data.validation.labels])[:, 0].astype(np.float64)
        mean, scale = x.mean(axis=0), np.where(x.std(axis=0) > 0, x.std(axis=0), 1)
        peer = MLPRegressor(random_state=seed).fit((x - mean) / scale, (y - y.mean()) / y.std())
        answers = peer.predict((data.test.features - mean) / scale) * y.std() + y.mean()
        peers.append(float(np.sqrt(np.square(answers - data.test.labels[:, 0]).mean())))
    return {"kerasmlp": ours, "MLPRegressor": peers, "ratio": float(np.mean(ours) / np.mean(peers))}


def trusted(tables: Path, mnist: str) -> dict[str, Any]:
    """Calibration, and the coverage of sets and intervals."""
    sources: dict[str, tuple[Any, dict[str, Any]]] = {
        "adult": (tables / "adult_train.csv", {"test": tables / "adult_test.csv", "target": "pay"}),
        "mnist": (mnist, {}),
        "digits": ("digits", {}),
        "breast_cancer": ("breast_cancer", {}),
        "wine": ("wine", {}),
        "iris": ("iris", {}),
        "california": (tables / "california_housing.csv", {"target": "median_house_value"}),
        "california, quantiles": (
            tables / "california_housing.csv",
            {"target": "median_house_value", "quantiles": (0.05, 0.5, 0.95)},
        ),
    }
    results = {}
    for name, (source, options) in sources.items():
        results[name] = [_trust(kerasmlp.load_data(source, **options, seed=seed), seed) for seed in SEEDS]
    return results


def _trust(data: Data, seed: int) -> dict[str, Any]:
    """Calibration and coverage of one network, with differences of the coverage in standard errors."""
    run = train(data, seed=seed)
    scores = kerasmlp.evaluate(run.path, data)
    about: dict[str, Any] = {"calibration": run.metrics.get("calibration")}
    about |= {key: scores.numbers[key] for key in ("log_loss", "ece") if key in scores.numbers}
    for coverage in COVERAGES:
        if len(data.validation) >= needed_examples(coverage):
            reached = run.card.learnt.coverage_scores(scores.answers, scores.targets, coverage)
            error = coverage_standard_error(coverage, len(data.validation), len(data.test))
            about[f"{coverage:g}"] = {**reached, "standard_errors": (reached["coverage"] - coverage) / error}
    return about


def threshold(tables: Path) -> dict[str, Any]:
    """F1 of the richer class."""
    data = kerasmlp.load_data(tables / "adult_train.csv", test=tables / "adult_test.csv", target="pay")
    results = {}
    for objective in (None, "val_auc"):
        metrics = train(data, threshold="best-f1", objective=objective).metrics
        results[objective or "default"] = {key: metrics[key] for key in ("test_f1", "test_f1_at_half", "test_accuracy")}
    return results


if __name__ == "__main__":
    sys.exit(main())
