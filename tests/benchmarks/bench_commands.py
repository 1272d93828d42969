"""Claim: the commands in the README reach the accuracies it names, and start faster with fewer garbage collections.

Parts:

- `start`: a process imports Keras and TensorFlow and ends, once with Python's default garbage collection and once with
  `garbage_collection.spare_collections`. Rounds alternate which of the two comes first. It reports the median seconds
  of the import and of the whole process, and the ratio of the whole processes in the same round (median, minimum,
  maximum).
- `commands`: each command runs once, including start-up and all files. It reports seconds, peak memory and test
  accuracy. The benchmark fails if an accuracy is more than half a percentage point below the README's.

    python tests/benchmarks/bench_commands.py --data mnist.npz --json commands.json

The machine and all versions are in the JSON.
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
# The commands, and the test accuracy that the README names for each.
COMMANDS = {
    "quickstart": 0.9778,
    "quickstart DATA": 0.9848,
    f"train DATA {WIDE}": 0.9849,
    f"train DATA {WIDE} --augment": 0.9936,
}
SLACK = 0.005

IMPORT = "import time; began = time.perf_counter(); import keras; print(time.perf_counter() - began)"
SPARED = f"from kerasmlp._system.garbage_collection import spare_collections; spare_collections(); {IMPORT}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the requested parts, prints a table for each, and writes the JSON file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default=os.environ.get("KERASMLP_MNIST"), help="MNIST as an npz in Keras's layout")
    parser.add_argument(
        "--only", default="start,commands", help="parts to run, separated by commas (default: start,commands)"
    )
    parser.add_argument("--rounds", type=int, default=7, help="rounds of the part `start` (default: 7)")
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
        print(f"{row['command']}: {row['test_accuracy']:.2%}, but the README says {COMMANDS[row['command']]:.2%}")
    return 1 if low else 0


def _compare_starts(rounds: int) -> dict[str, Any]:
    programs = {"default": IMPORT, "spared": SPARED}
    imports: dict[str, list[float]] = {name: [] for name in programs}
    wholes: dict[str, list[float]] = {name: [] for name in programs}
    for number in range(rounds + 1):
        for name in programs if number % 2 else reversed(programs):
            began = time.perf_counter()
            ran = subprocess.run([sys.executable, "-c", programs[name]], capture_output=True, text=True, check=True)
            if number:  # the first round only fills the file cache
                imports[name].append(float(ran.stdout))
                wholes[name].append(time.perf_counter() - began)
    ratios = [default / spared for default, spared in zip(wholes["default"], wholes["spared"], strict=True)]
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
