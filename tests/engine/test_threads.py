"""Threads: one for a small step, and TensorFlow's own number for others."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kerasmlp.engine.threads import one_is_enough

SCRIPT = """
import sys
from kerasmlp.cli.entry_point import main
assert main(sys.argv[1:]) == 0
import tensorflow as tf
print(tf.config.threading.get_intra_op_parallelism_threads(), tf.config.threading.get_inter_op_parallelism_threads())
"""


@pytest.mark.parametrize(
    ("sizes", "batch_size", "members", "expected"),
    [
        ((16, 64, 32, 2), 256, 1, True),
        ((64, 128, 64, 10), 32, 1, True),
        ((64, 128, 64, 10), 32, 8, False),
        ((784, 128, 64, 10), 32, 1, False),
        ((64, 128, 64, 10), 512, 1, False),
    ],
)
def test_a_small_step_takes_one_thread(sizes: tuple[int, ...], batch_size: int, members: int, expected: bool) -> None:
    assert one_is_enough(sizes, batch_size, members) is expected


@pytest.mark.parametrize(("batch_size", "expected"), [("32", "1 1"), ("512", "0 0")])
def test_the_command_chooses_threads_by_the_size_of_a_step(tmp_path: Path, batch_size: str, expected: str) -> None:
    command = [sys.executable, "-c", SCRIPT, "train", "digits", "--hidden", "128,64", "--epochs", "1"]

    output = subprocess.run(
        [*command, "--batch-size", batch_size, "--out", str(tmp_path / "run")],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    ).stdout

    assert output.splitlines()[-1] == expected
