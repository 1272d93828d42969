"""Fixtures for all tests: the digits, small trained runs, a server for them, and MNIST if it is available."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before TensorFlow is first imported

import kerasmlp
from kerasmlp.data.types import Data
from kerasmlp.run import Run

if TYPE_CHECKING:
    from tests.helpers.own_server import OwnServer

_frozen_at = [time.monotonic()]


@pytest.fixture(autouse=True, scope="session")
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Splits of streamed sources are cached in a folder of the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KERASMLP_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True, scope="session")
def _litert_alone() -> Iterator[None]:
    """Exports try their files in LiteRT alone, because starting other runtimes takes longer than the export."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("kerasmlp.export.tflite.runtimes.RUNTIMES", ())
        yield


@pytest.fixture(autouse=True)
def _few_objects_to_collect() -> Iterator[None]:
    """What tests leave behind, such as TensorFlow's graphs, is not searched for garbage again and again."""
    yield
    if time.monotonic() > _frozen_at[0] + 5:
        gc.collect()
        gc.freeze()
        _frozen_at[0] = time.monotonic()


@pytest.fixture(scope="session")
def digits() -> Data:
    """The digits of scikit-learn, split."""
    return kerasmlp.load_data("digits")


@pytest.fixture(scope="session")
def digits_run(digits: Data, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A small network trained on the digits. Tests must not write to it."""
    model = kerasmlp.build_mlp(
        [64, 32, 10],
        input_shape=digits.feature_shape,
        preprocessing=digits.preprocessing(),
        batch_normalization=True,
        dropout=0.1,
        seed=0,
    )
    return kerasmlp.train(model, digits, epochs=6, learning_rate=5e-3, out=tmp_path_factory.mktemp("runs") / "digits")


@pytest.fixture(scope="session")
def houses() -> Data:
    """A table of numbers and a category whose target `price` is a number."""
    from tests.helpers.tables import houses_frame

    return kerasmlp.data_from_frame(houses_frame(), "price", test_share=0.2, name="houses")


@pytest.fixture(scope="session")
def houses_run(houses: Data, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A small network trained on the houses. Tests must not write to it."""
    model = kerasmlp.build_mlp(
        [houses.num_features, 8, houses.num_outputs],
        input_shape=houses.feature_shape,
        preprocessing=houses.preprocessing(),
        postprocessing=houses.postprocessing(),
        seed=0,
    )
    return kerasmlp.train(model, houses, epochs=5, learning_rate=0.02, out=tmp_path_factory.mktemp("runs") / "houses")


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sources are read in many pieces, and training examples are shuffled in many buckets."""
    monkeypatch.setattr("kerasmlp.data.text_rows._BLOCK_BYTES", 700)
    monkeypatch.setattr("kerasmlp.data.text_rows._PIECE_ROWS", 30)
    monkeypatch.setattr("kerasmlp.data.typed_files._BATCH_ROWS", 30)
    monkeypatch.setattr("kerasmlp.data.readers.image_folder._PIECE_BYTES", 200)
    monkeypatch.setattr("kerasmlp.data.readers.tfds._BATCH", 7)
    monkeypatch.setattr("kerasmlp.data.split_cache._BUCKET_BYTES", 400)


@pytest.fixture(scope="session")
def flowers_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A small network trained on a table of numbers, a boolean, a category and missing values. Do not write to it."""
    from tests.helpers.tables import frame

    data = kerasmlp.data_from_frame(frame(), "kind", test_share=0.2)
    model = kerasmlp.build_mlp([7, 8, 2], input_shape=data.feature_shape, preprocessing=data.preprocessing(), seed=0)
    return kerasmlp.train(model, data, epochs=3, learning_rate=0.05, out=tmp_path_factory.mktemp("runs") / "flowers")


@pytest.fixture(scope="session")
def own_server(
    digits_run: Run, flowers_run: Run, houses_run: Run, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OwnServer]:
    """Kerasmlp's own server, which serves `digits`, and the tables `flowers` and `houses`."""
    from kerasmlp.export.saved_model.exporting import write_saved_model
    from tests.helpers.own_server import OwnServer

    folder = tmp_path_factory.mktemp("served")
    runs = {"digits": digits_run, "flowers": flowers_run, "houses": houses_run}
    for name, run in runs.items():
        (folder / name).mkdir()
        write_saved_model(run.load_model(), run.card, folder / name / "1")
    with OwnServer({name: folder / name for name in runs}) as server:
        yield server


@pytest.fixture(scope="session")
def mnist_path() -> Path:
    """The real MNIST as an npz in Keras's layout."""
    return _from_environment("KERASMLP_MNIST", "the path of MNIST as an .npz in Keras's layout")


@pytest.fixture(scope="session")
def tfds_dir() -> Path:
    """A folder in which TensorFlow Datasets finds MNIST prepared."""
    return _from_environment("KERASMLP_TFDS", "a TensorFlow Datasets folder with MNIST prepared")


def _from_environment(variable: str, meaning: str) -> Path:
    if variable not in os.environ:
        pytest.skip(f"the variable {variable} does not name {meaning}")
    return Path(os.environ[variable])
