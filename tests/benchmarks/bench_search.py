"""Claim: `kerasmlp tune` finds learning rate and batch size of a small MLP in less time than the scripts it replaces.

Every search runs as a whole command in a process of its own, including start-up, final training and files. All searches
run one after the other; with several rounds, every second round runs them in reverse order. Reported are:

- seconds, and their ratio to the seconds of kerasmlp in the same round (median, least and most);
- peak memory: resident bytes of the process and all its children, every 0.2 s, with shared pages counted once;
- the files that are left behind;
- the validation accuracy of the best trial and the test accuracy of the final network.

The benchmark fails if a search does not reach the test accuracy that all of them should reach. It prints a line if
other processes took more than a twentieth of the processors, because the figures of that run then mean little. The
peers are in `search_peers.py`; their libraries are read from disk once before the clock starts.

    python tests/benchmarks/bench_search.py --data mnist.npz --json search.json
    python tests/benchmarks/bench_search.py --only main,profile --peers "kerasmlp, 1 worker,Keras Tuner's guide"
    python tests/benchmarks/bench_search.py --only main --rates 2 --batch-sizes 128,256 --epochs 1

The JSON holds the machine and the versions. Parts:

- `main`: MNIST with 50,000 examples for training and 10,000 for validation, 784-128-64-10, Adam, 24 pairs of learning
  rate and batch size with 5 epochs each, then 10 epochs with the best pair. No trial is stopped early. One round by
  default, because a search takes a minute or more. In addition: the pace of steady trials with two workers, with one,
  and with one on a single processor.
- `long`: 96 pairs with 10 epochs each and two workers, once with all trials in full and once with early stopping, which
  is the default. The time of the peers is extrapolated from their epochs in `main`.
- `oracles`: seconds until the best trial so far was within 0.1 percentage points of the best of its own search, and of
  the best of all searches.
- `profile`: where the time of one worker goes.
- `many`: 200 trials of one epoch on the digits, to see whether memory grows.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.benchmarks.machine import describe_machine
from tests.benchmarks.processes import measure_command

PACKAGES = ("kerasmlp", "tensorflow", "keras", "keras-tuner", "torch", "optuna", "numpy")
PARTS = ("main", "long", "oracles", "profile", "many")
SIZES = "784,128,64,10"
RATES = "0.0001:0.01"
VALIDATION_SHARE = "0.16666667"  # 10,000 of 60,000
LONG_RATES, LONG_EPOCHS = 24, 10
ORACLES = ("random", "bayesian", "hyperband", "grid")
MANY_TRIALS, MANY_FIRST = 200, 50
NEAR = 0.001
MOST_DISTURBED = 0.05


class Peer(NamedTuple):
    """A way to search: number of processes, script in `search_peers.py` (None: kerasmlp), and number of processors."""

    workers: int
    script: str | None = None
    cores: int | None = None


ONE, TWO, ONE_CORE = "kerasmlp, 1 worker", "kerasmlp, 2 workers", "kerasmlp on 1 processor"
PEERS = {
    ONE: Peer(1),
    TWO: Peer(2),
    ONE_CORE: Peer(1, cores=1),
    "Keras Tuner's guide": Peer(1, "keras_tuner"),
    "Optuna and PyTorch, 1 process": Peer(1, "optuna"),
    "Optuna and PyTorch, 2 processes": Peer(2, "optuna"),
}

# After ten epochs with the best pair, all reach 0.974 to 0.981. A search that trains or chooses wrongly reaches less.
LEAST_ACCURACY = 0.965

Runs = dict[str, list[dict[str, Any]]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the requested parts, prints a table for each of them, and writes the JSON after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default=os.environ.get("KERASMLP_MNIST"), help="MNIST as an npz in Keras's layout")
    parser.add_argument("--only", default=",".join(PARTS), help="parts, separated by commas")
    parser.add_argument("--peers", default=",".join(PEERS), help="names of peers, as in the table")
    parser.add_argument("--rounds", type=int, default=1, help="rounds of `main`")
    parser.add_argument("--rates", type=int, default=6, help="number of learning rates, from 1e-4 to 1e-2 (6)")
    parser.add_argument("--batch-sizes", default="32,64,128,256")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--final-epochs", type=int, default=10)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    parts = options.only.split(",")
    if unknown := set(parts) - set(PARTS):
        parser.error(f"there is no part {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    if "long" in parts and "main" not in parts:
        parser.error("`long` extrapolates the peers' time from `main`; pass `--only main,long`")
    if not options.data and set(parts) != {"many"}:
        parser.error("no MNIST: pass `--data mnist.npz` or set KERASMLP_MNIST")
    peers = [peer for peer in PEERS if peer in options.peers]
    results: dict[str, Any] = {"machine": describe_machine(*PACKAGES), "settings": _settings(options), "failures": {}}
    _warm_up()
    runs: Runs = {}
    if "main" in parts:
        runs = _compare(peers, options, results["failures"])
        _add(results, "main", _summary(runs), _print_main, options)
    if "profile" in parts:
        if ONE not in runs:
            runs[ONE] = [_run(ONE, options)]
        _add(results, "profile", _profile(_typical(runs[ONE])), _print_profile, options)
    if "long" in parts:
        _add(results, "long", _long(runs, options), _print_long, options)
    if "oracles" in parts:
        _add(results, "oracles", _oracles(options), _print_oracles, options)
    if "many" in parts:
        _add(results, "many", _many(), _print_many, options)
    for name, reason in results["failures"].items():
        print(f"{name} did not run: {reason}")
    _check_accuracies(results)
    return 1 if results["failures"] else 0


# --- runs -----------------------------------------------------------------------------------------------------------


def _run(peer: str, options: argparse.Namespace, **changes: Any) -> dict[str, Any]:
    """Runs the search of `main` with one peer; `changes` replace options such as `rates` or `epochs`."""
    wanted = {**vars(options), **changes}
    workers, script, cores = PEERS[peer]
    arguments = ["--learning-rate", f"{RATES}:{wanted['rates']}", "--batch-size", wanted["batch_sizes"]]
    arguments += ["--epochs", str(wanted["epochs"]), "--final-epochs", str(wanted["final_epochs"])]
    arguments += ["--workers", str(workers)]
    if script is None:
        stopping = [] if wanted.get("early_stopping") else ["--no-early-stopping"]
        return _tune(options.data, *arguments, "--oracle", "grid", *stopping, cores=cores)
    file = str(Path(__file__).with_name("search_peers.py"))
    with tempfile.TemporaryDirectory() as folder:
        measured = measure_command([file, script, "--data", options.data, *arguments], Path(folder))
    return {**measured, **json.loads(measured.pop("stdout").splitlines()[-1])}


def _tune(
    data: str,
    *arguments: str,
    sizes: str = SIZES,
    share: str = VALIDATION_SHARE,
    watch: Callable[[Path], dict[str, Any]] | None = None,
    cores: int | None = None,
) -> dict[str, Any]:
    """Runs `kerasmlp tune` and reads the files that it left."""
    command = ["-m", "kerasmlp", "tune", data, "--sizes", sizes, "--validation-share", share, "--json", *arguments]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        measured = measure_command(command, Path(folder), watch, cores)
        del measured["stdout"]
        trials = json.loads((out / "search" / "trials.json").read_text(encoding="utf-8"))
        metrics = json.loads((out / "metrics.json").read_text(encoding="utf-8"))
        with (out / "history.csv").open(encoding="utf-8", newline="") as file:
            final_s = sum(float(row["seconds"]) for row in csv.DictReader(file))
    rows = [{**trial, **trial.pop("values")} for trial in sorted(trials, key=lambda trial: trial["number"])]
    if failed := [row for row in rows if row["status"] == "failed"]:
        raise RuntimeError(f"{len(failed)} trials failed, the first with: {failed[0].get('error')}")
    return {
        **measured,
        "val_accuracy": max(row["val_accuracy"] for row in rows if row["status"] == "completed"),
        "test_accuracy": metrics["test_accuracy"],
        "search_s": max(row["ended_s"] for row in rows) - min(row["ended_s"] - row["seconds"] for row in rows),
        "final_s": final_s,
        "trials": rows,
    }


def _warm_up() -> None:
    """Reads the libraries of all peers once, so that no search has to wait for the disk."""
    for imports in ("keras_tuner, kerasmlp.tuning, matplotlib.pyplot", "optuna, torch"):
        subprocess.run([sys.executable, "-c", f"import {imports}"], capture_output=True, check=False)


# --- parts ----------------------------------------------------------------------------------------------------------


def _compare(peers: Sequence[str], options: argparse.Namespace, failures: dict[str, str]) -> Runs:
    runs: Runs = {peer: [] for peer in peers}
    for number in range(options.rounds):
        for peer in peers if number % 2 == 0 else reversed(peers):
            if peer in failures:
                continue
            try:
                runs[peer].append(_run(peer, options))
            except RuntimeError as error:
                failures[peer] = str(error)
    return {peer: measured for peer, measured in runs.items() if peer not in failures}


def _summary(runs: Runs) -> dict[str, Any]:
    rows = [
        {
            "peer": peer,
            "times_kerasmlp": {own: _ratios(measured, runs[own]) for own in (ONE, TWO) if own in runs},
            "median_s": _typical(measured)["seconds"],
            "least_s": min(run["seconds"] for run in measured),
            "most_s": max(run["seconds"] for run in measured),
            "runs": measured,
        }
        for peer, measured in runs.items()
    ]
    steady = {own: _steady_s(runs[own]) for own in (ONE, TWO, ONE_CORE) if own in runs}
    speedups = {own: 2 * seconds / steady[TWO] for own, seconds in steady.items() if TWO in steady and own != TWO}
    return {"rows": rows, "steady_trial_s": steady, "two_workers_speedup": speedups}


def _steady_s(measured: list[dict[str, Any]]) -> float:
    """Returns the median seconds of a trial, averaged over the batch sizes. The few trials that compile have no say."""
    seconds: dict[int, list[float]] = {}
    for trial in (trial for run in measured for trial in run["trials"]):
        seconds.setdefault(trial["batch_size"], []).append(trial["seconds"])
    return statistics.mean(statistics.median(each) for each in seconds.values())


def _ratios(measured: list[dict[str, Any]], own: list[dict[str, Any]]) -> dict[str, float]:
    ratios = [run["seconds"] / other["seconds"] for run, other in zip(measured, own, strict=True)]
    return {"median": statistics.median(ratios), "least": min(ratios), "most": max(ratios)}


def _typical(measured: list[dict[str, Any]]) -> dict[str, Any]:
    """Returns the run with the median time; of two runs, the faster one."""
    return sorted(measured, key=lambda run: float(run["seconds"]))[(len(measured) - 1) // 2]


def _profile(run: dict[str, Any]) -> dict[str, Any]:
    """Returns where the seconds of a run went; `rest_s` covers start-up, the oracle, plots, files and the test."""
    trials = run["trials"]
    trials_s = sum(trial["seconds"] for trial in trials)
    compile_s = {}
    for batch_size in sorted({trial["batch_size"] for trial in trials}):
        first, *later = [trial["seconds"] for trial in trials if trial["batch_size"] == batch_size]
        if not later:
            raise ValueError(
                "`profile` compares the first trial of a batch size with later ones: pass `--rates 2` or more"
            )
        compile_s[str(batch_size)] = first - statistics.median(later)
    return {
        "wall_s": run["seconds"],
        "trials_s": trials_s,
        "compile_s": compile_s,
        "trials_without_compile_s": trials_s - sum(compile_s.values()),
        "final_s": run["final_s"],
        "rest_s": run["seconds"] - trials_s - run["final_s"],
        "num_trials": len(trials),
        "between_trials_ms": 1000 * (run["search_s"] - trials_s) / len(trials),
    }


def _long(runs: Runs, options: argparse.Namespace) -> dict[str, Any]:
    ours = _run(TWO, options, rates=LONG_RATES, epochs=LONG_EPOCHS)
    stopping = _run(TWO, options, rates=LONG_RATES, epochs=LONG_EPOCHS, early_stopping=True)
    peers = [
        {
            "peer": peer,
            "extrapolated_s": seconds,
            "times_kerasmlp": seconds / ours["seconds"],
            "times_kerasmlp_stopping": seconds / stopping["seconds"],
        }
        for peer, measured in runs.items()
        if PEERS[peer].script is not None
        for seconds in [_extrapolate(_typical(measured), PEERS[peer].workers, options)]
    ]
    return {"rates": LONG_RATES, "epochs": LONG_EPOCHS, "measured": ours, "stopping": stopping, "peers": peers}


def _extrapolate(run: dict[str, Any], workers: int, options: argparse.Namespace) -> float:
    """Returns the seconds that a peer would take for `long`, extrapolated from its run of `main`.

    The time outside of trials stays the same. A longer trial takes as long as the mean trial of its batch size, plus a
    mean epoch for each additional epoch; first epochs do not count, because they trace and compile. Workers are assumed
    to be busy all the time.
    """
    seconds = 0.0
    for batch_size in {trial["batch_size"] for trial in run["trials"]}:
        trials = [trial for trial in run["trials"] if trial["batch_size"] == batch_size]
        epochs = [epoch for trial in trials for epoch in trial["epoch_seconds"][1:] or trial["epoch_seconds"]]
        more = (LONG_EPOCHS - options.epochs) * statistics.mean(epochs)
        seconds += LONG_RATES * (statistics.mean(trial["seconds"] for trial in trials) + more)
    return float(run["seconds"] - run["search_s"] + seconds / workers)


def _oracles(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Runs each oracle with the defaults of the command, so bad trials are stopped early."""
    count = options.rates * len(options.batch_sizes.split(","))
    rows = []
    for oracle in ORACLES:
        rates = f"{RATES}:{options.rates}" if oracle == "grid" else RATES
        trials = ["--trials", str(count)] if oracle in ("random", "bayesian") else []
        epochs = ["--epochs", str(options.epochs), "--final-epochs", str(options.final_epochs)]
        space = ["--learning-rate", rates, "--batch-size", options.batch_sizes]
        rows.append({"oracle": oracle, **_tune(options.data, "--oracle", oracle, *space, *trials, *epochs)})
    best = max(row["val_accuracy"] for row in rows)
    for row in rows:
        row["near_own_best_s"] = _seconds_until(row["val_accuracy"] - NEAR, row["trials"])
        row["near_best_of_all_s"] = _seconds_until(best - NEAR, row["trials"])
    return rows


