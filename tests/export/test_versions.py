"""Numbered versions: which number comes next, which versions are kept, and how a rollback works."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import re
from pathlib import Path

import pytest

from kerasmlp.cli import main
from kerasmlp.errors import InvalidValue, NotFound
from kerasmlp.export import rollback
from kerasmlp.export.saved_model.versions import (
    check_base,
    delete_old_versions,
    next_version,
    publish,
    version_numbers,
    writing_version,
)


def make(base: Path, *names: str) -> Path:
    """Makes a base with versions, each of which contains its own name."""
    for name in names:
        (base / name).mkdir(parents=True)
        (base / name / "saved_model.pb").write_text(name)
    return base


def publish_one(base: Path, text: str) -> str:
    """Writes and publishes a version that contains `text`, and returns its name."""
    with writing_version(base) as folder:
        folder.mkdir()
        (folder / "saved_model.pb").write_text(text)
        return publish(folder, base).name


def publish_many(base: Path, worker: int, names: multiprocessing.SimpleQueue[tuple[str, str]]) -> None:
    """Publishes 20 versions, as one of several processes."""
    for number in range(20):
        text = f"{worker}-{number}"
        names.put((publish_one(base, text), text))


def test_versions_are_numbered_from_one_and_the_highest_counts(tmp_path: Path) -> None:
    base = tmp_path / "models" / "digits"
    assert [publish_one(base, "a"), publish_one(base, "b")] == ["1", "2"]
    make(base, "9", "backup", "1.5", "0007")
    assert version_numbers(base) == [1, 2, 7, 9]
    assert publish_one(base, "c") == "10"
    assert sorted(path.name for path in base.iterdir()) == ["0007", "1", "1.5", "10", "2", "9", "backup"]


def test_an_unfinished_version_does_not_count_and_leaves_nothing_when_it_fails(tmp_path: Path) -> None:
    base = make(tmp_path, "1")
    with contextlib.suppress(KeyboardInterrupt), writing_version(base) as folder:
        folder.mkdir()
        assert version_numbers(base) == [1]
        raise KeyboardInterrupt
    assert [path.name for path in base.iterdir()] == ["1"]


def test_exports_at_the_same_time_get_different_versions(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    names: multiprocessing.SimpleQueue[tuple[str, str]] = context.SimpleQueue()
    processes = [context.Process(target=publish_many, args=(tmp_path, worker, names)) for worker in range(3)]
    for process in processes:
        process.start()
    published = dict(names.get() for _ in range(60))
    for process in processes:
        process.join()
    assert version_numbers(tmp_path) == list(range(1, 61))
    assert {name: (tmp_path / name / "saved_model.pb").read_text() for name in published} == published
    assert len(published) == 60


def test_a_version_that_appears_at_the_last_moment_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path, "1")
    (tmp_path / "2").mkdir()  # empty: a rename alone would replace it
    answers = iter([1, 2, 3])
    monkeypatch.setattr("kerasmlp.export.saved_model.versions.next_version", lambda base: next(answers))
    assert publish_one(tmp_path, "new") == "3"
    assert (tmp_path / "1" / "saved_model.pb").read_text() == "1"


def test_only_the_newest_versions_are_kept_on_request(tmp_path: Path) -> None:
    base = make(tmp_path, "1", "2", "10", "withdrawn-11", "notes")
    assert delete_old_versions(base, keep=2) == [1]
    assert delete_old_versions(base, keep=5) == []
    assert delete_old_versions(base, keep=1) == [2]
    assert sorted(path.name for path in base.iterdir()) == ["10", "notes", "withdrawn-11"]


def test_withdrawn_versions_go_once_a_newer_one_serves_and_their_numbers_are_not_used_again(tmp_path: Path) -> None:
    base = make(tmp_path, "1", "2", "3", "withdrawn-notes")
    rollback(base)
    rollback(base)
    assert delete_old_versions(base, keep=1) == []  # both can still serve again
    assert publish_one(base, "new") == "4"
    assert delete_old_versions(base, keep=5) == [2, 3]
    assert sorted(path.name for path in base.iterdir()) == ["1", "4", "withdrawn-notes"]
    make(base, "withdrawn-1", "5")
    rollback(base)
    assert delete_old_versions(base, keep=1) == [1, 1]
    assert sorted(path.name for path in base.iterdir()) == ["4", "withdrawn-5", "withdrawn-notes"]
    assert next_version(base) == 6


def test_a_rollback_keeps_the_withdrawn_version_and_its_number(tmp_path: Path) -> None:
    base = make(tmp_path, "1", "2", "3")
    done = rollback(base)
    assert (done.withdrawn, done.kept_as, done.serves) == (3, base / "withdrawn-3", 2)
    assert done.kept_as.joinpath("saved_model.pb").read_text() == "3"
    assert next_version(base) == 4
    assert rollback(base).serves == 1
    done.kept_as.rename(base / "3")  # undo it, as `kerasmlp rollback` suggests
    assert version_numbers(base) == [1, 3]


def test_rollbacks_without_a_version_to_go_back_to_are_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="absent` does not exist"):
        rollback(tmp_path / "absent")
    with pytest.raises(InvalidValue, match="no version"):
        rollback(tmp_path)
    base = make(tmp_path, "4")
    with pytest.raises(NotFound, match="4` is a single version"):
        rollback(base / "4")
    with pytest.raises(NotFound, match="pb` is a file"):
        rollback(base / "4" / "saved_model.pb")
    with pytest.raises(InvalidValue, match="one version.*4"):
        rollback(base)
    (base / "2").mkdir()
    with pytest.raises(InvalidValue, match="2`.*SavedModel"):
        rollback(base)
    make(base, "3", "withdrawn-4")
    with pytest.raises(InvalidValue, match="4`.*withdrawn-4`.*Directory not empty"):
        rollback(base)
    assert sorted(path.name for path in base.iterdir()) == ["2", "3", "4", "withdrawn-4"]


def test_a_base_that_is_not_writable_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        pytest.raises(InvalidValue, match="`/proc/models`"),
        writing_version(Path("/proc/models")),
    ):
        pass
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # tests may run as root, who may write anywhere
    with pytest.raises(InvalidValue, match=f"`{tmp_path}`"):
        check_base(tmp_path / "digits")


def test_the_rollback_command_says_what_serves_now_and_how_to_undo_it(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    base = str(make(tmp_path / "digits", "1", "2", "3"))
    assert main(["rollback", base, "--json"]) == 0
    assert json.loads(capfd.readouterr().out) == {
        "base": base,
        "withdrawn": 3,
        "kept_as": f"{base}/withdrawn-3",
        "serves": 2,
    }
    assert main(["rollback", base]) == 0
    printed = capfd.readouterr().out
    assert re.search(rf"2 .*{base}/withdrawn-2.*1 ", printed)
    assert f"mv {base}/withdrawn-2 {base}/2\n" in printed
    assert main(["rollback", base]) == 2
    assert re.search("one version.*1", capfd.readouterr().err)
