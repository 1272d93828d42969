"""A table is the same however it is written: 2,000 files with `python -m tests.data.test_table_consistency 2000`.

Random tables are written in random dialects, containers and row orders, and read at once, in pieces and from frames.
All ways must give the same data and the same predictions, for each row alone and among others, from the Keras model,
the SavedModel with features and with raw values, and TFLite.
"""

from __future__ import annotations

import os
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

import kerasmlp
from kerasmlp.card import Card
from kerasmlp.cli.server_requests import columns_for_server, server_inputs
from kerasmlp.contract import COLUMNS, RECIPES, SERVING_DEFAULT
from kerasmlp.data.prediction_files import read_inputs
from kerasmlp.data.raw_tables import open_table
from kerasmlp.data.types import Data
from kerasmlp.export.saved_model.exporting import write_saved_model
from kerasmlp.export.tflite.converting import convert
from kerasmlp.export.tflite.folding import embedding, fold, front
from tests.helpers.random_tables import ORDERS, TARGET, Dialect, RandomTable

VARIANTS = 20  # of each table
TABLES = int(os.environ.get("KERASMLP_CONSISTENCY_TABLES", "40"))
SAME = 1e-5  # kernels, and so the order of float32 additions, differ between TensorFlow, Keras and TFLite
SMALL_PIECES = {
    "kerasmlp.data.text_rows._BLOCK_BYTES": 1500,
    "kerasmlp.data.text_rows._PIECE_ROWS": 7,
    "kerasmlp.data.typed_files._BATCH_ROWS": 11,
}


class Reference:
    """A random table as a plain file gives it, and an untrained network for it in all its forms."""

    def __init__(self, seed: int, folder: Path) -> None:
        """Reads the table and writes the artefacts into the folder."""
        import tensorflow as tf
        from ai_edge_litert.interpreter import Interpreter

        self.table = RandomTable(seed)
        rows = range(self.table.size)
        self.order = random.Random(seed).choice(list(ORDERS))
        self.table.write_text(folder / "first.csv", Dialect(order=self.order), rows)
        self.data = kerasmlp.load_data(folder / "first.csv", target=TARGET)
        assert self.data.encoder is not None
        self.features = self.data.encoder.encode(self.table.frame(rows), source="frame")
        self.task = self.data.task
        sizes = [self.data.num_features, 8, self.data.num_outputs]
        recipe = RECIPES[seed % 2]
        layers = {"preprocessing": self.data.preprocessing(recipe), "postprocessing": self.data.postprocessing()}
        model = kerasmlp.build_mlp(sizes, seed=seed, **layers)
        card = Card("t", "", tuple(sizes), (sizes[0],), None, self.data.class_names, None, {}, _columns(self.data))
        card = replace(card, task=None if self.data.class_names else self.task)
        write_saved_model(model, card, folder / "saved")
        self.saved = tf.saved_model.load(str(folder / "saved"))
        table = embedding(model)
        options: dict[str, Any] = {"table": table, "front": front(model) if table is None else None}
        content = convert(fold(model, keep_front=True), "features", batch_size=None, task=self.task, **options)
        self.tflite = Interpreter(model_content=content)
        self.answers = np.asarray(self.task.answer(model(self.features), tf))
        specs = self.saved.signatures[COLUMNS].structured_input_signature[1]
        inputs = {name: SimpleNamespace(dtype=spec.dtype.name) for name, spec in specs.items()}
        signature = SimpleNamespace(inputs={name: inputs[name] for name in _input_names(self.data)})
        client = SimpleNamespace(signatures=(COLUMNS,), signature=lambda _: signature)
        self.server = cast(Any, SimpleNamespace(client=client))
        self.check_features(self.features, rows)

    def check_features(self, features: np.ndarray, rows: Sequence[int]) -> None:
        """Checks what the SavedModel and TFLite predict for these features of rows."""
        np.testing.assert_array_equal(features, self.features[rows])
        answers = self.saved.signatures[SERVING_DEFAULT](features=features)[self.task.main]
        np.testing.assert_allclose(answers, self.answers[rows], atol=SAME)
        details = self.tflite.get_input_details()[0]
        self.tflite.resize_tensor_input(details["index"], features.shape)
        self.tflite.allocate_tensors()
        self.tflite.set_tensor(details["index"], features)
        self.tflite.invoke()
        output = self.tflite.get_tensor(self.tflite.get_output_details()[0]["index"])
        np.testing.assert_allclose(output, self.answers[rows], atol=SAME)

    def check_server(self, path: Path, dialect: Dialect | None, rows: Sequence[int]) -> None:
        """Checks what the signature `columns` answers to a file as kerasmlp's client sends it."""
        file = open_table(path, None if dialect is None else dialect.options)
        encoder = columns_for_server(self.server, file.names, source=str(path))
        pieces = list(encoder.canonical_pieces(file, source=str(path), any_unit=True))
        inputs = server_inputs(self.server, pieces)
        tensors = {
            name: values.astype(np.float32)
            if values.dtype.kind == "f"
            else np.array([v.encode() for v in values], object)
            for name, values in inputs.items()
        }
        answers = self.saved.signatures[COLUMNS](**{name: _constant(values) for name, values in tensors.items()})
        np.testing.assert_allclose(answers[self.task.main], self.answers[rows], atol=SAME)

    def check_variant(self, seed: int, folder: Path) -> None:
        """Writes the table in a random way, and checks that it is read as the same."""
        generator = random.Random(seed)
        dialect = Dialect.random(generator)
        if dialect.encoding == "cp1252" and not self.table.encodings:
            dialect = Dialect(dialect.separator, dialect.decimal, order=dialect.order)
        container = generator.choice(["text"] * 5 + ["parquet", "feather", "frame"])
        rows = generator.sample(range(self.table.size), self.table.size)
        way = f"{container}, {dialect}"
        try:
            if container == "frame":
                self.check_same(kerasmlp.data_from_frame(self.table.frame(rows), TARGET))
                return
            path = self._write(folder / "table", container, dialect, rows)
            with pytest.MonkeyPatch.context() as patch:
                for name, size in SMALL_PIECES.items() if generator.random() < 0.7 else ():
                    patch.setattr(name, size)
                encoding = dialect.options.encoding if container == "text" else None
                data = kerasmlp.load_data(path, target=TARGET, stream=generator.random() < 0.3, encoding=encoding)
                self.check_same(data)
                self.check_predictions(path, data, dialect if container == "text" else None, rows)
            row = generator.randrange(self.table.size)
            path = self._write(folder / "row", container, dialect, [row])
            self.check_predictions(path, data, dialect if container == "text" else None, [row])
        except Exception as error:
            raise AssertionError(f"variant {seed} ({way}): {type(error).__name__}: {error}") from error

    def check_predictions(self, path: Path, data: Data, dialect: Dialect | None, rows: Sequence[int]) -> None:
        """Checks the predictions for a file."""
        options = None if dialect is None else dialect.options
        features = read_inputs(path, self.data.feature_shape, None, encoder=data.encoder, options=options)
        self.check_features(features, rows)
        # The SavedModel reads dates as in the training file, or with the year first.
        if dialect is None or dialect.order in ("ymd", self.order):
            self.check_server(path, dialect, rows)

    def check_same(self, data: Data) -> None:
        """Checks that data are those of the plain file."""
        expected = self.data
        assert data.encoder is not None
        assert expected.encoder is not None
        assert data.encoder.columns == expected.encoder.columns
        assert data.class_names == expected.class_names
        assert data.fingerprint == expected.fingerprint
        for part in ("train", "validation", "test"):
            one, other = (_sorted(getattr(each, part)) for each in (data, expected))
            np.testing.assert_array_equal(one, other, err_msg=part)

    def _write(self, path: Path, container: str, dialect: Dialect, rows: Sequence[int]) -> Path:
        import pyarrow.feather
        import pyarrow.parquet

        path = path.with_name(path.name + (dialect.suffix if container == "text" else f".{container}"))
        if container == "text":
            self.table.write_text(path, dialect, rows)
        elif container == "parquet":
            pyarrow.parquet.write_table(self.table.typed(rows), path)
        else:
            pyarrow.feather.write_feather(self.table.typed(rows), str(path))
        return path


