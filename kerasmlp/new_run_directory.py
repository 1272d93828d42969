"""The directory of a new run: where it is, whether it may be written, and how an interrupted run is continued.

`kerasmlp.run` reads the directory of a finished run.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kerasmlp._system.files import nearest_existing_folder, write_json
from kerasmlp._system.locks import exclusive_lock
from kerasmlp.contract import (
    CALIBRATION_NAME,
    CONFIG_NAME,
    CROSS_VALIDATION_NAME,
    METRICS_NAME,
    MODEL_NAME,
    RUN_LOCK_NAME,
    STATE_NAME,
)
from kerasmlp.errors import InvalidValue, OutputExists, shortened
from kerasmlp.run import Run

if TYPE_CHECKING:
    from os import PathLike

LONGEST_SHOWN = 40  # characters of a setting that a message shows
FINISHED = (METRICS_NAME, CROSS_VALIDATION_NAME)  # either is written last
MOST_SHOWN = 3  # settings that a message shows of a finished run, which may have nothing in common with the new one


@contextmanager
def open_run_directory(
    out: str | PathLike[str] | None,
    name: str,
    config: dict[str, Any],
    *,
    overwrite: bool,
    extends: Callable[[Path], bool] = lambda path: False,
) -> Iterator[Run]:
    """Yields a run whose directory holds `config.json` and belongs to this process while the block runs.

    If the directory holds an unfinished run with the same `config`, its files stay, so that the run can be continued.
    Package versions are ignored in this comparison.

    Args:
        out: The directory. Defaults to the first of `runs/NAME`, `runs/NAME-2`, ... that does not exist or holds an
            unfinished run with the same `config`.
        name: NAME in the default of `out`.
        config: What was requested; it must be possible to write it as JSON.
        overwrite: Whether another run in the directory may be deleted.
        extends: Returns whether the run in a directory, finished or not, is one to add to. Its files stay, too, unless
            `overwrite` is set.

    Raises:
        OutputExists: `out` is a file; or it holds another run and `overwrite` is False; or it holds files that are not
            a run; or another process is writing to it. Nothing has been changed.
    """
    path = choose_run_directory(out, name, config)

    def stays() -> bool:
        return _difference(path, config) == [] or (not overwrite and extends(path))

    if not stays():
        check_output_is_free(path, config, overwrite=overwrite)
    path.mkdir(parents=True, exist_ok=True)
    with _locked(path):
        if not stays():
            # Again, because another process may have finished a run here while this one waited for the lock.
            check_output_is_free(path, config, overwrite=overwrite)
            for entry in _entries(path):
                shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
            write_json(path / CONFIG_NAME, config)
        yield Run(path)


@contextmanager
def follow_run(path: str | PathLike[str] | None, config: dict[str, Any]) -> Iterator[Run]:
    """Yields a temporary run directory for a worker that is not the chief of a distributed training.

    If the chief's directory holds an unfinished run with the same `config`, its training state is copied, so that the
    worker continues with the chief; and the best network so far, in case that no later epoch is better.

    Args:
        path: The chief's directory, in a folder that all workers share.
        config: What was requested.
    """
    with tempfile.TemporaryDirectory() as folder:
        state = Path(path or ".") / STATE_NAME
        if state.is_file() and _difference(state.parent, config) == []:
            # The notes come last: with them, a network that has its temperature already is recognised.
            for name in (STATE_NAME, MODEL_NAME, CALIBRATION_NAME):
                if (state.parent / name).is_file():
                    shutil.copy(state.parent / name, folder)
        yield Run(Path(folder))


def choose_run_directory(out: str | PathLike[str] | None, name: str, config: dict[str, Any] | None = None) -> Path:
    """Returns `out`, or the first of `runs/NAME`, `runs/NAME-2`, ... that can be used.

    A directory can be used if it does not exist, or if it holds an unfinished run with the same `config`.
    """
    if out is not None:
        return Path(out)
    path, number = Path("runs") / name, 1
    while path.exists() and (config is None or _difference(path, config) != []):
        number += 1
        path = Path("runs") / f"{name}-{number}"
    return path


def check_output_is_free(path: Path, config: dict[str, Any] | None = None, *, overwrite: bool) -> None:
    """Checks that a new run can be written to `path`. Changes nothing.

    Args:
        path: The directory.
        config: What was requested. If given, the message says which settings of an unfinished run there differ.
        overwrite: Whether another run may be deleted.

    Raises:
        OutputExists: `path` is a file, or holds another run and `overwrite` is False, or holds files that are not a
            run.
    """
    nearest_existing_folder(path, need="a run needs a folder")
    if not path.exists() or not _entries(path):
        return
    if not (path / CONFIG_NAME).is_file():
        raise OutputExists(f"`{path}` holds files that are not a run; choose another folder with `out`.")
    if overwrite:
        return
    difference = [] if config is None else settings_that_differ(path, config)
    differs = f" ({', '.join(difference)})"
    if difference and not any((path / name).is_file() for name in FINISHED):
        what = f"an unfinished run with other settings{differs}"
    elif config is not None and not difference:
        what = "this same run, finished"
    else:
        what = f"another run{differs if 0 < len(difference) <= MOST_SHOWN else ''}"
    raise OutputExists(f"`{path}` holds {what}; choose another folder with `out`, or replace it with `overwrite=True`.")


def check_out_is_no_input(out: str | PathLike[str] | None, runs: Iterable[Run]) -> None:
    """Raises `InvalidValue` if a new run would replace one of the runs that it is made from."""
    if out is None:
        return
    new = Path(out).resolve()
    for run in runs:
        old = run.path.resolve()
        if new == old or new in old.parents:
            raise InvalidValue(
                f"`out={out}` holds `{run.path}`, which the new run is made from. Choose another folder."
            )


def _entries(path: Path) -> list[Path]:
    """Everything in a run directory except its lock file."""
    return [entry for entry in path.iterdir() if entry.name != RUN_LOCK_NAME]


def _difference(path: Path, config: dict[str, Any]) -> list[str] | None:
    """How the unfinished run at `path` differs from `config`; None if there is no unfinished run."""
    if not (path / CONFIG_NAME).is_file() or any((path / name).is_file() for name in FINISHED):
        return None
    return settings_that_differ(path, config)


def settings_that_differ(path: Path, config: dict[str, Any]) -> list[str]:
    """Returns the settings of the run at `path`, finished or not, that differ from `config`, with both values."""
    # These are always compared, so that the final training of a search is not taken for a plain training. The other
    # sections are compared only if `config` has them: a search later adds those of its final training to its own.
    sections = (config.keys() | {"search", "cross_validation", "origin"}) - {"versions"}
    there = _flatten({name: part for name, part in Run(path).config.items() if name in sections})
    as_read = json.loads(json.dumps(config))  # with lists in place of tuples, as in the file
    here = _flatten({name: part for name, part in as_read.items() if name in sections})
    names = sorted(there.keys() | here.keys())
    return [
        f"{name}: {_shown(there.get(name))} there, {_shown(here.get(name))} here"
        for name in names
        if there.get(name) != here.get(name)
    ]


def _flatten(config: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(config, dict):
        return {prefix: config}
    parts = (_flatten(value, f"{prefix}.{name}" if prefix else name) for name, value in config.items())
    return {name: value for part in parts for name, value in part.items()}


def _shown(value: Any) -> str:
    return "not set" if value is None else shortened(str(value), LONGEST_SHOWN)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Keeps other processes from writing to the run directory `path` while the block runs."""
    with ExitStack() as stack:
        try:
            # In the directory, so that the lock works between machines that share it, and disappears with it.
            stack.enter_context(exclusive_lock(path / RUN_LOCK_NAME, wait=False))
        except BlockingIOError:
            raise OutputExists(
                f"`{path}` is being written to by another process; wait for it, or choose another folder with `out`."
            ) from None
        yield
