"""Claim: an export's checks, probabilities and labels cost little compared with Keras's own `model.export`.

The benchmark trains MNIST's 784-128-64-10 for a few epochs and exports it both ways. Keras's own export ("stock")
answers logits and checks nothing. Ours checks shape, values and range, and answers probabilities, class and label. Both
answer the same 1, 32 and 256 examples through `serving_default`:

- `python`: the function that `tf.saved_model.load` returns, called in this process with tensors;
- `session`: a TensorFlow session in this process, as a server uses it, called with arrays. There is no Python code
  around it, so the additional work weighs most. It is asked for probabilities and classes: texts become Python objects
  here, which takes 6 to 10 us for one example and which a server does not do;
- `session, label`: the same, with all three outputs;
- `rest` and `grpc`: one `tensorflow_model_server` that serves both, asked by one client and by four clients at once.
  Measured only if the server is on PATH or in the variable KERASMLP_MODEL_SERVER.

Rounds alternate between the two exports, and every second round starts with the other one. For each way and batch size
the results are the median microseconds, and the median, minimum and maximum of the ratio within a round; with a server,
also the requests per second of four clients. The benchmark checks that both exports give the same classes, and that our
probabilities are within 1e-6 of the softmax of the stock logits. The time of an export includes its check in plain
TensorFlow. The benchmark fails if a ratio exceeds 1.1 for any way but `session, label`, or if an export takes more than
10 s.

Calls of the two exports alternate, in a new order each time, because the speed of a shared machine changes within
milliseconds.

    python tests/benchmarks/bench_serving.py --data mnist.npz --json serving.json

The JSON contains the machine and the versions. On a busy machine the ratios are less exact: look at their spread and at
the load.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import kerasmlp
from kerasmlp.client import connect
from kerasmlp.contract import CLASS_ID, LABEL, PROBABILITIES
from kerasmlp.export import export_saved_model
from kerasmlp.lesson.numpy_network import softmax
from tests.benchmarks.machine import describe_machine
from tests.helpers.model_server import REASON, ModelServer, find_model_server

PACKAGES = ("kerasmlp", "tensorflow", "keras", "numpy", "grpcio")
SIZES = (784, 128, 64, 10)
BATCHES = (1, 32, 256)
BAR = 1.1
LONGEST_EXPORT_S = 10.0
OURS, STOCK = "kerasmlp", "stock"
SECONDS = 0.3  # for each way and batch in a round
CLIENTS, CLIENT_SECONDS = 4, 2.0

Call = Callable[[np.ndarray], dict[str, np.ndarray]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures, prints a table, and writes the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default=os.environ.get("KERASMLP_MNIST"), help="MNIST as an npz in Keras's layout")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--exports", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    if not options.data:
        parser.error("no MNIST: pass `--data mnist.npz` or set KERASMLP_MNIST")
    data = kerasmlp.load_data(options.data)
    results: dict[str, Any] = {"machine": describe_machine(*PACKAGES), "sizes": SIZES, "rounds": options.rounds}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        results["export_s"] = _export_both(data, folder, options)
        features = np.asarray(data.test.features, np.float32)
        with _ways(folder) as ways:
            results["server"] = find_model_server() is not None
            results["ways"] = {way: _measure(peers, features, options.rounds) for way, peers in ways.items()}
        if results["server"]:
            results["four_clients"] = _throughput(folder, features)
    _print(results)
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    failures = _failures(results)
    for failure in failures:
        print(failure)
    return 1 if failures else 0


def _export_both(data: kerasmlp.Data, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Trains, exports with ours several times and with stock once, and returns how many seconds our exports took."""
    model = kerasmlp.build_mlp(SIZES, input_shape=data.feature_shape, preprocessing=data.preprocessing(), seed=0)
    run = kerasmlp.train(model, data, epochs=options.epochs, batch_size=128, seed=0, out=folder / "run")
    times = []
    for _ in range(options.exports):
        began = time.perf_counter()
        export_saved_model(run, folder / OURS, data=data, keep=1)
        times.append(time.perf_counter() - began)
    run.load_model().export(str(folder / STOCK / "1"), verbose=False)
    return {"median": statistics.median(times), "least": min(times), "most": max(times)}


def _version(folder: Path, peer: str) -> Path:
    (version,) = (folder / peer).iterdir()
    return version


@contextmanager
def _ways(folder: Path) -> Iterator[dict[str, dict[str, Call]]]:
    """Yields, for each way and export, a function from examples to outputs by name."""
    with ExitStack() as stack:
        ways = {
            "python": {peer: _in_python(_version(folder, peer)) for peer in (OURS, STOCK)},
            "session": {peer: _in_session(_version(folder, peer), without=LABEL) for peer in (OURS, STOCK)},
            "session, label": {peer: _in_session(_version(folder, peer)) for peer in (OURS, STOCK)},
        }
        if find_model_server() is None:
            print(f"{REASON}; measured in this process only.", file=sys.stderr)
        else:
            logs = stack.enter_context(tempfile.TemporaryDirectory())
            server = stack.enter_context(ModelServer([folder / OURS, folder / STOCK], Path(logs)))
            for way, url in (("rest", f"{server.rest}/v1/models"), ("grpc", server.grpc)):
                clients = {peer: stack.enter_context(connect(f"{url}/{peer}")) for peer in (OURS, STOCK)}
                ways[way] = {peer: client.predict for peer, client in clients.items()}
        yield ways