def _seconds_until(val_accuracy: float, trials: list[dict[str, Any]]) -> float | None:
    """Returns when the first completed trial with this accuracy ended, in seconds since the search began, or None."""
    # Accuracies are multiples of 1e-4 here, so the tolerance only covers rounding.
    completed = [trial for trial in trials if trial["status"] == "completed"]
    return min((trial["ended_s"] for trial in completed if trial["val_accuracy"] >= val_accuracy - 1e-6), default=None)


def _many() -> dict[str, Any]:
    def progress(out: Path) -> dict[str, Any]:
        # Each trial that has begun has a folder. The plots are drawn when the search has ended.
        begun = sum(1 for _ in out.glob("search/keras_tuner/trial_*"))
        return {"begun": begun, "searching": not (out / "plots").exists()}

    arguments = ["--oracle", "random", "--trials", str(MANY_TRIALS), "--epochs", "1", "--final-epochs", "1"]
    arguments += ["--learning-rate", RATES, "--batch-size", "32,64,128"]
    run = _tune("digits", *arguments, sizes="64,16,10", share="0.1", watch=progress)
    searching = [sample for sample in run.pop("samples") if sample["searching"]]
    if searching[-1]["begun"] <= MANY_FIRST:
        raise RuntimeError(f"no sample of the memory was taken between trial {MANY_FIRST} and the end of the search")
    return {
        **run,
        "first": MANY_FIRST,
        "peak_in_first_bytes": max(s["resident_bytes"] for s in searching if s["begun"] <= MANY_FIRST),
        "peak_in_search_bytes": max(s["resident_bytes"] for s in searching),
    }