def _columns(data: Data) -> tuple[dict[str, Any], ...]:
    assert data.encoder is not None
    return tuple(data.encoder.to_config())


def _input_names(data: Data) -> list[str]:
    from kerasmlp.contract import column_input_names

    assert data.encoder is not None
    return list(column_input_names(column.name for column in data.encoder.features).values())


def _constant(values: np.ndarray) -> Any:
    import tensorflow as tf

    return tf.constant(values)


def _sorted(split: Any) -> np.ndarray:
    rows = np.column_stack([np.asarray(split.features), split.labels])
    return rows[np.lexsort(rows.T)]


def check(seed: int, variants: int, folder: Path) -> None:
    """Checks so many ways to write the table of a seed."""
    try:
        reference = Reference(seed, folder)
    except Exception as error:
        raise AssertionError(f"table {seed}: {type(error).__name__}: {error}") from error
    for variant in range(variants):
        try:
            reference.check_variant(1000 * seed + variant, folder)
        except AssertionError as error:
            raise AssertionError(f"table {seed}, {error}") from error


@pytest.mark.parametrize("seed", range(-(-TABLES // VARIANTS)))
def test_a_table_gives_the_same_data_and_predictions_however_it_is_written(seed: int, tmp_path: Path) -> None:
    check(seed, VARIANTS, tmp_path)


def main() -> None:
    """Checks as many tables as the first argument says, and prints each mismatch."""
    wanted, start, failures = int(sys.argv[1]), time.monotonic(), 0
    first = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    with tempfile.TemporaryDirectory() as cache:
        os.environ["KERASMLP_CACHE"] = cache
        for seed in range(first, first + -(-wanted // VARIANTS)):
            with tempfile.TemporaryDirectory() as folder:
                try:
                    reference = Reference(seed, Path(folder))
                except Exception as error:
                    failures += 1
                    print(f"table {seed}: {type(error).__name__}: {str(error)[:600]}", flush=True)
                    continue
                for variant in range(VARIANTS):
                    try:
                        reference.check_variant(1000 * seed + variant, Path(folder))
                    except AssertionError as error:
                        failures += 1
                        print(f"table {seed}, {str(error)[:600]}", flush=True)
    print(f"{wanted} tables, {failures} mismatches, {time.monotonic() - start:.0f} s")


if __name__ == "__main__":
    main()
