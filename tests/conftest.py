"""What tests share: the digits, one small trained run, and MNIST where it lies at hand."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before TensorFlow is first imported

import kerasmlp
from kerasmlp.data import Data
from kerasmlp.runs import Run


@pytest.fixture(autouse=True, scope="session")
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Stores of streamed sources lie in a folder of the tests' own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KERASMLP_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def digits() -> Data:
    """scikit-learn's digits, split."""
    return kerasmlp.load_data("digits")


@pytest.fixture(scope="session")
def digits_run(digits: Data, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A small network trained on the digits. Tests read it and never write to it."""
    model = kerasmlp.build_mlp(
        [64, 32, 10],
        input_shape=digits.feature_shape,
        preprocessing=digits.preprocessing(),
        batch_normalization=True,
        dropout=0.1,
        seed=0,
    )
    return kerasmlp.train(model, digits, epochs=6, learning_rate=5e-3, out=tmp_path_factory.mktemp("runs") / "digits")


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sources come in many pieces, and training examples in many buckets."""
    monkeypatch.setattr("kerasmlp.sources.table_streams._BLOCK_BYTES", 700)
    monkeypatch.setattr("kerasmlp.sources.table_streams._BATCH_ROWS", 30)
    monkeypatch.setattr("kerasmlp.sources.image_folder._PIECE_BYTES", 200)
    monkeypatch.setattr("kerasmlp.sources.tfds._BATCH", 7)
    monkeypatch.setattr("kerasmlp.store._BUCKET_BYTES", 400)


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
