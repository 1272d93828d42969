"""Run directories: which one is used, what may be overwritten, and one process at a time."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from kerasmlp.errors import InvalidValue, NotFound, OutputExists
from kerasmlp.run import Run, as_run
from kerasmlp.run_directory import check_output_is_free, choose_run_directory, open_run_directory

CONFIG: dict[str, Any] = {"model": {"sizes": (4, 3)}, "training": {"epochs": 2}, "versions": {"keras": "3"}}

HOLD = """
import json, sys, time
from kerasmlp.run_directory import open_run_directory
with open_run_directory(sys.argv[1], "run", json.loads(sys.argv[2]), overwrite=False) as run:
    (run.path / "history.csv").write_text("epoch\\n1\\n")
    print("writing", flush=True)
    time.sleep(60)
"""


@contextmanager
def another_process_writing_to(path: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", HOLD, str(path), json.dumps(CONFIG)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "writing\n"
            yield process
        finally:
            process.kill()


def names_in(path: Path) -> list[str]:
    return sorted(entry.name for entry in path.iterdir())


def test_a_directory_that_another_process_writes_to_is_refused_and_is_continued_after_its_death(tmp_path: Path) -> None:
    path = tmp_path / "run"
    with another_process_writing_to(path) as process:
        with (
            pytest.raises(OutputExists, match=r"run` is being written to by another process.*`out`"),
            open_run_directory(path, "run", CONFIG, overwrite=True),
        ):
            pytest.fail("two processes write to one run directory")
        process.kill()
    with open_run_directory(path, "run", CONFIG, overwrite=False) as run:
        assert run.path == path
        assert (path / "history.csv").read_text() == "epoch\n1\n"
    assert names_in(path) == ["config.json", "history.csv"]


def test_a_directory_holds_no_lock_file_afterwards_even_if_the_block_raises(tmp_path: Path) -> None:
    with pytest.raises(KeyError), open_run_directory(tmp_path / "run", "run", CONFIG, overwrite=False):
        raise KeyError
    assert names_in(tmp_path / "run") == ["config.json"]


def test_another_run_is_replaced_only_on_request_and_completely(tmp_path: Path) -> None:
    path = tmp_path / "run"
    with another_process_writing_to(path) as process:
        process.kill()
    (path / "plots").mkdir()
    other = {**CONFIG, "training": {"epochs": 3}}
    with (
        pytest.raises(OutputExists, match=r"training\.epochs: 2 there, 3 here.*`overwrite=True`"),
        open_run_directory(path, "run", other, overwrite=False),
    ):
        pytest.fail("another run was replaced")
    assert "history.csv" in names_in(path)
    with open_run_directory(path, "run", other, overwrite=True) as run:
        assert run.config["training"] == {"epochs": 3}
    assert names_in(path) == ["config.json"]


def test_a_finished_run_is_refused_and_other_versions_of_packages_make_no_difference(tmp_path: Path) -> None:
    path = tmp_path / "run"
    with open_run_directory(path, "run", CONFIG, overwrite=False) as run:
        (run.path / "history.csv").touch()
    with open_run_directory(path, "run", {**CONFIG, "versions": {"keras": "4"}}, overwrite=False):
        assert (path / "history.csv").exists(), "the unfinished run is continued"
        (path / "metrics.json").write_text("{}")
    with pytest.raises(OutputExists, match="this same run, finished"):
        check_output_is_free(path, CONFIG, overwrite=False)
    check_output_is_free(path, CONFIG, overwrite=True)


def test_a_run_that_another_process_finished_meanwhile_is_not_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run"

    @contextmanager
    def slow_lock(lock: Path, *, wait: bool) -> Iterator[None]:
        for name in ("config.json", "metrics.json"):
            (path / name).write_text("{}")
        yield

    monkeypatch.setattr("kerasmlp.run_directory.exclusive_lock", slow_lock)
    with pytest.raises(OutputExists, match="run"), open_run_directory(path, "run", CONFIG, overwrite=False):
        pytest.fail("a finished run was deleted")
    assert names_in(path) == ["config.json", "metrics.json"]


def test_the_default_directory_is_the_first_that_is_free_or_holds_this_run_unfinished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with open_run_directory(None, "digits", CONFIG, overwrite=False) as first:
        (first.path / "metrics.json").write_text("{}")
    with open_run_directory(None, "digits", CONFIG, overwrite=False) as second:
        pass
    assert (str(first.path), str(second.path)) == ("runs/digits", "runs/digits-2")
    assert choose_run_directory(None, "digits", CONFIG) == second.path
    assert choose_run_directory(None, "digits") == Path("runs/digits-3")
    assert choose_run_directory("there", "digits") == Path("there")


def test_files_and_folders_that_are_not_runs_are_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(OutputExists, match="file` is a file"):
            check_output_is_free(path, overwrite=True)
    with pytest.raises(OutputExists, match="not a run.*`out`"):
        check_output_is_free(tmp_path, overwrite=True)
    (tmp_path / "empty").mkdir()
    check_output_is_free(tmp_path / "empty", overwrite=False)


def test_a_process_that_was_killed_before_it_wrote_anything_blocks_nobody(tmp_path: Path) -> None:
    (tmp_path / ".lock").touch()
    check_output_is_free(tmp_path, overwrite=False)
    with open_run_directory(tmp_path, "run", CONFIG, overwrite=False):
        pass
    assert names_in(tmp_path) == ["config.json"]


def test_only_finished_runs_can_be_opened(digits_run: Run, tmp_path: Path) -> None:
    assert Run.open(str(digits_run.path)) == as_run(digits_run.path) == digits_run
    with pytest.raises(NotFound, match="absent"):
        Run.open(tmp_path / "absent")
    for missing, present in (("config.json", ()), ("model.keras", ("config.json",))):
        for name in present:
            (tmp_path / name).touch()
        with pytest.raises(InvalidValue, match=f"no `{missing}`"):
            Run.open(tmp_path)


def test_damaged_json_is_named(tmp_path: Path) -> None:
    (tmp_path / "metrics.json").write_text("{")
    with pytest.raises(InvalidValue, match=r"metrics\.json` is damaged"):
        _ = Run(tmp_path).metrics
