"""`measure_command`: runs a command in its own process and measures its time, memory and files."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

_SAMPLE_S = 0.2
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def measure_command(
    command: Sequence[str],
    folder: Path,
    watch: Callable[[Path], dict[str, Any]] | None = None,
    cores: int | None = None,
) -> dict[str, Any]:
    """Runs Python with a command and an option `--out`, and returns what it used and wrote.

    Args:
        command: Arguments of the Python interpreter, such as `["-m", "kerasmlp", "train", "digits"]`.
        folder: Folder for the output (`out`), `stdout` and `stderr` of the command.
        watch: Called with the output path each time the memory is sampled, every 0.2 s. What it returns is added to the
            sample. None keeps no samples.
        cores: How many processors the command may use. None for all.

    Returns:
        `seconds`, `cpu_s` (of the command and its children), `others_cpu_s` (CPU time of all other processes in that
        time), `peak_bytes` (resident memory of all its processes together), `disk_bytes`, `num_files`, `stdout`, and
        `samples` if `watch` is given.

    Raises:
        RuntimeError: the command failed. The message is the last line of its stderr.
    """
    out = folder / "out"
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    peak, samples = 0, []
    with (folder / "stdout").open("w+") as stdout, (folder / "stderr").open("w+") as stderr:
        busy, own = _busy_s(), os.times()
        began = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, *command, "--out", str(out)],
            stdout=stdout,
            stderr=stderr,
            env=environment,
            start_new_session=True,
        )
        if cores is not None:
            os.sched_setaffinity(process.pid, sorted(os.sched_getaffinity(0))[:cores])
        try:
            while True:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(timeout=_SAMPLE_S)
                    break
                resident = _resident_bytes(process.pid)
                peak = max(peak, resident)
                if watch is not None:
                    samples.append({"resident_bytes": resident, **watch(out)})
            seconds = time.perf_counter() - began
            now = os.times()
            cpu_s = now.children_user + now.children_system - own.children_user - own.children_system
            others_s = _busy_s() - busy - cpu_s - (now.user + now.system - own.user - own.system)
        finally:
            # Stop all its processes if it failed or if the benchmark is interrupted.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        stdout.seek(0)
        stderr.seek(0)
        if process.returncode:
            last = stderr.read().strip().splitlines()[-1:] or [""]
            raise RuntimeError(f"exit status {process.returncode}: {last[0][:300]}")
        files = [path for path in out.rglob("*") if path.is_file()]
        return {
            "seconds": seconds,
            "cpu_s": cpu_s,
            "others_cpu_s": max(0.0, others_s),
            "peak_bytes": peak,
            "disk_bytes": sum(path.stat().st_size for path in files),
            "num_files": len(files),
            "stdout": stdout.read(),
            **({"samples": samples} if watch is not None else {}),
        }


def _resident_bytes(root: int) -> int:
    """Returns the resident memory of a process and all its descendants. Source: Linux's `/proc`, see proc(5)."""
    parents: dict[int, int] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError):
                # The name is in parentheses and may contain anything. The state and the parent follow it.
                parents[int(entry)] = int(Path("/proc", entry, "stat").read_text().rpartition(")")[2].split()[1])
    tree, grew = {root}, True
    while grew:
        more = {pid for pid, parent in parents.items() if parent in tree} - tree
        tree |= more
        grew = bool(more)
    total = 0
    for pid in tree:
        with contextlib.suppress(OSError):
            total += int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_BYTES
    return total


def _busy_s() -> float:
    """Returns the CPU seconds that all processors together have used since the machine started; see proc(5)."""
    user, nice, system, _, _, irq, softirq = map(int, Path("/proc/stat").read_text().split()[1:8])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")
