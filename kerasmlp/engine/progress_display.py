"""`ProgressDisplay`: shows how far a training is, on stderr or in a notebook, at no measurable cost."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any, Protocol, Self, TextIO

import keras

from kerasmlp._system.terminal import in_notebook, is_terminal
from kerasmlp.engine.block_function import compile_seconds

# The live line is redrawn at most this often. Ten times a second looks continuous, and drawing takes about 1 ms.
_REDRAW_S = 0.1


class ProgressDisplay(keras.callbacks.Callback):
    """Shows the epoch, examples per second, loss, metrics and the time left.

    In a terminal or a notebook, this is one live line. It is redrawn at most ten times a second and only between
    blocks. Elsewhere, such as in a log file or a pipe, each epoch writes one line when it ends. `train` adds this
    callback by itself. If you call `fit`, pass `verbose=0` to it, and use the callback as a context manager to remove
    the live line from a terminal even if training fails.

    Args:
        num_examples: Examples per epoch, for the rate. None shows no rate, for streams of unknown length. Defaults to
            None.
        may_end_sooner: Whether the training usually ends before its last epoch. The number of epochs and the time left
            are then shown as the most that there can be. Defaults to `False`.
        stream: Where to write. Defaults to `sys.stderr`, which a notebook replaces by an output of the cell.
        clock: Returns seconds that never decrease. Tests pass their own. Defaults to `time.perf_counter`.

    Attributes:
        epochs: Number of epochs to show, which may change; 0 if it is not known. None: that of `fit`.

    Example:
        >>> display = ProgressDisplay(1000, stream=sys.stdout, clock=iter([0.0, 0.5]).__next__)
        >>> display.set_params({"epochs": 3})
        >>> display.on_train_begin(); display.on_epoch_begin(0)
        >>> display.on_epoch_end(0, {"loss": 0.25, "accuracy": 0.9})
        epoch 1/3  0.5 s  2,000 examples/s  loss 0.2500  accuracy 0.9000  left 0:00:01
    """

    def __init__(
        self,
        num_examples: int | None = None,
        *,
        may_end_sooner: bool = False,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Creates a display that shows nothing until training begins."""
        super().__init__()
        self.epochs: int | None = None
        self._num_examples = num_examples
        self._may_end_sooner = may_end_sooner
        self._notebook = stream is None and in_notebook()
        self._stream = sys.stderr if stream is None else stream
        self._clock = clock
        self._live: _LiveLine | None = None
        self._drawn_at = 0.0
        self._epoch = 0
        self._epoch_began = 0.0
        self._seconds: list[float] = []

    def __enter__(self) -> Self:
        """Returns the display, which opens when training begins."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Closes the live line. Keras does not call `on_train_end` if training fails."""
        self.on_train_end()

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Opens the live line in a terminal or a notebook."""
        self._seconds = []
        if self._notebook:
            self._live = _NotebookLine()
        elif is_terminal(self._stream):
            self._live = _TerminalLine(self._stream)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Starts the clock of the epoch."""
        self._epoch = epoch
        self._epoch_began = self._clock()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Redraws the live line after a block, unless it was drawn just before."""
        if self._live is None:
            return
        now = self._clock()
        if now - self._drawn_at < _REDRAW_S:
            return
        self._drawn_at = now
        blocks = (self.params or {}).get("steps")
        share = f" ({(batch + 1) / blocks:.0%})" if blocks else ""
        self._live.draw(f"{self._head()}{share}{_metrics(logs)}{self._left()}")

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Writes or redraws the line with the metrics of the epoch."""
        seconds = self._clock() - self._epoch_began
        self._seconds.append(seconds)
        rate = f"  {self._num_examples / seconds:,.0f} examples/s" if self._num_examples and seconds > 0 else ""
        line = f"{self._head()}  {seconds:.1f} s{rate}{_metrics(logs)}{self._left()}"
        if self._live is None:
            if self._stream is not None:  # a process without stderr
                print(line, file=self._stream, flush=True)
        else:
            self._live.draw(line)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Closes the live line."""
        if self._live is not None:
            self._live.close()
            self._live = None

    def _head(self) -> str:
        of = " of at most " if self._may_end_sooner else "/"
        return f"epoch {self._epoch + 1}{of}{self._total() or '?'}"

    def _total(self) -> int:
        return int((self.params or {}).get("epochs") or 0) if self.epochs is None else self.epochs

    def _left(self) -> str:
        epochs = self._total()
        if not self._seconds or not epochs:
            return ""
        # The first epoch includes the compile, so it is left out as soon as there are others.
        steady = self._seconds[1:] or [max(0.0, self._seconds[0] - compile_seconds(self.model))]
        seconds = round(sum(steady) / len(steady) * max(0, epochs - self._epoch - 1))
        most = "at most " if self._may_end_sooner else ""
        return f"  left {most}{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"


class _LiveLine(Protocol):
    """One line of text that can be redrawn."""

    def draw(self, line: str) -> None:
        """Replaces the text."""

    def close(self) -> None:
        """Ends the drawing."""


class _TerminalLine:
    """The last line of a terminal. It disappears when it is closed."""

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console
        from rich.live import Live

        self._live = Live(console=Console(file=stream), auto_refresh=False, transient=True)
        self._live.start()

    def draw(self, line: str) -> None:
        from rich.text import Text

        self._live.update(Text(line), refresh=True)

    def close(self) -> None:
        self._live.stop()


class _NotebookLine:
    """A line in the output of a notebook's cell, which stays there when it is closed.

    IPython redraws it without `ipywidgets`, which rich's own display in notebooks needs.
    """

    def __init__(self) -> None:
        from IPython.display import display

        self._handle = display({"text/plain": ""}, raw=True, display_id=True)

    def draw(self, line: str) -> None:
        self._handle.update({"text/plain": line}, raw=True)

    def close(self) -> None:
        """Leaves the last line in the notebook."""


def _metrics(logs: dict[str, Any] | None) -> str:
    shown = {name: float(value) for name, value in (logs or {}).items() if name != "learning_rate"}
    return "".join(
        f"  {name} {value:,.0f}" if value >= 1000 else f"  {name} {value:.4f}" for name, value in shown.items()
    )
