"""`committee`: makes one run of several, whose network answers with the mean of theirs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any

import keras

from kerasmlp._system.files import write_json, write_text
from kerasmlp.card import package_versions
from kerasmlp.contract import CALIBRATION_NAME, CONFIG_NAME, DATA_NAME, LABELS_NAME, METRICS_NAME
from kerasmlp.data.describing import describe_data
from kerasmlp.errors import InvalidType, InvalidValue
from kerasmlp.model.committees import join_networks
from kerasmlp.model.model_files import save_keras, weights_digest
from kerasmlp.new_run_directory import check_out_is_no_input, open_run_directory
from kerasmlp.run import Run, as_run
from kerasmlp.training.finishing import finish_network
from kerasmlp.training.report import measured
from kerasmlp.training.run_config import check_is_data_of, data_config, model_config, settings_of
from kerasmlp.training.settings import TrainingSettings
from kerasmlp.training.validation_data import model_outputs

if TYPE_CHECKING:
    from kerasmlp.data.types import Data

# Settings of a training that decide what is done with a finished network.
OF_FINISHING = ("calibrate", "threshold")


def committee(
    runs: Sequence[Run | str | PathLike[str]],
    *,
    data: Data | None = None,
    out: str | PathLike[str] | None = None,
    overwrite: bool = False,
) -> Run:
    """Returns a run whose network answers with the mean of the logits of several runs' networks.

    The networks become the members of one network, so that there is one artefact to export and to serve. Nothing is
    trained. For numbers, it is the mean of the standardised numbers in front of their units; with `log_target`, that
    of their logarithms. Quantiles do not cross, either. The calibration, thresholds and conformal limits are decided
    anew on validation.

    The runs need the same data and split, layer sizes and activation. Networks of the recipe `table` cannot be joined,
    because each learns an embedding of numbers of its own: train one network with several `members` instead.

    Args:
        runs: At least one run, or its directory.
        data: The data of the runs. Defaults to loading them again.
        out: The run directory. Defaults to the first free one of `runs/NAME-committee`, `runs/NAME-committee-2`, ...
        overwrite: Whether an existing run in `out` may be replaced. Defaults to `False`.

    Returns:
        A run like that of `kerasmlp.train`, without a history. Its `metrics.json` has the epochs of the run with the
        most, the time per epoch of all together, and in `committee_of` the score of each run on the same test.

    Raises:
        InvalidType: `runs` is not a list of runs.
        InvalidValue: the runs differ in their data, split, network or task, or the data cannot be loaded again.
        OutputExists: as in `kerasmlp.train`.

    See Also:
        `kerasmlp.distill`: trains a network of the size of one on the answers of several.

    Example:
        >>> import tempfile, kerasmlp
        >>> data, folder = kerasmlp.load_data("digits"), tempfile.mkdtemp()
        >>> runs = [
        ...     kerasmlp.train(kerasmlp.mlp_for(data, seed=seed), data, epochs=3, out=f"{folder}/{seed}")
        ...     for seed in (1, 2)
        ... ]
        >>> committee(runs, out=f"{folder}/both").metrics["members"]
        2
    """
    if isinstance(runs, Run | str | PathLike) or not isinstance(runs, Sequence):
        raise InvalidType(f"`runs` needs a list of runs; got {runs!r}.")
    if not runs:
        raise InvalidValue("`runs` needs at least one run; got none.")
    opened = [as_run(run) for run in runs]
    for run in opened[1:]:
        _check_alike(opened[0], run)
    check_out_is_no_input(out, opened)
    if data is None:
        data = opened[0].load_data()
    else:
        check_is_data_of(opened[0], data)
    networks = {str(run.path): run.load_model() for run in opened}
    if len(networks) < len(opened):
        raise InvalidValue("`runs` names a run twice, which adds nothing to a committee. Leave one of them out.")
    joined = join_networks(networks, data.postprocessing())
    training = {name: value for name, value in opened[0].config["training"].items() if name != "quantize_aware"}
    config = {
        "data": data_config(data),
        "model": model_config(joined, data),
        "training": training,
        **{name: opened[0].config.get(name) for name in ("class_weight", "loss")},
        "origin": {"committee": [weights_digest(network) for network in networks.values()]},
        "versions": package_versions(),
    }
    with open_run_directory(out, f"{data.name}-committee", config, overwrite=overwrite) as new:
        _finish(new, joined, data, config, opened)
    return new


def _check_alike(first: Run, other: Run) -> None:
    """Raises `InvalidValue` if two runs have other data or another split, or finish their networks in another way."""
    own, its = (run.config["data"] for run in (first, other))
    for what in own.keys() | its.keys():
        if own.get(what) == its.get(what):
            continue
        if what == "request" and own["request"] and its["request"]:
            names = own["request"].keys() | its["request"].keys()
            differ = sorted(name for name in names if own["request"].get(name) != its["request"].get(name))
            if differ == ["source"]:  # the same data by the fingerprint, under another path
                continue
            what = differ[0]
        raise InvalidValue(
            f"The runs of a committee need the same data and split: `{first.path}` and `{other.path}` differ in "
            f"`{what}`. Train networks with other seeds on data that are split with the same one."
        )
    if first.about_data["splits"] != other.about_data["splits"]:
        raise InvalidValue(
            f"The runs of a committee need the same data and split: `{first.path}` and `{other.path}` have other "
            "examples in training, validation or test."
        )
    for name in OF_FINISHING:
        values = [run.config["training"].get(name) for run in (first, other)]
        if values[0] != values[1]:
            raise InvalidValue(
                f"The runs of a committee need the same `{name}`; `{first.path}` has {values[0]} and `{other.path}` "
                f"{values[1]}."
            )


def _finish(new: Run, joined: keras.Model, data: Data, config: dict[str, Any], runs: Sequence[Run]) -> None:
    """Writes the run directory, `metrics.json` last."""
    write_json(new.path / CONFIG_NAME, config)
    write_json(new.path / DATA_NAME, describe_data(data))
    write_text(new.path / LABELS_NAME, "".join(f"{name}\n" for name in data.task.names))
    # Notes on a calibration belong to a network that is replaced now.
    (new.path / CALIBRATION_NAME).unlink(missing_ok=True)
    save_keras(new.model_path, joined, data.task)
    known = {name: config["training"][name] for name in OF_FINISHING if name in config["training"]}
    finished = finish_network(new, data, TrainingSettings(**known))
    joined.load_weights(new.model_path)
    loss = settings_of(runs[0])["loss"] or data.task.usual_loss
    loss = data.task.make_loss(loss) if isinstance(loss, str) else loss
    val_loss = float(loss(data.validation.labels, model_outputs(joined, data.validation.features)))
    all_metrics = [run.metrics for run in runs]
    kept = _test_scores(all_metrics[0])
    write_json(
        new.path / METRICS_NAME,
        measured(new, joined, data, config, finished, val_loss=val_loss)
        | {name: max(each[name] for each in all_metrics) for name in ("best_epoch", "epochs")}
        | {"seconds_per_epoch": sum(each["seconds_per_epoch"] for each in all_metrics)}
        | {
            "committee_of": [
                {
                    "run": os.path.relpath(run.path, new.path),
                    **{
                        name: each[name] for name in ("sizes", "members", "parameters", "epochs", *kept) if name in each
                    },
                }
                for run, each in zip(runs, all_metrics, strict=True)
            ]
        },
    )
    (new.path / CALIBRATION_NAME).unlink(missing_ok=True)


def _test_scores(metrics: dict[str, Any]) -> list[str]:
    """Returns the names of the scores on the test, the most important one first."""
    return [name for name in metrics if name.startswith("test_") and name != "test_examples"]
