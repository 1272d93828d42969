"""What a search shows: its progress, its plot, and its trials in TensorBoard."""

from __future__ import annotations

import io
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from rich.console import Console
from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader
from tensorboard.plugins.hparams import api_pb2, metadata
from tensorboard.util import tensor_util

from kerasmlp import plots
from kerasmlp.tuning import search_display, search_plot
from kerasmlp.tuning.search_display import SearchDisplay
from kerasmlp.tuning.tensorboard_log import write_hparams
from kerasmlp.tuning.trial_records import TrialRecord

VALUES: dict[str, Any] = {"learning_rate": 0.0021, "batch_size": 64}


class Clock:
    """Seconds that a test sets."""

    now = 0.0

    def __call__(self) -> float:
        """Returns the seconds."""
        return self.now


def completed(number: int, val_accuracy: float, **values: Any) -> TrialRecord:
    return TrialRecord(number, {**VALUES, **values}, "completed", val_accuracy, 0.1, 4, 5, 2.0, None)


def stopped(number: int, val_accuracy: float, **values: Any) -> TrialRecord:
    return TrialRecord(number, {**VALUES, **values}, "stopped", val_accuracy, 0.5, 2, 3, 1.0, None)


def failed(number: int, error: str = "the loss is nan", **values: Any) -> TrialRecord:
    return TrialRecord(number, {**VALUES, **values}, "failed", None, None, None, 0, 1.0, error)


def plain(total: int | None = 24) -> tuple[SearchDisplay, io.StringIO, Clock]:
    stream, clock = io.StringIO(), Clock()
    return SearchDisplay(Console(file=stream, width=60), total, clock=clock), stream, clock


def terminal(total: int | None = 24) -> tuple[SearchDisplay, io.StringIO, Clock]:
    stream, clock = io.StringIO(), Clock()
    console = Console(file=stream, width=120, height=30, force_terminal=True, color_system=None, _environ={})
    return SearchDisplay(console, total, clock=clock), stream, clock


def picture(display: SearchDisplay) -> str:
    """The table as the terminal shows it now."""
    stream = io.StringIO()
    Console(file=stream, width=120).print(display._table())
    return stream.getvalue()


# --- progress ---------------------------------------------------------------------------------------------------------


def test_each_trial_that_ends_writes_one_line_in_a_log() -> None:
    display, stream, clock = plain()
    for number, record in enumerate((completed(1, 0.978), completed(2, 0.9731), stopped(3, 0.9)), start=1):
        display.begin(number, VALUES, "worker 0")
        display.epoch(number, 1, 5, 0.5)
        clock.now += 2.0
        display.end(record)
    display.stop()
    common = "learning rate 2.1e-03  batch size 64"
    assert stream.getvalue().splitlines() == [
        f"trial 1/24  {common}  validation 97.80%  best 97.80%  left 0:00:46",
        f"trial 2/24  {common}  validation 97.31%  best 97.80%  left 0:00:44",
        f"trial 3/24  {common}  validation 90.00%  stopped early after epoch 3  best 97.80%  left 0:00:42",
    ]


def test_a_notebook_shows_plain_lines() -> None:
    stream = io.StringIO()
    display = SearchDisplay(Console(file=stream, force_jupyter=True), 2, clock=Clock())
    display.begin(1, VALUES, "worker 0")
    display.end(completed(1, 0.978))
    display.stop()
    assert stream.getvalue().startswith("trial 1/2  learning rate 2.1e-03  batch size 64  validation 97.80%")


def test_without_a_total_the_time_left_is_not_shown() -> None:
    display, stream, clock = plain(total=None)
    display.begin(1, VALUES, "worker 0")
    clock.now = 5.0
    display.end(completed(1, 0.9, dropout=0.25))
    line = "trial 1  learning rate 2.1e-03  batch size 64  dropout 0.25  validation 90.00%  best 90.00%\n"
    assert stream.getvalue() == line


