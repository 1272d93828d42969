"""Streamed sources give the same data as sources that are read at once, are shuffled, and are read only once."""

from __future__ import annotations

import dataclasses
import io
import json
import multiprocessing
import os
import time
from collections import namedtuple
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import kerasmlp
from kerasmlp import build_mlp, data_from_dataset, load_data
from kerasmlp._system.memory import check_fits_memory
from kerasmlp.cli import main
from kerasmlp.data.columns import Column
from kerasmlp.data.describing import describe_source
from kerasmlp.data.disk_array import DiskArray
from kerasmlp.data.progress_bar import reading_progress
from kerasmlp.data.readers.choosing import read_source
from kerasmlp.data.source import SourceOptions
from kerasmlp.data.split_cache import cache_folder
from kerasmlp.data.splitting import Splitting
from kerasmlp.data.table_encoding import learn_encoder
from kerasmlp.engine.block_datasets import block_dataset
from kerasmlp.engine.example_order import run_order
from kerasmlp.errors import InvalidType, InvalidValue
from tests.helpers.same_data import assert_same_data
from tests.helpers.tables import cache_table, frame, write


@pytest.fixture
def rows(tmp_path: Path) -> tuple[DiskArray, np.ndarray]:
    """100 rows in a file, and in memory."""
    values = np.random.default_rng(0).normal(size=(100, 2, 3)).astype(np.float32)
    (tmp_path / "rows.bin").write_bytes(values.tobytes())
    return DiskArray(tmp_path / "rows.bin", values.shape, values.dtype), values


@pytest.mark.parametrize("has_preadv", [True, False])
@given(data=st.data())
def test_rows_of_a_file_equal_those_of_an_array(has_preadv: bool, data: st.DataObject) -> None:
    values = np.arange(60, dtype=np.int16).reshape(20, 3)
    path = cache_folder() / "rows.bin"
    path.write_bytes(values.tobytes())
    on_disk = DiskArray(path, values.shape, values.dtype)
    index = data.draw(
        st.one_of(
            st.slices(20),
            st.lists(st.integers(0, 19), max_size=30).map(lambda numbers: np.array(numbers, np.int64)),
            st.integers(0, 19),
        )
    )
    with pytest.MonkeyPatch.context() as patch:
        if not has_preadv:  # as on Windows
            patch.delattr("os.preadv")
        np.testing.assert_array_equal(on_disk[index], values[index])
    assert (on_disk.shape, on_disk.ndim, len(on_disk)) == ((20, 3), 2, 20)
    np.testing.assert_array_equal(np.concatenate(list(on_disk.chunks())), np.asarray(on_disk))


def test_a_truncated_file_is_named(rows: tuple[DiskArray, np.ndarray]) -> None:
    rows[0].path.write_bytes(b"short")
    with pytest.raises(OSError, match=r"rows\.bin` is shorter"):
        rows[0][:]


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.usefixtures("small_pieces")
def test_a_streamed_table_is_the_same_data_as_one_read_at_once(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"flowers{suffix}", frame())
    options: dict[str, Any] = {"target": "kind", "test_share": 0.2, "seed": 3}
    streamed, read = load_data(path, stream=True, **options), load_data(path, **options)
    assert_same_data(streamed, read)
    assert streamed.request is not None
    assert streamed.request["stream"] is True
    assert load_data(**streamed.request).fingerprint == read.fingerprint
    assert describe_source(read_source(str(path), SourceOptions(target="kind", stream=True))) == describe_source(
        read_source(str(path), SourceOptions(target="kind"))
    )