def _in_python(version: Path) -> Call:
    import tensorflow as tf

    loaded = tf.saved_model.load(str(version))
    signature = loaded.signatures["serving_default"]
    (name,) = signature.structured_input_signature[1]
    tensors: dict[int, Any] = {}  # by batch size; the conversion of the array is not part of the comparison

    def call(features: np.ndarray) -> dict[str, Any]:
        if len(features) not in tensors:
            tensors[len(features)] = tf.constant(features)
        outputs: dict[str, Any] = loaded.signatures["serving_default"](**{name: tensors[len(features)]})
        return outputs

    return call


def _in_session(version: Path, *, without: str = "") -> Call:
    import tensorflow as tf
    from tensorflow.core.protobuf.config_pb2 import CallableOptions

    session = tf.compat.v1.Session(graph=tf.Graph())
    with session.graph.as_default():
        graph = tf.compat.v1.saved_model.loader.load(session, ["serve"], str(version))
    signature = graph.signature_def["serving_default"]
    (source,) = signature.inputs.values()
    names = sorted(set(signature.outputs) - {without})
    options = CallableOptions(feed=[source.name], fetch=[signature.outputs[name].name for name in names])
    run = session._make_callable_from_options(options)
    return lambda features: dict(zip(names, run(features), strict=True))


def _measure(peers: dict[str, Call], features: np.ndarray, rounds: int) -> dict[str, Any]:
    """Returns, for each batch size, the median microseconds of both exports and the ratio of ours to stock."""
    measured = {}
    for size in BATCHES:
        batch = features[:size]
        _check({peer: call(batch) for peer, call in peers.items()})
        rounds_us = [_medians_us(peers, batch) for _ in range(rounds)]
        times = {peer: [us[peer] for us in rounds_us] for peer in peers}
        ratios = [ours / stock for ours, stock in zip(times[OURS], times[STOCK], strict=True)]
        measured[str(size)] = {
            **{f"{peer}_us": statistics.median(values) for peer, values in times.items()},
            "ratio": {"median": statistics.median(ratios), "least": min(ratios), "most": max(ratios)},
        }
    return measured


def _medians_us(peers: dict[str, Call], batch: np.ndarray) -> dict[str, float]:
    """Returns the median microseconds of a call of each export. Each measured call follows one of the same export."""
    times: dict[str, list[int]] = {peer: [] for peer in peers}
    order = list(peers)
    until = time.perf_counter() + SECONDS
    while time.perf_counter() < until:
        random.shuffle(order)
        for peer in order:
            peers[peer](batch)
            began = time.perf_counter_ns()
            peers[peer](batch)
            times[peer].append(time.perf_counter_ns() - began)
    return {peer: statistics.median(values) / 1000 for peer, values in times.items()}


def _check(outputs: dict[str, dict[str, Any]]) -> None:
    """Checks that both exports give the same answers."""
    ours = {name: np.asarray(output) for name, output in outputs[OURS].items()}
    (logits,) = (np.asarray(output) for output in outputs[STOCK].values())
    assert ours.keys() in ({PROBABILITIES, CLASS_ID}, {PROBABILITIES, CLASS_ID, LABEL}), ours.keys()
    assert np.abs(ours["probabilities"] - softmax(logits)).max() <= 1e-6
    assert (ours["class_id"] == logits.argmax(axis=1)).all()
    if LABEL in ours:
        assert [int(label) for label in ours[LABEL]] == ours[CLASS_ID].tolist()


def _throughput(folder: Path, features: np.ndarray) -> dict[str, Any]:
    """Returns the requests per second of four clients at once, for each way, batch size and export."""
    measured: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as logs, ModelServer([folder / OURS, folder / STOCK], Path(logs)) as server:
        for way, url in (("rest", f"{server.rest}/v1/models"), ("grpc", server.grpc)):
            for size in BATCHES:
                rates = {peer: _requests_per_s(f"{url}/{peer}", features[:size]) for peer in (OURS, STOCK)}
                measured.setdefault(way, {})[str(size)] = rates
    return measured


def _requests_per_s(url: str, batch: np.ndarray) -> float:
    until = time.perf_counter() + CLIENT_SECONDS
    counts = [0] * CLIENTS

    def ask(number: int) -> None:
        with connect(url) as client:
            while time.perf_counter() < until:
                client.predict(batch)
                counts[number] += 1

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / CLIENT_SECONDS


def _failures(results: dict[str, Any]) -> list[str]:
    failures = []
    for way, by_batch in results["ways"].items():
        for size, row in by_batch.items():
            ratio = row["ratio"]["median"]
            if way != "session, label" and ratio > BAR:
                failures.append(f"{way}, {size} examples: {ratio:.2f} times the stock export, more than {BAR}")
    if results["export_s"]["median"] > LONGEST_EXPORT_S:
        failures.append(f"an export takes {results['export_s']['median']:.1f} s, more than {LONGEST_EXPORT_S:g}")
    return failures


def _print(results: dict[str, Any]) -> None:
    seconds = results["export_s"]
    print(f"an export: {seconds['median']:.1f} s ({seconds['least']:.1f} to {seconds['most']:.1f})")
    print(f"{'way':<16}{'examples':>9}{'kerasmlp us':>13}{'stock us':>10}{'ratio':>8}{'spread':>14}")
    for way, by_batch in results["ways"].items():
        for size, row in by_batch.items():
            ratio = row["ratio"]
            spread = f"{ratio['least']:.2f}-{ratio['most']:.2f}"
            print(
                f"{way:<16}{size:>9}{row[f'{OURS}_us']:>13.1f}{row[f'{STOCK}_us']:>10.1f}{ratio['median']:>8.2f}"
                f"{spread:>14}"
            )
    for way, by_batch in results.get("four_clients", {}).items():
        for size, rates in by_batch.items():
            print(f"{way}, four clients, {size} examples: {rates[OURS]:,.0f} requests/s, stock {rates[STOCK]:,.0f}")


if __name__ == "__main__":
    sys.exit(main())