def test_a_log_has_the_whole_error_of_the_first_failure_and_short_ones_of_the_others() -> None:
    display, stream, _ = plain()
    error = "the loss [of epoch 1] is nan, " + "so it goes " * 20 + "to the end"
    display.end(failed(1, error))
    display.end(failed(2, error))
    first, second = stream.getvalue().splitlines()
    assert first.endswith(f"failed: {error}")
    assert "failed: the loss [of epoch 1] is nan" in second
    assert second.endswith("...")
    assert "validation" not in first


def test_a_terminal_shows_the_error_of_the_first_failure_and_the_number_of_all() -> None:
    display, stream, _ = terminal()
    display.end(failed(4, "first [error]"))
    display.end(failed(5, "second error"))
    assert "2 failed" in picture(display)
    display.stop()
    assert stream.getvalue().count("Trial 4 failed: first [error]") == 1
    assert "second error" not in stream.getvalue()


def test_trials_of_an_earlier_process_count_as_done_but_not_for_the_time_left() -> None:
    display, stream, clock = plain(total=10)
    clock.now = 100.0
    display.resume([completed(1, 0.95), stopped(2, 0.5), failed(3), completed(4, 0.9)])
    display.begin(5, VALUES, "worker 0")
    clock.now = 110.0
    display.end(completed(5, 0.94))
    resumed, line = stream.getvalue().splitlines()
    assert resumed == "4/10 trials were done before  best 95.00%"
    assert line.endswith("validation 94.00%  best 95.00%  left 0:00:50")
    shown = picture(display)
    assert "5/10 trials" in shown
    assert "1 failed" in shown
    assert "1 stopped early" in shown
    assert "0:00:10 elapsed" in shown


def test_the_table_shows_the_best_trial_those_that_run_and_those_that_ended() -> None:
    display, _, clock = terminal()
    display.end(completed(1, 0.96, hidden="128x64"))
    display.end(stopped(2, 0.91))
    display.begin(3, {**VALUES, "learning_rate": 0.1}, "worker 1")
    display.epoch(3, 2, 5, 0.8765)
    clock.now = 60.0
    lines = picture(display).splitlines()
    display.stop()
    assert lines[0].split()[-6:] == ["stopped", "early", "0:01:00", "elapsed", "0:11:00", "left"]
    assert "2/24 trials" in lines[0]
    rows = [" ".join(line.split()) for line in lines]
    assert rows[1] == "best trial 1 96.00% learning rate 2.1e-03 batch size 64 hidden 128x64"
    assert rows[3:] == [
        "learning batch",
        "trial epoch accuracy rate size hidden",
        "3 worker 1 2/5 87.65% 1.0e-01 64",
        "",
        "2 stopped 3 91.00% 2.1e-03 64",
        "1 completed 5 96.00% 2.1e-03 64 128x64",
    ]


def test_no_value_is_cut_off_on_a_narrow_terminal() -> None:
    display, _, _ = terminal()
    values: dict[str, Any] = {"dropout": 0.25, "hidden": "256x128", "batch_normalization": True}
    display.end(completed(1, 0.96, **values))
    display.end(failed(2, **values))
    display.end(stopped(3, 0.91, **values))
    stream = io.StringIO()
    Console(file=stream, width=80).print(display._table())
    display.stop()
    assert "…" not in stream.getvalue()
    assert "3 stopped 3 91.00% 2.1e-03 64 0.25 256x128 True" in " ".join(stream.getvalue().split())


def test_the_loss_decides_between_equal_accuracies_and_a_stopped_trial_is_never_the_best() -> None:
    display, _, _ = terminal()
    low_loss = TrialRecord(2, VALUES, "completed", 0.9, 0.05, 4, 5, 2.0, None)
    for record in (completed(1, 0.9), low_loss, completed(3, 0.9), stopped(4, 0.95)):
        display.end(record)
    assert "best  trial 2" in picture(display)
    display.stop()


