"""`write_hparams`: writes the trials of a search for TensorBoard's HParams page, without importing TensorFlow."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2
from tensorboard.plugins.hparams import summary_v2 as hp
from tensorboard.plugins.scalar.summary_v2 import scalar_pb
from tensorboard.summary.writer.record_writer import RecordWriter

from kerasmlp._system.files import appearing
from kerasmlp.tuning.search_goal import CLASSIFYING, Goal, label_of

if TYPE_CHECKING:
    from kerasmlp.tuning.trial_records import TrialRecord

# TensorBoard reads every file with `tfevents` in its name. All of ours have the same name, so that a file that is
# written again replaces the old one.
_EVENTS = "events.out.tfevents.0000000000.kerasmlp"
_MOST_CHOICES = 10  # up to as many different whole numbers, TensorBoard offers each value rather than a range


def write_hparams(folder: Path, records: Sequence[TrialRecord], goal: Goal = CLASSIFYING) -> None:
    """Writes trials for TensorBoard's HParams page, each to a folder such as `trial_007`.

    `tensorboard --logdir` shows them. A trial has its values and, unless it failed, the validation scores of its best
    epoch, logged at that epoch. Trials whose folder has an event file already are not written again. The
    description of all trials, in the folder itself, always is.

    Args:
        folder: Where to write. Created if necessary.
        records: The trials that have ended.
        goal: What the search looks for. Defaults to the highest accuracy.

    Raises:
        OSError: the folder cannot be written to.

    Example:
        >>> import tempfile
        >>> from kerasmlp.tuning.trial_records import TrialRecord
        >>> folder = Path(tempfile.mkdtemp())
        >>> values = {"learning_rate": 0.01, "batch_size": 32}
        >>> write_hparams(folder, [TrialRecord(7, values, "completed", 0.97, 0.1, 3, 5, 1.5, None)])
        >>> [path.parent.name for path in folder.glob("*/*tfevents*")]
        ['trial_007']
    """
    _write_events(folder, [(0, _experiment(records, goal))])
    for record in records:
        name = f"trial_{record.number:03}"
        if not any((folder / name).glob("*tfevents*")):
            _write_events(folder / name, _trial(name, record, goal))


def _experiment(records: Sequence[TrialRecord], goal: Goal) -> Summary:
    """Describes the hyper-parameters, their values, and the metrics of the trials."""
    names = dict.fromkeys(name for record in records for name in record.values)
    hparams = [
        hp.HParam(
            name,
            _domain([_plain(record.values[name]) for record in records if name in record.values]),
            display_name=name.replace("_", " "),
        )
        for name in names
    ]
    metrics = [
        hp.Metric(tag, display_name=f"validation {label_of(tag)}", dataset_type=hp.Metric.VALIDATION)
        for tag in goal.recorded
    ]
    return hp.hparams_config_pb(hparams, metrics)


def _domain(values: Sequence[Any]) -> hp.Domain:
    kinds = {type(value) for value in values}
    if kinds == {int} and len(set(values)) > _MOST_CHOICES:
        return hp.IntInterval(min(values), max(values))
    if float in kinds and kinds <= {int, float}:
        return hp.RealInterval(float(min(values)), float(max(values)))
    return hp.Discrete(sorted(set(values)))


def _trial(name: str, record: TrialRecord, goal: Goal) -> list[tuple[int, Summary]]:
    """Returns the summaries of a trial, each with its step."""
    now = time.time()
    values = {key: _plain(value) for key, value in record.values.items()}
    # With a name, because TensorBoard by default takes trials with equal values for one.
    summaries = [(0, hp.hparams_pb(values, trial_id=name, start_time_secs=now - record.seconds))]
    if record.status != "failed":
        scores = ((tag, record.score(tag)) for tag in goal.recorded)
        summaries += [(record.best_epoch or 0, scalar_pb(tag, score)) for tag, score in scores if score is not None]
    status = api_pb2.STATUS_FAILURE if record.status == "failed" else api_pb2.STATUS_SUCCESS
    # The plugin's `summary.session_end_pb` would do, but imports TensorFlow.
    end = plugin_data_pb2.HParamsPluginData(
        session_end_info=plugin_data_pb2.SessionEndInfo(status=status, end_time_secs=now)
    )
    summary = Summary()
    summary.value.add(
        tag=metadata.SESSION_END_INFO_TAG,
        metadata=metadata.create_summary_metadata(end),
        tensor=metadata.NULL_TENSOR,
    )
    return [*summaries, (0, summary)]


def _plain(value: Any) -> bool | int | float | str:
    # TensorBoard knows no other types.
    return value if isinstance(value, bool | int | float | str) else str(value)


def _write_events(folder: Path, summaries: Sequence[tuple[int, Summary]]) -> None:
    now = time.time()
    events = [Event(wall_time=now, file_version="brain.Event:2")]
    events += [Event(wall_time=now, step=step, summary=summary) for step, summary in summaries]
    # Whole or not at all, because the file of a trial is never written again.
    with appearing(folder / _EVENTS) as temporary, temporary.open("wb") as file:
        writer = RecordWriter(file)
        for event in events:
            writer.write(event.SerializeToString())
