"""Claim: the README's commands reach the accuracies that it names, and start and end sooner for sparing collections.

Parts:

- `start`: importing Keras and TensorFlow and ending, with the garbage collector at work as ever and spared
  (`start_up`); whole processes, rounds that begin with each in turn. Reported: median seconds of the import
  and of the whole, and the ratio of the two wholes in the same round, median, least and most.
- `commands`: each whole command once, start-up and all files included: seconds, peak memory and test accuracy. One that
  stays more than half a point below what the README says fails the benchmark.

    python tests/benchmarks/bench_commands.py --data mnist.npz --json commands.json

Machine and versions are in the JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.benchmarks.machine import describe_machine
from tests.benchmarks.processes import measure_command

PACKAGES = ("kerasmlp", "tensorflow", "keras", "numpy")
WIDE = "--hidden 512,512 --batch-normalization --schedule cosine --epochs 30 --batch-size 128"
# What is typed, and the test accuracy that the README names.
COMMANDS = {
    "quickstart": 0.9778,
    "quickstart DATA": 0.9848,
    f"train DATA {WIDE}": 0.9849,
    f"train DATA {WIDE} --augment": 0.9936,
}
SLACK = 0.005

IMPORT = "import time; began = time.perf_counter(); import keras; print(time.perf_counter() - began)"
SPARED = f"from kerasmlp._system.start_up import spare_collections; spare_collections(); {IMPORT}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the parts that were asked for, prints a table for each, and writes the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default=os.environ.get("KERASMLP_MNIST"), help="MNIST as an npz in Keras's layout")
    parser.add_argument("--only", default="start,commands", help="parts, with commas")
    parser.add_argument("--rounds", type=int, default=7, help="of `start` (7)")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    parts = options.only.split(",")
    if "commands" in parts and not options.data:
        parser.error("no MNIST: pass `--data mnist.npz` or set KERASMLP_MNIST")
    results: dict[str, Any] = {"machine": describe_machine(*PACKAGES)}
    if "start" in parts:
        results["start"] = _compare_starts(options.rounds)
    if "commands" in parts:
        results["commands"] = [_run(typed, options.data) for typed in COMMANDS]
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    low = [row for row in results.get("commands", []) if row["test_accuracy"] < COMMANDS[row["command"]] - SLACK]
    for row in low:
        print(f"{row['command']}: {row['test_accuracy']:.2%}, and the README says {COMMANDS[row['command']]:.2%}")
    return 1 if low else 0


def _compare_starts(rounds: int) -> dict[str, Any]:
    programs = {"as ever": IMPORT, "spared": SPARED}
    imports: dict[str, list[float]] = {name: [] for name in programs}
    wholes: dict[str, list[float]] = {name: [] for name in programs}
    for number in range(rounds + 1):
        for name in programs if number % 2 else reversed(programs):
            began = time.perf_counter()
            ran = subprocess.run([sys.executable, "-c", programs[name]], capture_output=True, text=True, check=True)
            if number:  # the first reads the files
                imports[name].append(float(ran.stdout))
                wholes[name].append(time.perf_counter() - began)
    ratios = [ever / spared for ever, spared in zip(wholes["as ever"], wholes["spared"], strict=True)]
    result = {
        "import_s": {name: statistics.median(each) for name, each in imports.items()},
        "whole_s": {name: statistics.median(each) for name, each in wholes.items()},
        "ratio": {"median": statistics.median(ratios), "least": min(ratios), "most": max(ratios)},
    }
    print(f"{'collector':12}{'import':>10}{'whole':>10}")
    for name in programs:
        print(f"{name:12}{result['import_s'][name]:8.2f} s{result['whole_s'][name]:8.2f} s")
    print(f"{result['ratio']['median']:.2f}x ({min(ratios):.2f} to {max(ratios):.2f})\n", flush=True)
    return result


def _run(typed: str, data: str) -> dict[str, Any]:
    words = [data if word == "DATA" else word for word in typed.split()]
    with tempfile.TemporaryDirectory() as folder:
        measured = measure_command(["-m", "kerasmlp", *words, "--json"], Path(folder))
    accuracy = json.loads(measured["stdout"])["test_accuracy"]
    print(f"{typed}\n  {measured['seconds']:.1f} s, {measured['peak_bytes'] / 1e9:.1f} GB, {accuracy:.2%}", flush=True)
    return {
        "command": typed,
        "seconds": measured["seconds"],
        "peak_bytes": measured["peak_bytes"],
        "others_cpu_s": measured["others_cpu_s"],
        "test_accuracy": accuracy,
    }


if __name__ == "__main__":
    sys.exit(main())
