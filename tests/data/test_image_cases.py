"""Folders of images as people brought them, from the folder that KERASMLP_CASES names."""

from __future__ import annotations

import os
import re
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from kerasmlp import build_mlp, load_data, open_artefact, train
from kerasmlp.data.prediction_files import read_inputs
from kerasmlp.data.readers.class_folders import list_images
from kerasmlp.data.readers.image_folder import read_image_folder
from kerasmlp.errors import InvalidValue, KerasMLPWarning
from kerasmlp.export.saved_model.image_decoding import decode_images

pytestmark = pytest.mark.skipif(
    "KERASMLP_CASES" not in os.environ, reason="KERASMLP_CASES does not name a folder of problem files"
)

# Warning while reading, and the shape and the sizes of the splits. 0.2 of the images are the test, 0.1 of the others
# validation, unless the folder says what is what.
CASES: dict[str, tuple[str | None, tuple[int, ...], tuple[int, int, int]]] = {
    "i01_rgba_black_on_nothing": (None, (16, 16, 3), (58, 6, 16)),
    "i03_16bit": (None, (16, 16), (58, 6, 16)),
    "i06_exif": (None, (16, 16), (58, 6, 16)),
    "i08_jupyter": ("skipped 40 files: 40 hidden", (16, 16), (58, 6, 16)),
    "i09_macos": ("skipped 18 files: 18 hidden", (16, 16), (58, 6, 16)),
    "i10_train_val_test": (None, (16, 16), (52, 14, 14)),
    "i11_tif_mixed": (None, (16, 16), (58, 6, 16)),
    "i13_sizes": (None, (16, 16), (58, 6, 16)),
    "i14_mixed_modes": (None, (16, 16, 3), (58, 6, 16)),
    # White on nothing, shown on white: consistent, but nothing is left to learn.
    "i16_white_cutouts": ("80 of 80 images", (16, 16, 3), (58, 6, 16)),
}
LEARNT = ("i01_rgba_black_on_nothing", "i03_16bit", "i06_exif")


@pytest.mark.parametrize("name", CASES)
def test_training_predictions_and_servers_read_the_same_pixels(name: str) -> None:
    import tensorflow as tf

    folder = Path(os.environ["KERASMLP_CASES"]) / name
    warning, shape, sizes = CASES[name]
    image_size = None
    if name == "i13_sizes":
        with pytest.raises(InvalidValue, match="28 of 16x16, 26 of 16x17, 26 of 16x18.*`image_size`"):
            load_data(folder)
        image_size = (16, 16)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", KerasMLPWarning)  # the caution about blank images, which is checked below
        data = load_data(folder, image_size=image_size)
        streamed = load_data(folder, image_size=image_size, stream=True)
        features = read_image_folder(folder, image_size=image_size).whole().test.features
        files = list_images(folder).files
    said = " ".join([*data.reading_notes, *data.cautions])
    assert re.search(warning, said) if warning else "skipped" not in said
    assert (data.feature_shape, (len(data.train), len(data.validation), len(data.test))) == (shape, sizes)
    assert streamed.fingerprint == data.fingerprint
    np.testing.assert_array_equal(streamed.test.features, data.test.features)
    card: Any = SimpleNamespace(feature_shape=shape, feature_range=(0.0, 255.0))
    decode = tf.function(lambda content: decode_images(content[tf.newaxis], card)[0], autograph=False)
    for file, pixels in zip(files, np.asarray(features), strict=True):
        np.testing.assert_array_equal(read_inputs(file, shape, (0, 255))[0], pixels)
        if file.suffix in (".png", ".jpg"):
            np.testing.assert_array_equal(decode(tf.constant(file.read_bytes())), pixels)


@pytest.mark.parametrize("name", LEARNT)
def test_a_network_recognises_the_files_that_it_learnt(name: str, tmp_path: Path) -> None:
    folder = Path(os.environ["KERASMLP_CASES"]) / name
    data, files = load_data(folder), list_images(folder)
    model = build_mlp(
        [data.num_features, 16, 2], input_shape=data.feature_shape, preprocessing=data.preprocessing(), seed=0
    )
    run = train(model, data, epochs=30, out=tmp_path / "run")
    assert run.metrics["test_accuracy"] >= 0.9, "upright and lying bars are easy to tell apart"
    inputs = np.concatenate([read_inputs(file, data.feature_shape, data.feature_range) for file in files.files])
    guesses = open_artefact(run.path).probabilities(inputs).argmax(axis=1)
    is_right = np.array(data.class_names)[guesses] == files.labels
    assert is_right.mean() >= 0.9, "predictions read the files as training did"