def test_a_trial_that_is_taken_from_its_worker_no_longer_runs() -> None:
    display, stream, _ = plain()
    display.begin(7, VALUES, "worker 3")
    assert "worker 3" in picture(display)
    display.requeued(7, "the worker is gone")
    display.epoch(7, 2, 5, 0.9)  # from the worker, which was not lost but slow
    assert stream.getvalue() == "Trial 7 waits for another worker: the worker is gone\n"
    assert "worker 3" not in picture(display)


def test_a_display_can_be_stopped_twice_and_draws_nothing_afterwards() -> None:
    display, stream, _ = terminal()
    stdout, stderr = sys.stdout, sys.stderr
    display.begin(1, VALUES, "worker 0")
    assert sys.stdout is not stdout, "text that is printed meanwhile appears above the table"
    display.stop()
    display.stop()
    assert (sys.stdout, sys.stderr) == (stdout, stderr)
    drawn = stream.getvalue()
    assert "worker 0" in drawn
    display.end(completed(1, 0.9))
    assert stream.getvalue() == drawn


def test_a_display_that_was_never_used_writes_nothing() -> None:
    display, stream, _ = terminal()
    display.stop()
    assert stream.getvalue() == ""


def test_many_threads_can_report_their_trials_at_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    # So often that the drawing thread meets all others.
    monkeypatch.setattr(search_display, "_REDRAWS_PER_S", 10_000)
    for make in (plain, terminal):
        display, stream, _ = make(total=200)

        def work(first: int, display: SearchDisplay = display) -> None:
            for number in range(first, first + 25):
                display.begin(number, VALUES, f"worker {first}")
                display.epoch(number, 1, 5, 0.5)
                display.requeued(number, "gone")
                display.begin(number, VALUES, f"worker {first}")
                display.end(failed(number) if number % 5 == 0 else completed(number, 0.9))

        threads = [threading.Thread(target=work, args=(1 + 25 * index,), daemon=True) for index in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=20)
        assert not any(thread.is_alive() for thread in threads), "threads wait for each other"
        shown = picture(display)
        display.stop()
        assert "200/200 trials" in shown
        assert "40 failed" in shown
        assert stream.getvalue().count("waits for another worker") == 200
        assert stream.getvalue().count("the loss is nan") == (1 if make is terminal else 40)


# --- the plot ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that are saved, so that a test can look at their contents."""
    figures: list[Figure] = []
    save = plots.save_figure

    def keep(figure: Figure, path: Path) -> None:
        figures.append(figure)
        save(figure, path)

    monkeypatch.setattr(search_plot, "save_figure", keep)
    return figures


def draw(records: Sequence[TrialRecord], path: Path) -> None:
    search_plot.plot_search(records, path, title="digits")
    assert path.read_bytes().startswith(b"\x89PNG")


def lines_at(figure: Figure, axes: int, x: float) -> list[Any]:
    return [line for line in figure.axes[axes].lines if list(np.atleast_1d(line.get_xdata())) == [x]]