# --- results --------------------------------------------------------------------------------------------------------


def _check_accuracies(results: dict[str, Any]) -> None:
    reached = {
        row["peer"]: run["test_accuracy"] for row in results.get("main", {}).get("rows", []) for run in row["runs"]
    }
    reached |= {f"oracle {row['oracle']}": row["test_accuracy"] for row in results.get("oracles", [])}
    if "long" in results:
        reached["long"] = results["long"]["measured"]["test_accuracy"]
    if low := {name: accuracy for name, accuracy in reached.items() if accuracy < LEAST_ACCURACY}:
        raise AssertionError(f"less than {LEAST_ACCURACY} on the test examples: {low}")


def _print_main(result: dict[str, Any]) -> None:
    print(
        f"\n{'':32}{'x 1 worker':>11}{'spread':>14}{'x 2 workers':>12}{'spread':>14}{'seconds':>9}{'spread':>16}",
        end="",
    )
    print(f"{'peak MB':>9}{'disk MB':>9}{'files':>7}{'validation':>11}{'test':>8}")
    nan = {"median": float("nan"), "least": float("nan"), "most": float("nan")}
    for row in result["rows"]:
        run = _typical(row["runs"])
        print(f"{row['peer']:32}", end="")
        for own, width in ((ONE, 11), (TWO, 12)):
            ratio = row["times_kerasmlp"].get(own, nan)
            print(f"{ratio['median']:{width}.2f}{ratio['least']:7.2f} -{ratio['most']:5.2f}", end="")
        print(
            f"{row['median_s']:9.1f}{row['least_s']:8.1f} -{row['most_s']:6.1f}{run['peak_bytes'] / 1e6:9.0f}"
            f"{run['disk_bytes'] / 1e6:9.1f}{run['num_files']:7}{run['val_accuracy']:11.4f}{run['test_accuracy']:8.4f}"
        )
    for row in result["rows"]:
        for run in row["runs"]:
            share = run["others_cpu_s"] / run["seconds"] / (os.cpu_count() or 1)
            if share > MOST_DISTURBED:
                print(f"{row['peer']}: other processes took {share:.0%} of the processors in {run['seconds']:.1f} s")
    steady = result["steady_trial_s"]
    for own, speedup in result["two_workers_speedup"].items():
        each = f"a trial takes {steady[TWO]:.2f} s, two at a time, and {steady[own]:.2f} s"
        print(f"steady trials, {TWO} against {own}: {speedup:.2f}x ({each})")


