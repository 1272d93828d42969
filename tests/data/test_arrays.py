"""Arrays in `.npz` and `.npy` files and in memory: their names, labels and ranges of pixels."""

from __future__ import annotations

import contextlib
import json
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kerasmlp import data_from_arrays, load_data
from kerasmlp.cli import main
from kerasmlp.data.array_names import role_of
from kerasmlp.data.describing import data_notes
from kerasmlp.data.prediction_files import read_inputs
from kerasmlp.data.readers.idx import read_array
from kerasmlp.errors import InvalidType, InvalidValue, KerasMLPError
from tests.helpers.image_files import IMAGES, idx

X = np.random.default_rng(0).integers(0, 256, (60, 6, 5), np.uint8)
Y = np.arange(60) % 3


@pytest.mark.parametrize(
    "names",
    [
        ("x", "y"),
        ("X", "Y"),
        ("X", "labels"),
        ("data", "target"),
        ("data", "targets"),
        ("images", "labels"),
        ("features", "label"),
        ("X_train", "Y_train"),
        ("train_images", "train_labels"),
        ("xtrain", "ytrain"),
        ("trainX", "trainY"),
    ],
)
@pytest.mark.parametrize("container", ["npz", "folder", "features file"])
def test_arrays_are_found_by_any_usual_name(tmp_path: Path, names: tuple[str, str], container: str) -> None:
    arrays = dict(zip(names, (X, Y), strict=True))
    folder = tmp_path / "birds"
    folder.mkdir()
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    np.savez(tmp_path / "birds.npz", **arrays)  # type: ignore[arg-type]
    paths = {"npz": tmp_path / "birds.npz", "folder": folder, "features file": folder / f"{names[0]}.npy"}
    data = load_data(paths[container])
    assert (data.name, data.feature_shape, len(data.test)) == ("birds", (6, 5), 12)
    assert data.fingerprint == data_from_arrays(X, Y).fingerprint
    assert data.request is not None
    assert load_data(**data.request).fingerprint == data.fingerprint


@pytest.mark.parametrize(
    ("pattern", "validation"),
    [("{part}_images {part}_labels", "val"), ("x_{part} y_{part}", "valid"), ("X{part} Y{part}", "Validation")],
)
def test_the_own_validation_of_arrays_is_used(tmp_path: Path, pattern: str, validation: str) -> None:
    arrays = {}
    for part, chosen in (("train", slice(0, 40)), (validation, slice(40, 49)), ("test", slice(49, 60))):
        for name, array in zip(pattern.format(part=part).split(), (X, Y[:, np.newaxis]), strict=True):
            arrays[name] = array[chosen]
    np.savez(tmp_path / "birds.npz", **arrays)  # type: ignore[arg-type]
    data = load_data(tmp_path / "birds.npz")
    for split, chosen in ((data.train, slice(0, 40)), (data.validation, slice(40, 49)), (data.test, slice(49, 60))):
        np.testing.assert_array_equal(split.features, X[chosen])
        np.testing.assert_array_equal(split.labels, Y[chosen])


@pytest.mark.parametrize("name", ["weights", "x1", "train", "test", "train_x_test", "y_true", "label_names"])
def test_other_names_say_nothing(name: str) -> None:
    assert role_of(name) is None


def test_files_with_a_prefix_are_found_and_others_are_left_alone(tmp_path: Path) -> None:
    for name, array in (("birds_x", X), ("birds_y", Y), ("fish_x", X[:9]), ("fish_y", Y[:9]), ("birds_about", X)):
        np.save(tmp_path / f"{name}.npy", array)
    data = load_data(tmp_path / "birds_x.npy")
    assert (data.name, len(data.train) + len(data.validation) + len(data.test)) == ("birds", 60)


def test_arrays_that_are_not_used_are_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "birds.npz", x=X, y=Y, weights=Y)
    assert "weights" in load_data(tmp_path / "birds.npz").reading_notes[0]


@pytest.mark.parametrize(
    ("files", "asked", "message"),
    [
        (["x"], "x.npy", r"x\.npy` lacks y\.npy"),
        (["x_train"], "x_train.npy", r"lacks y_train\.npy"),
        (["bare"], "bare.npy", r"bare\.npy` has no labels.*`y\.npy`"),
        (["x", "y", "images"], "", "several.*images, x"),
        (["bare"], "", r"lacks x_train\.npy, y_train\.npy.*bare\.npy"),
    ],
)
def test_npy_files_without_a_partner_are_refused(tmp_path: Path, files: list[str], asked: str, message: str) -> None:
    for name in files:
        np.save(tmp_path / f"{name}.npy", X)
    with pytest.raises(InvalidValue, match=message):
        load_data(tmp_path / asked)