def legend_labels(figure: Figure) -> list[str]:
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def test_the_plot_of_a_search_marks_each_kind_of_trial(tmp_path: Path, drawn: list[Figure]) -> None:
    rates = [10 ** (-4 + 0.25 * index) for index in range(8)]
    records = [completed(n, 0.96 + 0.002 * n, learning_rate=rates[n - 1], batch_size=32) for n in range(1, 6)]
    records += [
        stopped(6, 0.96, learning_rate=rates[5], batch_size=64),
        failed(7, learning_rate=rates[6]),
        completed(8, 0.12, learning_rate=rates[7]),
    ]
    draw(records, tmp_path / "search.png")
    (figure,) = drawn
    bottom, top = figure.axes[0].get_ylim()
    assert 0.9 < bottom < 0.96 < 0.97 < top < 1.0, "one very bad trial does not widen the axis"
    for axes, x in ((0, rates), (1, range(1, 9))):
        points = [lines_at(figure, axes, value)[0] for value in x]
        markers = [point.get_marker() for point in points]
        assert markers == ["o"] * 6 + ["x", "v"]
        assert [point.get_fillstyle() == "none" for point in points] == [False] * 5 + [True, False, False]
        heights = [float(np.atleast_1d(point.get_ydata())[0]) for point in points]
        assert heights[:6] == [record.val_accuracy for record in records[:6]]
        assert bottom < heights[6] < heights[7] < min(heights[:6]), "failed and clipped trials are below the others"
        rings = [line for line in lines_at(figure, axes, list(x)[4])[1:] if line.get_markersize() > 10]
        assert len(rings) == 1, "the best is marked"
        assert list(np.atleast_1d(rings[0].get_ydata())) == [0.97]
    assert figure.axes[0].get_xscale() == "log"
    labels = legend_labels(figure)
    assert labels[:3] == ["batch size", "32", "64"]
    assert {"best so far", "stopped early", "failed"} < set(labels)
    assert any(label.startswith("below ") for label in labels)
    assert "trial 5 of 8 is the best, validation accuracy 97.00%" in figure.get_suptitle()


def test_the_curve_of_the_best_so_far_never_falls_and_reaches_the_last_trial(
    tmp_path: Path, drawn: list[Figure]
) -> None:
    scores = [0.95, 0.94, 0.97, 0.96, 0.98, 0.9]
    records = [failed(1), *(completed(n, score) for n, score in enumerate(scores, start=2)), failed(8)]
    draw(records[::-1], tmp_path / "search.png")  # the order does not matter
    (curve,) = [line for line in drawn[0].axes[1].lines if len(np.atleast_1d(line.get_xdata())) > 1]
    assert curve.get_drawstyle() == "steps-post"
    assert np.asarray(curve.get_xdata()).tolist() == [2, 4, 6, 8]
    assert np.asarray(curve.get_ydata()).tolist() == [0.95, 0.97, 0.98, 0.98]


@pytest.mark.parametrize(
    "records",
    [
        [completed(1, 1.0)],
        [completed(number, 1.0) for number in range(1, 5)],
        [failed(1), failed(2)],
        [completed(1, 0.9), completed(2, 0.1)],
    ],
    ids=["one", "all equal", "all failed", "two far apart"],
)
def test_every_search_has_a_plot(records: list[TrialRecord], tmp_path: Path, drawn: list[Figure]) -> None:
    draw(records, tmp_path / "search.png")
    bottom, top = drawn[0].axes[0].get_ylim()
    assert top - bottom >= search_plot.LEAST_SPAN
    assert max(drawn[0].axes[0].get_yticks()) <= 1.0
    assert {"stopped early", *(["failed"] if records[0].error is None else [])}.isdisjoint(legend_labels(drawn[0]))


# --- TensorBoard ------------------------------------------------------------------------------------------------------


def read_summaries(folder: Path) -> dict[str, tuple[int, Any]]:
    """Step and value of each summary in the only event file of a folder, by tag."""
    (path,) = folder.glob("*tfevents*")
    events = list(LegacyEventFileLoader(str(path)).Load())
    assert events[0].file_version == "brain.Event:2"
    return {value.tag: (event.step, value) for event in events for value in event.summary.value}


