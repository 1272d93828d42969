"""`ProgressDisplay`: what a training is doing, on stderr, at no cost that could be measured."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any, Self, TextIO

import keras

# A terminal line is drawn at most this often: ten times a second looks continuous, and a drawing takes about 1 ms.
_REDRAW_S = 0.1


class ProgressDisplay(keras.callbacks.Callback):
    """Shows epochs, examples per second, loss, metrics and the time left: one live line, or a plain line per epoch.

    The live line is drawn where `stream` is a terminal, at most ten times a second and only between blocks; elsewhere,
    in a log file or a pipe, each epoch writes one line when it ends. Pass `verbose=0` to `fit` beside it.

    Args:
        num_examples: Examples per epoch, for the rate; None shows epochs without it, as for a stream of unknown length.
        stream: Where to write; default `sys.stderr`.
        clock: Seconds that only grow; tests pass their own.

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
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """See the class."""
        super().__init__()
        self._num_examples = num_examples
        self._stream = sys.stderr if stream is None else stream
        self._clock = clock
        self._live: Any = None
        self._drawn_at = 0.0
        self._epoch = 0
        self._epoch_began = 0.0
        self._seconds: list[float] = []

    def __enter__(self) -> Self:
        """Does nothing: the display opens when training begins."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Closes the display, also when training failed and Keras did not call `on_train_end`."""
        self.on_train_end()

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Opens the live line where there is a terminal."""
        self._seconds = []
        if self._stream.isatty():
            from rich.console import Console
            from rich.live import Live

            self._live = Live(console=Console(file=self._stream), auto_refresh=False, transient=True)
            self._live.start()

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Starts the epoch's clock."""
        self._epoch = epoch
        self._epoch_began = self._clock()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Redraws the live line after a block, if the last drawing is long enough ago."""
        if self._live is None:
            return
        now = self._clock()
        if now - self._drawn_at < _REDRAW_S:
            return
        self._drawn_at = now
        blocks = (self.params or {}).get("steps")
        share = f" ({(batch + 1) / blocks:.0%})" if blocks else ""
        self._draw(f"{self._head()}{share}{_metrics(logs)}{self._left()}")

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Writes or redraws the line with the epoch's metrics."""
        seconds = self._clock() - self._epoch_began
        self._seconds.append(seconds)
        rate = f"  {self._num_examples / seconds:,.0f} examples/s" if self._num_examples and seconds > 0 else ""
        line = f"{self._head()}  {seconds:.1f} s{rate}{_metrics(logs)}{self._left()}"
        if self._live is None:
            print(line, file=self._stream, flush=True)
        else:
            self._draw(line)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Closes the live line."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _draw(self, line: str) -> None:
        from rich.text import Text

        self._live.update(Text(line), refresh=True)

    def _head(self) -> str:
        return f"epoch {self._epoch + 1}/{(self.params or {}).get('epochs', '?')}"

    def _left(self) -> str:
        epochs = (self.params or {}).get("epochs")
        if not self._seconds or not epochs:
            return ""
        # The first epoch holds the compile, and says little about the others once there are others.
        steady = self._seconds[1:] or self._seconds
        seconds = round(sum(steady) / len(steady) * max(0, epochs - self._epoch - 1))
        return f"  left {seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"


def _metrics(logs: dict[str, Any] | None) -> str:
    return "".join(f"  {name} {float(value):.4f}" for name, value in (logs or {}).items() if name != "learning_rate")