@pytest.mark.parametrize(
    ("labels", "class_names"),
    [
        (Y[:, np.newaxis], ("0", "1", "2")),
        (Y.astype(np.float32), ("0", "1", "2")),
        (np.eye(3)[Y], ("0", "1", "2")),
        (np.eye(3, dtype=bool)[Y], ("0", "1", "2")),
        (np.eye(5, dtype=np.uint8)[Y], ("0", "1", "2")),
        (np.array([b"cat", "\u00e4".encode(), b"dog"])[Y], ("cat", "dog", "\u00e4")),
        (np.array(["cat", "eel", "dog"], object)[Y], ("cat", "dog", "eel")),
        (np.array([b"cat", b"eel", b"dog"], object)[Y], ("cat", "dog", "eel")),
        (np.array([1.0, 2, 3], object)[Y], ("1", "2", "3")),
        (np.array(["001", "1", "10"])[Y], ("001", "1", "10")),
        (np.array(["a", "b ", "b"])[Y], ("a", "b")),
        (Y > 0, ("false", "true")),
    ],
)
def test_labels_may_have_any_usual_form(labels: Any, class_names: tuple[str, ...]) -> None:
    data = data_from_arrays(X, labels)
    assert data.class_names == class_names
    reported = np.ndim(labels) == 2 and labels.shape[1] > 1
    assert any("one-hot" in note for note in data.reading_notes) == reported
    numbered = data_from_arrays(np.arange(60)[:, np.newaxis], labels).test
    assert len(set(zip(Y[numbered.features[:, 0]], numbered.labels.tolist(), strict=True))) == 3