def _print_profile(result: dict[str, Any]) -> None:
    print(f"\nwhere {result['wall_s']:.1f} s of one worker with {result['num_trials']} trials went")
    compiling = sum(result["compile_s"].values())
    by_size = ", ".join(f"{size}: {seconds:.1f}" for size, seconds in result["compile_s"].items())
    rows = [
        ("training in trials", result["trials_without_compile_s"], ""),
        ("first trial of each batch size, beyond a later one", compiling, f"  ({by_size})"),
        ("final training", result["final_s"], ""),
        ("start-up, oracle, plots, files, test", result["rest_s"], ""),
    ]
    for name, seconds, note in rows:
        print(f"{name:52}{seconds:8.1f} s{100 * seconds / result['wall_s']:6.0f} %{note}")
    print(f"between two trials: {result['between_trials_ms']:.0f} ms")


def _print_long(result: dict[str, Any]) -> None:
    ours, stopping = result["measured"], result["stopping"]
    print(f"\n{len(ours['trials'])} pairs of {result['epochs']} epochs{'x all':>37}{'x stopping':>11}")
    for name, run in ((TWO, ours), (f"{TWO}, stopping as by default", stopping)):
        ratios = [run["seconds"] / own["seconds"] for own in (ours, stopping)]
        print(f"{name:48}{ratios[0]:8.2f}{ratios[1]:11.2f}{run['seconds']:9.1f} s, {run['test_accuracy']:.4f} on test")
    for row in result["peers"]:
        ratios = [row["times_kerasmlp"], row["times_kerasmlp_stopping"]]
        print(f"{row['peer']:48}{ratios[0]:8.2f}{ratios[1]:11.2f}{row['extrapolated_s']:9.1f} s extrapolated")