@pytest.mark.usefixtures("small_pieces")
def test_quotes_newlines_blank_lines_and_late_words_are_read_the_same_in_pieces(tmp_path: Path) -> None:
    table = pd.DataFrame(
        {
            "text": [['a "b"\nc', "d, e", "f"][i % 3] for i in range(300)],
            "late": ["1"] * 200 + ["x", "y"] * 50,
            "sometimes": [None if i < 150 else i * 0.5 for i in range(300)],
            "whole": range(300),
            "kind": [i // 2 % 2 for i in range(300)],
        }
    )
    path = tmp_path / "odd.csv"
    table.to_csv(path, index=False)
    path.write_text(path.read_text(encoding="utf-8").replace("\n1", "\n\n1", 3), encoding="utf-8")
    options: dict[str, Any] = {"target": "kind", "test_share": 0.2}
    assert_same_data(load_data(path, stream=True, **options), load_data(path, **options))


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize("words", [("true", "false"), ("True", "False"), ("yes", "no")])
def test_missing_booleans_and_unusual_names_are_read_the_same_in_pieces(tmp_path: Path, words: tuple[str, str]) -> None:
    lines = [f"{words[i % 2]}, {i % 9},{i * 3 % 50},{'ab'[i // 2 % 2]}" for i in range(100)]
    lines[5] = ",5,15,a"
    path = tmp_path / "odd.csv"
    path.write_text("is new, count,,y\n" + "\n".join(lines) + "\n", encoding="utf-8")
    options: dict[str, Any] = {"target": "y", "test_share": 0.2}
    streamed = load_data(path, stream=True, **options)
    assert_same_data(streamed, load_data(path, **options))
    assert streamed.encoder is not None
    assert streamed.encoder.feature_names == ("is new", "count", "Unnamed: 2")


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize("column", ["group", "time"])
def test_streamed_tables_are_split_by_group_and_time_like_others(tmp_path: Path, column: str) -> None:
    table = frame(300).assign(when=pd.date_range("2026-01-01", periods=300).astype(str), who=np.arange(300) // 7)
    path = write(tmp_path / "visits.csv", table.drop(columns="who" if column == "time" else "when"))
    options: dict[str, Any] = {"target": "kind", "test_share": 0.2, column: "when" if column == "time" else "who"}
    assert_same_data(load_data(path, stream=True, **options), load_data(path, **options))


@pytest.mark.usefixtures("small_pieces")
def test_rows_are_counted_over_all_pieces(tmp_path: Path) -> None:
    path = write(tmp_path / "late.csv", frame(300))
    with path.open("a", encoding="utf-8") as file:
        file.write("1,2\n")
    with pytest.raises(InvalidValue, match="row 301 .*2 .*5"):
        load_data(path, target="kind", test_share=0.2, stream=True)


def test_the_median_of_many_numbers_is_estimated_from_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kerasmlp.data.table_encoding._SAMPLE_SIZE", 200)
    numbers = pa.table({"x": np.arange(10_000.0)})
    pieces = [numbers.slice(start, 150) for start in range(0, 10_000, 150)]
    keys = np.random.default_rng(0).permutation(10_000).astype(np.uint64)
    (column,) = learn_encoder(pieces, [Column("x", "number")], keys, source="x").columns
    # The median of a sample of 200 has a standard deviation of 10,000 / (2 sqrt(200)) = 354.
    assert abs(column.fill - 5000) < 5 * 354


@pytest.mark.parametrize("stream", [False, True])
def test_workers_of_a_search_get_a_table_as_it_is_encoded(tmp_path: Path, stream: bool) -> None:
    from kerasmlp.tuning import SearchSettings
    from kerasmlp.tuning.trial_network import TrialNetwork
    from kerasmlp.tuning.worker_request import WorkerRequest, read_request, write_request

    data = load_data(write(tmp_path / "f.csv", frame()), target="kind", test_share=0.2, stream=stream)
    network = TrialNetwork((data.num_features, data.num_classes), {}, "adam")
    write_request(tmp_path, [data], WorkerRequest.of([data], network, SearchSettings().for_data(data)))
    (got,), _ = read_request(tmp_path)
    assert got.encoder == data.encoder
    np.testing.assert_array_equal(got.train.features, data.train.features)
    assert got.preprocessing().get_config() == data.preprocessing().get_config()


def _images(folder: Path, count: int = 20) -> Path:
    generator = np.random.default_rng(0)
    for part, share in (("train", count), ("test", count // 4)):
        for label in ("cat", "dog"):
            (folder / part / label).mkdir(parents=True)
            for number in range(share):
                pixels = generator.integers(0, 256, (6, 5, 3), np.uint8)
                image = Image.fromarray(pixels) if number % 2 else Image.fromarray(pixels[..., 0])
                image.save(folder / part / label / f"{number}.png")
    return folder


@pytest.mark.usefixtures("small_pieces")
def test_a_streamed_folder_of_images_is_the_same_data_as_one_read_at_once(tmp_path: Path) -> None:
    folder = _images(tmp_path / "pets")
    assert_same_data(load_data(folder, stream=True), load_data(folder))
    assert_same_data(load_data(folder, stream=True, test_share=0.2), load_data(folder, test_share=0.2))
    assert describe_source(read_source(str(folder), SourceOptions(stream=True))) == describe_source(
        read_source(str(folder))
    )


def left_in_cache(name: str) -> list[Path]:
    """What the cache contains of a source: finished entries, unfinished ones and scratch folders, but not the locks."""
    return [path for path in cache_folder().iterdir() if name in path.name and path.suffix != ".lock"]


def test_damaged_images_stop_a_stream_and_leave_nothing_in_the_cache(tmp_path: Path) -> None:
    folder = _images(tmp_path / "torn")
    whole = (folder / "train" / "cat" / "3.png").read_bytes()
    (folder / "train" / "cat" / "3.png").write_bytes(whole[:-30])
    with pytest.raises(InvalidValue, match=r"3\.png`"):
        load_data(folder, stream=True)
    assert not left_in_cache("torn")
    (folder / "train" / "cat" / "3.png").write_bytes(whole)
    Image.new("RGB", (9, 9)).save(folder / "test" / "dog" / "0.png")
    with pytest.raises(InvalidValue, match=r"dog/0\.png`.*9x9"):
        load_data(folder, stream=True)


def test_training_rows_are_shuffled_on_disk_and_again_in_each_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kerasmlp.data.split_cache._BUCKET_BYTES", 4000)
    table = pd.DataFrame({"number": np.arange(3000) + 0.5, "label": np.repeat(["a", "b"], 1500)})
    data = load_data(write(tmp_path / "sorted.csv", table), target="label", test_share=0.1, stream=True)
    numbers = np.asarray(data.train.features)[:, 0]
    # In each of 24 parts of the file, half of the rows are `a`, within five standard deviations.
    shares = [part.mean() for part in np.array_split(numbers < 1500, 24)]
    assert np.abs(np.array(shares) - 0.5).max() < 5 * np.sqrt(0.25 / 101)
    assert abs(np.corrcoef(numbers, np.arange(len(numbers)))[0, 1]) < 5 / np.sqrt(len(numbers))
    first, second = (np.concatenate(list(run_order(0, epoch, 3000, block=500, run=10))) for epoch in (0, 1))
    assert not np.array_equal(first, second)
    assert np.abs(np.diff(first) == 1).mean() < 0.05, "neighbours stay together"


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "flowers.csv", frame())
    monkeypatch.setenv("KERASMLP_CACHE", str(path))
    with pytest.raises(InvalidValue, match=r"flowers\.csv`.*KERASMLP_CACHE"):
        load_data(path, target="kind", test_share=0.2, stream=True)


@pytest.mark.parametrize("run", [1, 3, 16, 1000])
def test_every_epoch_of_a_file_is_a_permutation_of_its_rows(run: int) -> None:
    blocks = list(run_order(1, 2, 100, block=32, run=run))
    assert [len(block) for block in blocks] == [32, 32, 32, 4]
    assert sorted(np.concatenate(blocks)) == list(range(100))


def test_blocks_of_a_file_equal_blocks_of_an_array(
    rows: tuple[DiskArray, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kerasmlp.engine.block_datasets._RUN_BYTES", 24 * 4)
    on_disk, values = rows
    labels = np.arange(100)
    options: dict[str, Any] = {"batch_size": 8, "max_block_bytes": 24 * 40}
    blocks = block_dataset(on_disk, labels, seed=1, **options)
    read = [list(blocks), list(blocks.map(lambda x, y: (x, y)))]  # with Python's iteration, and with tf.data
    for epoch, elements in enumerate(read):
        chosen = np.concatenate([y.numpy() for _, y in elements])
        np.testing.assert_array_equal(chosen, np.concatenate(list(run_order(1, epoch, 100, 24, 4))))
        np.testing.assert_array_equal(np.concatenate([x.numpy() for x, _ in elements]), values[chosen])
    in_order = block_dataset(on_disk, labels, shuffle=False, **options)
    for elements in (list(in_order), list(in_order.map(lambda x, y: (x, y)))):
        np.testing.assert_array_equal(np.concatenate([x.numpy() for x, _ in elements]), values)
    assert in_order.element_spec[0].shape == (None, 2, 3)


def test_reading_ahead_raises_if_the_file_cannot_be_read(rows: tuple[DiskArray, np.ndarray]) -> None:
    blocks = block_dataset(rows[0], np.arange(100), batch_size=8)
    rows[0].path.unlink()
    with pytest.raises(FileNotFoundError):
        list(blocks)


def test_a_source_is_read_again_only_when_it_or_its_split_changes(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "once.csv", frame())
    options: dict[str, Any] = {"target": "kind", "test_share": 0.2, "stream": True, "verbose": 1}

    def was_read(**changes: Any) -> bool:
        load_data(path, **{**options, **changes})
        return "Reading once in pieces" in capfd.readouterr().err

    assert was_read()
    assert not was_read()
    assert was_read(seed=1)
    before = load_data(path, **options).fingerprint
    write(path, frame(199))
    assert was_read()
    assert load_data(path, **options).fingerprint != before
    assert len(list(cache_folder().glob("once-*/store.json"))) == 3


@pytest.mark.parametrize(("verbose", "is_shown"), [(0, False), (1, True), ("auto", False)])  # stderr is no terminal
def test_reading_progress_is_shown_on_stderr_if_asked(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], verbose: str | int, is_shown: bool
) -> None:
    path = write(tmp_path / f"shown-{verbose}.csv", frame())
    load_data(path, target="kind", test_share=0.2, stream=True, verbose=verbose)
    out, err = capfd.readouterr()
    assert (out, f"Reading shown-{verbose}" in err) == ("", is_shown)


def test_a_terminal_shows_a_bar_that_counts_the_examples(monkeypatch: pytest.MonkeyPatch) -> None:
    from rich.console import Console

    console = Console(record=True, force_terminal=True, file=io.StringIO())
    monkeypatch.setattr("kerasmlp.data.progress_bar.messages_console", lambda: console)
    with reading_progress("flowers", enabled=True, is_kept=True) as progress:
        progress(150, 200)
    assert "Reading flowers" in (shown := console.export_text())
    assert "150/200" in shown


def test_verbose_is_checked_even_if_nothing_is_streamed() -> None:
    with pytest.raises(InvalidValue, match=r"verbose.*7"):
        load_data("digits", verbose=7)


@pytest.mark.usefixtures("small_pieces")
def test_every_source_knows_the_fingerprint_of_its_splits(tmp_path: Path) -> None:
    path = str(write(tmp_path / "known.csv", frame()))
    folder = str(_images(tmp_path / "known"))
    for source, options in ((path, SourceOptions(target="kind")), (folder, SourceOptions())):
        read = read_source(source, options)
        streamed = read_source(source, dataclasses.replace(options, stream=True))
        before = streamed.fingerprint()  # nothing is in the cache yet
        split = streamed.split(Splitting(test_share=0.2))
        assert before == streamed.fingerprint() == split.fingerprint == read.fingerprint()


def test_a_cached_source_is_not_read_again_for_its_fingerprint(tmp_path: Path) -> None:
    path = write(tmp_path / "told.csv", frame())
    source = read_source(str(path), SourceOptions(target="kind", stream=True))
    fingerprint = source.split(Splitting(test_share=0.2)).fingerprint
    path.unlink()
    assert source.fingerprint() == fingerprint


def test_two_processes_share_an_entry_and_remove_what_a_killed_one_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERASMLP_CACHE", str(tmp_path / "cache"))
    path = write(tmp_path / "both.csv", frame())
    fresh = load_data(path, target="kind", test_share=0.2, stream=True)
    (entry,) = (tmp_path / "cache").glob("both-*/")
    # What a killed process leaves: a folder that it was writing, and a lock file that nobody holds.
    left = entry.rename(tmp_path / "cache" / f".writing-{entry.name}-abc")
    os.utime(left, (later := time.time() + 3600, later))  # new folders may belong to a process that is just starting
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=cache_table, args=(path, str(tmp_path / "cache"))) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert left_in_cache("both") == [entry]
    assert load_data(path, target="kind", test_share=0.2, stream=True).fingerprint == fresh.fingerprint


def test_a_full_disk_is_reported_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "full.csv", frame())
    Usage = namedtuple("Usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda folder: Usage(10, 10, 0))
    with pytest.raises(InvalidValue, match=r"GiB of disk.*KERASMLP_CACHE"):
        load_data(path, target="kind", test_share=0.2, stream=True)
    assert not left_in_cache("full")


def test_stream_is_refused_for_sources_that_are_always_in_memory() -> None:
    with pytest.raises(InvalidValue, match=r"`stream`.*`digits`.*tables.*folders of images.*TensorFlow Datasets"):
        load_data("digits", stream=True)


def test_data_too_large_for_memory_name_the_stream_option(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "large.csv", frame())
    folder = _images(tmp_path / "many")
    np.savez(tmp_path / "large.npz", x_train=np.zeros((99, 99)), y_train=[0], x_test=[[0]], y_test=[0])
    monkeypatch.setattr("kerasmlp._system.memory.available_bytes", lambda: 10)
    for source in (path, folder):
        with pytest.raises(InvalidValue, match=r"10 bytes is free\..*`stream=True`"):
            load_data(source, target="kind" if source is path else None, test_share=0.2)
    with pytest.raises(InvalidValue, match=r"large\.npz.*of memory.*`stream=True`"):
        load_data(tmp_path / "large.npz")
    check_fits_memory("small", 5, can_stream=False)


def _pairs(count: int = 60) -> tf.data.Dataset:
    return tf.data.Dataset.range(count).map(lambda i: (tf.cast([i, 2 * i, 7], tf.float32), i % 3))


@pytest.mark.parametrize("batched", [False, True])
@pytest.mark.usefixtures("small_pieces")
def test_a_dataset_becomes_the_same_data_in_memory_and_in_a_file(batched: bool) -> None:
    dataset, test = (part.batch(7) if batched else part for part in (_pairs(), _pairs(12)))
    assert_same_data(data_from_dataset(dataset, test, stream=True), data_from_dataset(dataset, test))
    shuffled = dataset.shuffle(60)  # in another order at each read
    assert len(data_from_dataset(shuffled, test_share=0.2, stream=True).train) == 42
    names = data_from_dataset(_pairs().map(lambda x, y: (x, tf.gather(["a", "b", "c"], y))), test_share=0.2)
    assert names.class_names == ("a", "b", "c")


@pytest.mark.parametrize("batch", [None, 7])
@pytest.mark.parametrize("labels", ["one-hot", "column", "bytes"])
def test_a_dataset_may_have_labels_of_any_form(batch: int | None, labels: str) -> None:
    def label(y: tf.Tensor) -> tf.Tensor:
        if labels == "one-hot":
            return tf.one_hot(y, 3)
        return y[tf.newaxis] if labels == "column" else tf.gather(["ä", "b", "c"], y)

    dataset = _pairs().map(lambda x, y: (tf.tile(x[tf.newaxis], [5, 1]) / 120, label(y)))
    dataset = dataset.batch(batch) if batch else dataset
    read, streamed = (data_from_dataset(dataset, stream=stream) for stream in (False, True))
    assert_same_data(streamed, read)
    assert streamed.reading_notes == read.reading_notes
    assert read.class_names == (("b", "c", "ä") if labels == "bytes" else ("0", "1", "2"))
    assert any("`y_train`" in note for note in read.reading_notes) == (labels == "one-hot")


def test_the_range_of_streamed_pixels_is_found() -> None:
    images = np.linspace(0, 1, 60 * 25).reshape(60, 5, 5)
    dataset = tf.data.Dataset.from_tensor_slices((images, np.arange(60) % 3))
    read, streamed = (data_from_dataset(dataset, stream=stream) for stream in (False, True))
    assert_same_data(streamed, read)
    assert streamed.feature_range == (0, 1)
    assert streamed.reading_notes == read.reading_notes


def test_datasets_of_other_elements_are_refused() -> None:
    for dataset, error, message in (
        ([1, 2], InvalidType, "`dataset`.*list"),
        (tf.data.Dataset.range(3), InvalidType, r"\(features, labels\).*TensorSpec"),
        (_pairs().repeat(), InvalidValue, "`dataset`.*`repeat`"),
        (_pairs().map(lambda x, y: (x, tf.fill([3], 0.5))).batch(2), InvalidValue, "`target_1` is 0.5 in all"),
        (_pairs().map(lambda x, y: (tf.zeros([3, 5]), tf.one_hot(y, 3))), InvalidValue, "`dataset`.*3 .*`.batch"),
        (_pairs(0), InvalidValue, "`dataset`.*no examples"),
    ):
        for stream in (False, True):
            with pytest.raises(error, match=message):
                data_from_dataset(dataset, test_share=0.2, stream=stream)
    with pytest.raises(InvalidValue, match="`class_names`.*3.*got 1"):
        data_from_dataset(_pairs(), test_share=0.2, stream=True, class_names=("a",))


def test_every_command_takes_a_streamed_table(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = str(write(tmp_path / "road.csv", frame(400)))
    streamed = [path, "--target", "kind", "--stream", "--json"]
    common = [*streamed, "--test-share", "0.2", "--hidden", "8", "--members", "2", "--epochs", "3"]
    common += ["--learning-rate", "0.02"]
    runs = [str(tmp_path / name) for name in ("one", "two", "search")]
    trained = []
    for run in runs[:2]:
        assert main(["train", *common, "--out", run]) == 0
        trained.append(json.loads(capfd.readouterr().out))
    assert trained[0]["val_loss"] == trained[1]["val_loss"], "the same seed gave other weights"
    assert trained[0]["test_accuracy"] > 0.85
    search = ["--trials", "2", "--workers", "2", "--final-epochs", "2", "--batch-size", "16,32"]
    assert main(["tune", *common, *search, "--out", runs[2]]) == 0
    assert json.loads(capfd.readouterr().out)["test_accuracy"] > 0.85
    folders = ["--saved-model", str(tmp_path / "served"), "--tflite", str(tmp_path / "mobile")]
    assert main(["export", runs[0], *folders, "--quantize", "float32,int8-dynamic", "--max-drop", "0.1", "--json"]) == 0
    artefacts = json.loads(capfd.readouterr().out)["artefacts"]
    assert [artefact["accuracy"] for artefact in artefacts[:2]] == [trained[0]["test_accuracy"]] * 2
    assert main(["evaluate", runs[0], *streamed, "--test-share", "0.2"]) == 0
    assert json.loads(capfd.readouterr().out)["accuracy"] == trained[0]["test_accuracy"]
    assert main(["evaluate", runs[0], path, "--json"]) == 0
    evaluated = json.loads(capfd.readouterr().out)
    assert (evaluated["accuracy"], evaluated["same_data"]) == (trained[0]["test_accuracy"], True)
    assert main(["info", *streamed]) == 0
    assert json.loads(capfd.readouterr().out)["examples"] == 400


def test_a_network_learns_streamed_images(tmp_path: Path) -> None:
    data = load_data(_images(tmp_path / "learnt", count=40), stream=True)
    model = build_mlp([90, 16, 2], input_shape=data.feature_shape, preprocessing=data.preprocessing(), seed=0)
    options: dict[str, Any] = {"learning_rate": 0.01, "class_weight": "balanced", "out": tmp_path / "run"}
    run = kerasmlp.train(model, data, epochs=20, **options)
    # The pixels are random, so the network can only memorise the 72 training images.
    assert run.history[-1]["loss"] < 0.5 * run.history[0]["loss"]
