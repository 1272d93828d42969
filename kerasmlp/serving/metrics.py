"""`Metrics`: counts and latencies for Prometheus, under the names, labels and buckets that TF Serving uses."""

from __future__ import annotations

import bisect
import threading
from collections.abc import Iterator
from pathlib import Path

REQUESTS = ":tensorflow:serving:request_count"
LATENCY = ":tensorflow:serving:request_latency"
RUNTIME = ":tensorflow:serving:runtime_latency"
LOADS = ":tensorflow:cc:saved_model:load_attempt_count"
LOAD_TIME = ":tensorflow:cc:saved_model:load_latency"
CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"
# Upper ends of TF Serving's buckets, in microseconds: powers of 1.8, beginning with 10.
_ENDS = tuple(10 * 1.8**power for power in range(33))
_PREDICT, _RUNTIME = "Predict", "TF2"

Labels = tuple[tuple[str, str], ...]


class _Histogram:
    """Counts of values by bucket."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(_ENDS) + 1)
        self.total = 0.0

    def add(self, value: float) -> None:
        self.counts[bisect.bisect_left(_ENDS, value)] += 1
        self.total += value


class Metrics:
    """What a server has done so far. Its methods may be called from several threads."""

    def __init__(self) -> None:
        """Starts with nothing."""
        self._counters: dict[str, dict[Labels, float]] = {REQUESTS: {}, LOADS: {}, LOAD_TIME: {}}
        self._histograms: dict[str, dict[Labels, _Histogram]] = {LATENCY: {}, RUNTIME: {}}
        self._series: dict[tuple[str, str, str], tuple[Labels, _Histogram]] = {}
        self._runs: dict[str, _Histogram] = {}
        self._lock = threading.Lock()

    def count_request(self, model: str, entrypoint: str, code: str, seconds: float) -> None:
        """Counts a request for predictions.

        Args:
            model: Name of a model that is served. Others are not counted, because clients could fill the memory.
            entrypoint: `REST` or `GRPC`.
            code: gRPC's status code of the answer, such as `OK`.
            seconds: From the arrival of the request to its answer.
        """
        key = (model, entrypoint, code)
        with self._lock:
            found = self._series.get(key)
            if found is None:
                series = (("model_name", model), ("API", _PREDICT), ("entrypoint", entrypoint))
                histogram = self._histograms[LATENCY].setdefault(series, _Histogram())
                found = self._series[key] = ((("model_name", model), ("status", code)), histogram)
            labels, histogram = found
            counts = self._counters[REQUESTS]
            counts[labels] = counts.get(labels, 0) + 1
            histogram.add(seconds * 1e6)

    def count_run(self, model: str, seconds: float) -> None:
        """Counts the time in which a model computed its answer."""
        with self._lock:
            found = self._runs.get(model)
            if found is None:
                labels = (("model_name", model), ("API", _PREDICT), ("runtime", _RUNTIME))
                found = self._runs[model] = self._histograms[RUNTIME][labels] = _Histogram()
            found.add(seconds * 1e6)

    def count_load(self, path: Path, status: str, seconds: float) -> None:
        """Counts an attempt to load a version, whose `status` is `success` or `fail`."""
        labels = (("model_path", str(path)), ("status", status))
        with self._lock:
            self._counters[LOADS][labels] = self._counters[LOADS].get(labels, 0) + 1
            if status == "success":
                self._counters[LOAD_TIME][labels[:1]] = round(seconds * 1e6)

    def page(self) -> bytes:
        """Returns the page that Prometheus reads."""
        with self._lock:
            return "".join(f"{line}\n" for line in self._lines()).encode()

    def _lines(self) -> Iterator[str]:
        for name, series in self._counters.items():
            yield f"# TYPE {name} counter"
            for labels, value in series.items():
                yield f"{name}{_braced(labels)} {value:.0f}"
        for name, histograms in self._histograms.items():
            yield f"# TYPE {name} histogram"
            for labels, histogram in histograms.items():
                below = 0
                for end, count in zip((*_ENDS, None), histogram.counts, strict=True):
                    below += count
                    le = "+Inf" if end is None else f"{end:g}"
                    yield f"{name}_bucket{_braced((*labels, ('le', le)))} {below}"
                yield f"{name}_sum{_braced(labels)} {histogram.total:.6g}"
                yield f"{name}_count{_braced(labels)} {below}"


def _braced(labels: Labels) -> str:
    escaped = ((name, value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")) for name, value in labels)
    return "{" + ",".join(f'{name}="{value}"' for name, value in escaped) + "}"