def _print_oracles(rows: list[dict[str, Any]]) -> None:
    print(f"\n{'oracle':12}{'to own best':>12}{'to best of all':>15}{'search':>9}{'trials':>8}{'stopped':>8}", end="")
    print(f"{'validation':>11}{'test':>8}")
    for row in rows:
        near = row["near_best_of_all_s"]
        stopped = sum(trial["status"] == "stopped" for trial in row["trials"])
        print(
            f"{row['oracle']:12}{row['near_own_best_s']:10.1f} s{'never' if near is None else f'{near:.1f} s':>15}"
            f"{row['search_s']:7.1f} s{len(row['trials']):8}{stopped:8}"
            f"{row['val_accuracy']:11.4f}{row['test_accuracy']:8.4f}"
        )


def _print_many(result: dict[str, Any]) -> None:
    first, last = result["peak_in_first_bytes"], result["peak_in_search_bytes"]
    print(f"\n{len(result['trials'])} trials of 1 epoch on the digits, {result['seconds']:.1f} s")
    print(
        f"{last / first:.2f} x the peak memory of the first {result['first']}: {last / 1e6:.0f} by {first / 1e6:.0f} MB"
    )
    print(f"{result['peak_bytes'] / 1e6:.0f} MB with plots and final training")
    print(f"{result['disk_bytes'] / 1e6:.1f} MB in {result['num_files']} files")


def _settings(options: argparse.Namespace) -> dict[str, Any]:
    names = ("rates", "batch_sizes", "epochs", "final_epochs", "rounds")
    return {"sizes": SIZES, "learning_rates": RATES, **{name: getattr(options, name) for name in names}}


def _add(
    results: dict[str, Any], part: str, result: Any, show: Callable[[Any], None], options: argparse.Namespace
) -> None:
    results[part] = result
    show(result)
    sys.stdout.flush()
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
