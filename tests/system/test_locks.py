"""Locks: one process at a time, and free again as soon as the process is gone."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
from pathlib import Path

import pytest

from kerasmlp._system.locks import exclusive_lock

HOLD = """
import sys, time
from pathlib import Path
from kerasmlp._system.locks import exclusive_lock
with exclusive_lock(Path(sys.argv[1])):
    print("locked", flush=True)
    time.sleep(60)
"""


def test_a_lock_that_is_held_is_refused_and_is_free_again_after_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "work.lock"
    with subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "locked\n"
        with pytest.raises(BlockingIOError, match=r"work\.lock"), exclusive_lock(path, wait=False):
            pytest.fail("two processes hold one lock")
        holder.kill()
    assert path.exists(), "a killed process cannot delete its lock file"
    with exclusive_lock(path, wait=False):
        pass
    assert not list(tmp_path.iterdir())


def test_a_second_block_of_the_same_process_is_refused(tmp_path: Path) -> None:
    with exclusive_lock(tmp_path / "lock"):
        with pytest.raises(BlockingIOError), exclusive_lock(tmp_path / "lock", wait=False):
            pytest.fail("one lock was given twice")
        assert (tmp_path / "lock").exists()


def test_a_lock_is_released_when_the_block_raises(tmp_path: Path) -> None:
    with pytest.raises(KeyError), exclusive_lock(tmp_path / "lock"):
        raise KeyError
    with exclusive_lock(tmp_path / "lock", wait=False):
        pass


def _count(folder: Path) -> None:
    for _ in range(50):
        with exclusive_lock(folder / "lock"):
            number = int((folder / "count").read_text())
            (folder / "count").write_text(str(number + 1))


def test_processes_that_wait_take_turns_although_the_lock_file_is_deleted_each_time(tmp_path: Path) -> None:
    (tmp_path / "count").write_text("0")
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_count, args=(tmp_path,)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert (tmp_path / "count").read_text() == "150"
    assert not (tmp_path / "lock").exists()
