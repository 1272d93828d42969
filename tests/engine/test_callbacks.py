"""The engine's callbacks: a loss that is not finite stops training, and the display shows the progress."""

from __future__ import annotations

import io
import os
import sys
import types

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before TensorFlow is first imported

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from kerasmlp.engine import LossNotFinite, ProgressDisplay, StopOnNonFiniteLoss
from tests.helpers.engine_oracle import engine_fit, network, problem


class Terminal(io.StringIO):
    """A stream that claims to be a terminal."""

    def isatty(self) -> bool:
        """True."""
        return True


def test_a_loss_that_explodes_stops_training_and_the_best_checkpoint_stays(tmp_path: Path) -> None:
    model = network(keras.optimizers.SGD(0.1))
    best = keras.callbacks.ModelCheckpoint(tmp_path / "best.keras", monitor="loss", save_best_only=True)
    schedule = keras.callbacks.LearningRateScheduler(lambda epoch: 0.1 if epoch < 2 else 1e30)
    with pytest.raises(LossNotFinite, match=r"The loss is (nan|inf) in epoch 3.*1e\+30.*learning_rate=1e\+29"):
        engine_fit(model, problem(), epochs=5, callbacks=[schedule, StopOnNonFiniteLoss(), best])
    kept = keras.models.load_model(tmp_path / "best.keras")
    assert all(np.isfinite(weight).all() for weight in kept.get_weights())


def test_a_validation_loss_that_is_not_finite_stops_training() -> None:
    features, labels = problem()
    # A weight, not a feature: rectifiers of some processors make 0 of NaN.
    weights = np.ones(len(labels), np.float32)
    weights[0] = np.nan
    with pytest.raises(LossNotFinite, match="validation loss is nan in epoch 1"):
        engine_fit(
            network(),
            (features, labels),
            validation_data=(features, labels, weights),
            callbacks=[StopOnNonFiniteLoss()],
            epochs=2,
        )


def test_a_finite_loss_does_not_stop_training() -> None:
    history = engine_fit(network(), problem(), epochs=2, callbacks=[StopOnNonFiniteLoss()])
    assert len(history.epoch) == 2


def test_the_display_writes_one_line_per_epoch_to_a_pipe() -> None:
    stream = io.StringIO()
    history = engine_fit(network(), problem(), epochs=3, callbacks=[ProgressDisplay(330, stream=stream)])
    lines = stream.getvalue().splitlines()
    assert len(lines) == 3
    assert lines[0].startswith("epoch 1/3  ")
    assert "examples/s" in lines[1]
    assert f"loss {history.history['loss'][2]:.4f}" in lines[2]
    assert lines[2].endswith("left 0:00:00")


def test_the_display_of_a_training_that_may_end_sooner_says_so() -> None:
    stream = io.StringIO()
    display = ProgressDisplay(may_end_sooner=True, stream=stream)
    engine_fit(network(), problem(), epochs=2, callbacks=[display])
    first, last = stream.getvalue().splitlines()
    assert first.startswith("epoch 1 of at most 2  ")
    assert last.endswith("left at most 0:00:00")


def test_the_display_draws_a_live_line_in_a_terminal_and_removes_it_at_the_end() -> None:
    stream = Terminal()
    clock = iter(np.arange(0.0, 100.0, 0.5)).__next__
    engine_fit(network(), problem(), epochs=2, callbacks=[ProgressDisplay(330, stream=stream, clock=clock)])
    written = stream.getvalue()
    assert "epoch 1/2 (25%)" in written  # the first of four blocks
    assert "\x1b[2K" in written  # erased


def test_the_display_goes_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    engine_fit(network(), problem(), callbacks=[ProgressDisplay()])
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("epoch 1/1")


def test_the_display_removes_its_live_line_when_training_fails() -> None:
    class Fail(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            raise ZeroDivisionError

    stream = Terminal()
    with pytest.raises(ZeroDivisionError), ProgressDisplay(330, stream=stream) as display:
        engine_fit(network(), problem(), epochs=2, callbacks=[display, Fail()])
    assert stream.getvalue().rstrip().endswith("\x1b[2K")  # the line is erased, after which nothing is drawn
    assert "\x1b[?25h" in stream.getvalue()  # the cursor is visible again


def test_the_display_redraws_one_output_in_a_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []

    class Handle:
        def update(self, output: dict[str, str], *, raw: bool) -> None:
            assert raw
            shown.append(output["text/plain"])

    def display(output: dict[str, str], *, raw: bool, display_id: bool) -> Handle:
        assert (raw, display_id) == (True, True)
        return Handle()

    # A stand-in for IPython, which the tests do not need for anything else.
    ipython, ipython_display = types.ModuleType("IPython"), types.ModuleType("IPython.display")
    ipython.get_ipython = lambda: types.SimpleNamespace(kernel=object())  # type: ignore[attr-defined]
    ipython_display.display = display  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", ipython_display)
    engine_fit(network(), problem(), epochs=2, callbacks=[ProgressDisplay(330)])
    assert shown[-1].startswith("epoch 2/2  ")
    assert "val" not in shown[-1]


def test_the_time_left_after_the_first_epoch_does_not_count_what_was_compiled_in_it() -> None:
    stream, model = io.StringIO(), network()
    model.train_function = types.SimpleNamespace(compile_seconds=50.0)
    model.test_function = types.SimpleNamespace(compile_seconds=9.0)
    display = ProgressDisplay(stream=stream, clock=iter([0.0, 60.0]).__next__)
    display.set_model(model)
    display.set_params({"epochs": 12})
    display.on_train_begin()
    display.on_epoch_begin(0)
    display.on_epoch_end(0, {"loss": 1.0})
    assert stream.getvalue().rstrip().endswith("left 0:00:11")


def test_the_time_left_does_not_count_the_compile_in_the_first_epoch() -> None:
    stream = io.StringIO()
    display = ProgressDisplay(stream=stream, clock=iter([0.0, 60.0, 60.0, 61.0]).__next__)
    display.set_params({"epochs": 12})
    display.on_train_begin()
    for epoch in range(2):
        display.on_epoch_begin(epoch)
        display.on_epoch_end(epoch, {"loss": 1.0})
    assert [line.split("left ")[1] for line in stream.getvalue().splitlines()] == ["0:11:00", "0:00:10"]
