"""How a search is extended by more trials: which one may be, and whether its final network stays."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from kerasmlp._system.files import write_json
from kerasmlp.contract import CALIBRATION_NAME, CONFIG_NAME, METRICS_NAME, STATE_NAME
from kerasmlp.errors import KerasMLPWarning, OutputExists
from kerasmlp.new_run_directory import settings_that_differ
from kerasmlp.run import Run

if TYPE_CHECKING:
    from pathlib import Path

    from kerasmlp.tuning.settings import SearchSettings


def is_extended(path: Path, config: dict[str, Any], settings: SearchSettings) -> bool:
    """Returns whether a directory holds the search that was asked for, apart from its number of trials.

    A finished search keeps its results until the final network has to be trained again. Until then, `config.json` says
    what they belong to, so a search that is killed while it is extended is simply extended again.

    Args:
        path: The directory.
        config: What is asked for.
        settings: The settings in it, as `SearchSettings.for_data` returns them.

    Raises:
        OutputExists: the search is finished, and not asked for more trials.
    """
    recorded = Run(path).config.get("search") if (path / CONFIG_NAME).is_file() else None
    if recorded is None or "trials" not in recorded:
        return False
    there = {**config, "search": {**config["search"], "trials": recorded["trials"]}}
    if settings_that_differ(path, there):
        return False
    if not (path / METRICS_NAME).is_file():
        return True
    before, now = (replace(settings, trials=trials).num_trials() for trials in (recorded["trials"], settings.trials))
    if before != now and settings.minutes is None:
        return True
    if settings.minutes is not None:
        why = ", and its time is used up"
    elif before is None:
        why = ", and Hyperband cannot be extended, because its trials follow from `epochs`"
    elif before == settings.whole_space.size():
        why = f" after all {before} combinations of its space, so there is nothing to add"
    else:
        trials = "1 trial" if before == 1 else f"{before} trials"
        why = f" after {trials}; extend it with a larger number of them, such as `trials={2 * before}`"
    raise OutputExists(
        f"`{path}` holds this same search, finished{why}; choose another folder with `out`, or replace it with "
        "`overwrite=True`."
    )


def keep_final_network(run: Run, config: dict[str, Any]) -> bool:
    """Returns whether the final network of an extended search stays, because training it again would change nothing.

    If so, `config.json` then says how many trials the search has had. If not, the run is unfinished from now on.

    Args:
        run: The run directory.
        config: What `config.json` has to say about the final training.
    """
    there = run.config
    is_finished = (run.path / METRICS_NAME).is_file()
    if not settings_that_differ(run.path, {**config, "search": there["search"]}):
        if is_finished:
            write_json(run.path / CONFIG_NAME, {**there, "search": config["search"]})
        return is_finished
    # A final training of another trial that was interrupted must not be continued with these settings.
    for name in (STATE_NAME, CALIBRATION_NAME):
        (run.path / name).unlink(missing_ok=True)
    if not is_finished:
        return False
    (run.path / METRICS_NAME).unlink()
    exports = run.path / "export"
    if exports.is_dir():
        warnings.warn(
            f"Another trial is the best now, so the final network is trained again. `{exports}` still holds files of "
            "the network before; export the new one, too.",
            KerasMLPWarning,
            stacklevel=4,
        )
    return False