def test_tensorboard_gets_the_values_and_scores_of_each_trial(tmp_path: Path) -> None:
    values = {"hidden": "128x64", "batch_normalization": True, "depth": 2}
    write_hparams(tmp_path, [completed(1, 0.97, **values), stopped(12, 0.8), failed(13)])
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == ["trial_001", "trial_012", "trial_013"]
    for name, accuracy, loss, step in (("trial_001", 0.97, 0.1, 4), ("trial_012", 0.8, 0.5, 2)):
        summaries = read_summaries(tmp_path / name)
        for tag, expected in (("val_accuracy", accuracy), ("val_loss", loss)):
            assert summaries[tag][0] == step
            # Scalars are float32 in TensorBoard.
            assert tensor_util.make_ndarray(summaries[tag][1].tensor) == np.float32(expected)
            assert summaries[tag][1].metadata.plugin_data.plugin_name == "scalars"
    first = read_summaries(tmp_path / "trial_001")
    content = first[metadata.SESSION_START_INFO_TAG][1].metadata.plugin_data.content
    start = metadata.parse_session_start_info_plugin_data(content)
    kinds = {name: value.WhichOneof("kind") for name, value in start.hparams.items()}
    assert {name: getattr(start.hparams[name], kind) for name, kind in kinds.items()} == {**VALUES, **values}
    assert start.group_name == "trial_001"


def test_a_failed_trial_has_its_values_in_tensorboard_and_no_scores(tmp_path: Path) -> None:
    write_hparams(tmp_path, [failed(1), completed(2, 0.9)])
    summaries = read_summaries(tmp_path / "trial_001")
    assert set(summaries) == {metadata.SESSION_START_INFO_TAG, metadata.SESSION_END_INFO_TAG}
    statuses = []
    for name in ("trial_001", "trial_002"):
        content = read_summaries(tmp_path / name)[metadata.SESSION_END_INFO_TAG][1].metadata.plugin_data.content
        statuses.append(metadata.parse_session_end_info_plugin_data(content).status)
    assert statuses == [api_pb2.STATUS_FAILURE, api_pb2.STATUS_SUCCESS]


def test_writing_again_adds_new_trials_and_leaves_one_event_file_in_each_folder(tmp_path: Path) -> None:
    write_hparams(tmp_path, [completed(1, 0.9)])
    before = next((tmp_path / "trial_001").glob("*")).read_bytes()
    write_hparams(tmp_path, [completed(1, 0.9), completed(2, 0.95, batch_size=128)])
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert sorted(path.parent.name for path in files) == sorted([tmp_path.name, "trial_001", "trial_002"])
    assert next((tmp_path / "trial_001").glob("*")).read_bytes() == before
    experiment = read_experiment(tmp_path)
    assert sorted(value.number_value for value in experiment["batch_size"].domain_discrete.values) == [64, 128]


def read_experiment(folder: Path) -> dict[str, Any]:
    content = read_summaries(folder)[metadata.EXPERIMENT_TAG][1].metadata.plugin_data.content
    experiment = metadata.parse_experiment_plugin_data(content)
    assert [info.name.tag for info in experiment.metric_infos] == ["val_accuracy", "val_loss"]
    return {info.name: info for info in experiment.hparam_infos}


def test_tensorboard_knows_the_type_of_each_hyper_parameter(tmp_path: Path) -> None:
    records = [
        completed(n, 0.9, learning_rate=0.1 / n, units=n, activation=("relu", "gelu")[n % 2], l2=(1, 0.5)[n % 2])
        for n in range(1, 13)
    ]
    records.append(completed(13, 0.9, dropout=0.5, learning_rate=0.05))
    write_hparams(tmp_path, records)
    infos = read_experiment(tmp_path)
    assert set(infos) == {"learning_rate", "batch_size", "units", "activation", "l2", "dropout"}
    rate = infos["learning_rate"].domain_interval
    assert (rate.min_value, rate.max_value) == (0.1 / 12, 0.1)
    assert (infos["units"].domain_interval.min_value, infos["units"].domain_interval.max_value) == (1, 12)
    assert [value.string_value for value in infos["activation"].domain_discrete.values] == ["gelu", "relu"]
    assert infos["l2"].domain_interval.min_value == 0.5
    assert infos["activation"].type == api_pb2.DATA_TYPE_STRING