@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        (["a", None, "b"] * 20, InvalidValue, "`y_train`.*index 1.*None"),
        (np.array(["a", 1, "b"] * 20, object), InvalidType, "`y_train`.*one kind"),
        (np.array([[1], [1, 2]] * 30, object), InvalidType, "`y_train`.*list"),
        (np.array(["a", float("nan")] * 30, object), InvalidValue, "`y_train`.*index 1.*nan"),
        (np.zeros((60, 2, 2)), InvalidValue, r"`y_train`.*\(60, 2, 2\)"),
        ([[1], [1, 2]] * 30, InvalidValue, "`y_train`"),
        (np.full(60, np.inf), InvalidValue, "`y_train`.*inf"),
    ],
)
def test_labels_that_cannot_be_understood_are_refused(labels: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        data_from_arrays(X, labels)


def test_names_of_classes_are_single_lines() -> None:
    with pytest.raises(InvalidValue, match=r"'a\\tb'"):
        data_from_arrays(X, Y, class_names=("a\tb", "c", "d"))


def _pixels(low: float, high: float, *, whole: bool = False, shape: tuple[int, ...] = (6, 5)) -> np.ndarray:
    values = np.linspace(low, high, 60 * int(np.prod(shape))).reshape(60, *shape)
    return np.rint(values) if whole else values


@pytest.mark.parametrize(
    ("features", "feature_range"),
    [
        (X, (0, 255)),
        (_pixels(0, 1), (0, 1)),
        (_pixels(0, 0.9), (0, 1)),
        (_pixels(0.2, 1), (0, 1)),
        (_pixels(0, 1, shape=(6, 5, 3)), (0, 1)),
        (_pixels(0, 1, whole=True), (0, 1)),
        (_pixels(0, 1) > 0.5, (0, 1)),
        (_pixels(-1, 1), (-1, 1)),
        (_pixels(-1, 0.7), (-1, 1)),
        (_pixels(-0.5, 0.5), (-0.5, 0.5)),
        (_pixels(0, 230, whole=True), (0, 255)),
        (_pixels(0, 255, whole=True).astype(np.int64), (0, 255)),
        (_pixels(0, 255, whole=True).astype(np.uint16), (0, 255)),
        (_pixels(0, 4095, whole=True).astype(np.uint16), (0, 4095)),
        (_pixels(0, 30000, whole=True).astype(np.uint16), (0, 65535)),
        (_pixels(0, 65535, whole=True).astype(np.int32), (0, 65535)),
        (_pixels(0, 16, whole=True), (0, 16)),
        (_pixels(-128, 127, whole=True).astype(np.int8), (-128, 127)),
        # Not clearly pixels.
        (_pixels(0, 0.5), None),
        (_pixels(-0.3, 0.8), None),
        (_pixels(-2.1, 2.6), None),
        (_pixels(0, 255), None),
        (_pixels(0, 90, whole=True), None),
        (_pixels(0, 1, shape=(30,)), None),
        (_pixels(0, 1, shape=(30, 2)), None),
        (X.reshape(60, -1), (0, 255)),
    ],
)
def test_the_range_of_pixels_is_found_in_dtype_and_values(features: np.ndarray, feature_range: Any) -> None:
    data = data_from_arrays(features, Y)
    assert data.feature_range == feature_range
    if feature_range is not None and features.dtype != np.uint8:
        assert f"{feature_range[0]:g} to {feature_range[1]:g}" in data.reading_notes[0]
    assert data_from_arrays(features, Y, feature_range=(-9, 70000)).feature_range == (-9, 70000)


def test_training_decides_the_range_and_other_values_in_the_test_are_reported() -> None:
    data = data_from_arrays(_pixels(0, 1), Y, _pixels(0, 255), Y)
    assert data.feature_range == (0, 1)
    assert any(note.startswith("`x_test` has values from 0 to 255") for note in data.reading_notes)


def test_an_unknown_range_of_images_is_reported() -> None:
    assert any("-2.1 to 2.6" in note for note in data_from_arrays(_pixels(-2.1, 2.6), Y).reading_notes)
    assert len(data_from_arrays(_pixels(-2.1, 2.6, shape=(30,)), Y).reading_notes) == 1  # only the share of the test


@pytest.mark.parametrize(
    ("shape", "is_noted"), [((3, 8, 8), True), ((1, 8, 8), True), ((8, 8, 3), False), ((8, 8), False)]
)
def test_images_with_their_channels_first_are_trained_as_they_are_with_a_note(
    shape: tuple[int, ...], is_noted: bool
) -> None:
    data = data_from_arrays(np.zeros((60, *shape), np.uint8), Y)
    assert data.feature_shape == shape
    assert any("`x.transpose(0, 2, 3, 1)`" in note for note in data_notes(data)) == is_noted


def test_damaged_files_are_refused_or_read_as_they_were(tmp_path: Path) -> None:
    np.savez(tmp_path / "plain.npz", x=IMAGES, y=np.arange(len(IMAGES)) % 3)
    np.savez_compressed(tmp_path / "packed.npz", x=IMAGES, y=np.arange(len(IMAGES)) % 3)
    np.save(tmp_path / "images.npy", IMAGES)
    (tmp_path / "images").write_bytes(idx(IMAGES))
    fingerprint = load_data(tmp_path / "plain.npz").fingerprint
    refused = 0
    for seed in range(200):
        generator = np.random.default_rng(seed)
        name = ("plain.npz", "packed.npz", "images.npy", "images")[seed % 4]
        content = bytearray((tmp_path / name).read_bytes())
        if generator.integers(2):
            content = content[: generator.integers(len(content))]
        else:
            for position in generator.integers(len(content), size=3):
                content[position] ^= 1 << generator.integers(8)
        damaged = tmp_path / "damaged" / name
        damaged.parent.mkdir(exist_ok=True)
        damaged.write_bytes(content)
        with contextlib.suppress(KerasMLPError):
            refused += 1
            if name.endswith(".npz"):  # has a checksum, so damaged arrays are noticed
                assert load_data(damaged).fingerprint == fingerprint, seed
            elif name.endswith(".npy"):
                read_inputs(damaged, IMAGES.shape[1:], None)
            else:
                read_array(damaged)
            refused -= 1
    assert refused > 100


@pytest.mark.parametrize("name", ["n16_digits_0_1", "n17_digits_minus1_1", "n18_digits_uint16", "n19_digits_uint8"])
def test_png_files_are_scaled_to_the_range_of_the_arrays(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], name: str
) -> None:
    if "KERASMLP_CASES" not in os.environ:
        pytest.skip("KERASMLP_CASES does not name the folder of problem files")
    cases, run = Path(os.environ["KERASMLP_CASES"]), str(tmp_path / "run")
    assert main(["train", str(cases / f"{name}.npz"), "--hidden", "16", "--epochs", "8", "--out", run]) == 0
    capfd.readouterr()
    files = sorted((cases / "n16_pngs").iterdir())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert main(["predict", run, *map(str, files), "--json"]) == 0
    answers = json.loads(capfd.readouterr().out)["predictions"]
    assert sum(answer["class"] == file.stem[-1] for answer, file in zip(answers, files, strict=True)) >= 90
