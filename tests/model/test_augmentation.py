"""Augmentation: what it does to images, that it is seeded and compiled, and that nothing exported has it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import keras
import numpy as np
import pytest
from scipy import ndimage

import kerasmlp
from kerasmlp import build_mlp, open_artefact
from kerasmlp.data.types import Data
from kerasmlp.engine import block_dataset, prepare
from kerasmlp.engine.block_function import step_with_targets
from kerasmlp.errors import InvalidValue
from kerasmlp.export import export_saved_model, export_tflite
from kerasmlp.model.augmentation import Augmentation, Strengths, _smoothing, parse_strengths
from kerasmlp.tasks.classification import Classification

NOTHING = Strengths(0, 0, 0, 0, 0)
IMAGES = np.zeros((40, 17, 17), np.uint8)
IMAGES[:, 4:13, 7:10] = 200  # an upright bar in the middle


def moved(strengths: Strengths, images: np.ndarray = IMAGES, **options: float) -> np.ndarray:
    """The images as a network would see them."""
    return np.asarray(Augmentation(strengths, **options)(images, training=True))  # type: ignore[arg-type]


def test_images_stay_unchanged_outside_training_and_without_strength() -> None:
    np.testing.assert_array_equal(np.asarray(Augmentation()(IMAGES)), IMAGES)
    np.testing.assert_allclose(moved(NOTHING), IMAGES, atol=1e-3)  # float32 positions


def test_each_image_changes_differently_and_the_same_seed_gives_the_same_images() -> None:
    first, again, other = moved(Strengths()), moved(Strengths()), moved(Strengths(), seed=1)
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    assert len(np.unique(first.reshape(len(first), -1), axis=0)) == len(first)
    layer = Augmentation()
    assert (np.asarray(layer(IMAGES, training=True)) != np.asarray(layer(IMAGES, training=True))).any()


def test_a_shift_moves_the_centre_of_mass_by_no_more_than_its_share() -> None:
    centres = np.array([ndimage.center_of_mass(image) for image in moved(Strengths(0.1, 0, 0, 0, 0))])
    offsets = centres - 8
    assert 1.2 < np.abs(offsets).max() <= 0.1 * 17 + 0.01
    assert np.abs(offsets.mean(axis=0)).max() < 0.5  # forty draws of both signs


def test_a_rotation_turns_as_scipy_does() -> None:
    image = np.random.default_rng(0).uniform(0, 255, (1, 17, 17)).astype(np.float32)
    image[0] = ndimage.gaussian_filter(image[0], 2)
    (turned,) = moved(Strengths(0, 30, 0, 0, 0), image)
    differences = [
        np.abs(ndimage.rotate(image[0], angle, reshape=False, order=1) - turned)[4:13, 4:13].max()
        for angle in np.arange(-30, 30.25, 0.25)
    ]
    assert min(differences) < 0.5  # within a quarter of a degree, of 255
    assert max(differences) > 5


def test_scale_and_shear_change_size_and_slant() -> None:
    areas = moved(Strengths(0, 0, 0.3, 0, 0)).sum(axis=(1, 2)) / IMAGES[0].sum()
    assert 0.5 < areas.min() < 0.8 < 1.2 < areas.max() < 1.7  # between 0.7 squared and 1.3 squared
    sheared = moved(Strengths(0, 0, 0, 0.5, 0))
    upper = np.array([ndimage.center_of_mass(image[:8])[1] for image in sheared])
    lower = np.array([ndimage.center_of_mass(image[9:])[1] for image in sheared])
    assert np.abs(upper - lower).max() > 1.5
    np.testing.assert_allclose(upper + lower, 16, atol=0.1)  # about the middle


def test_the_warp_is_smooth_and_has_the_requested_strength() -> None:
    rows, _ = Augmentation(Strengths(0, 0, 0, 0, 0.1))._sources(200, 17, 17)
    offsets = np.asarray(rows).reshape(-1, 17, 17) - np.arange(17)[:, np.newaxis]
    assert offsets.std() == pytest.approx(0.1 * 17, rel=0.1)
    assert np.abs(np.diff(offsets, axis=2)).mean() < 0.3 * offsets.std()
    np.testing.assert_allclose((_smoothing(17, 2.0) ** 2).sum(axis=1), 1, rtol=1e-5)


def test_pixels_from_outside_have_the_fill_value() -> None:
    bright = np.full((40, 8, 8, 3), 9, np.uint8)
    seen = moved(Strengths(0.4, 0, 0, 0, 0), bright, fill=1.0)
    assert seen.shape == bright.shape
    assert seen.min() == pytest.approx(1, abs=1e-5)
    assert seen.max() == pytest.approx(9, abs=1e-5)


def test_a_network_with_augmentation_trains_with_xla_and_exports_without_it(digits: Data, tmp_path: Path) -> None:
    def build() -> keras.Model:
        return build_mlp(
            [64, 32, 10],
            input_shape=(8, 8),
            preprocessing=digits.preprocessing(),
            augmentation=Augmentation(Strengths(elastic=0), name="augmentation"),
            seed=0,
        )

    weights = []
    for _ in range(2):
        model = build()
        Classification(()).compile(model, keras.optimizers.Adam(5e-3))
        prepare(model, batch_size=32, require_xla=True)
        blocks = block_dataset(digits.train.features, digits.train.labels, batch_size=32)
        model.fit(blocks, epochs=2, shuffle=False, verbose=0)
        weights.append(model.get_weights())
    for first, second in zip(*weights, strict=True):
        np.testing.assert_array_equal(first, second)
    run = kerasmlp.train(build(), digits, epochs=4, learning_rate=5e-3, out=tmp_path / "run")
    assert (run.path / "plots" / "augmentation.png").stat().st_size > 10_000
    assert run.metrics["test_accuracy"] > 0.8
    expected = open_artefact(run.path).probabilities(digits.test.features)
    for report in (
        export_saved_model(run, tmp_path / "served", data=digits),
        *export_tflite(run, tmp_path / "mobile", quantize=["float32"], data=digits),
    ):
        assert report.agreement == 1
        np.testing.assert_allclose(open_artefact(report.path).probabilities(digits.test.features), expected, atol=1e-5)


def test_halved_classes_lean_half_as_much() -> None:
    targets = np.arange(40) % 4
    strong, weak = Strengths(0, 30, 0.1, 0.4, 0.02), Strengths(0, 15, 0.1, 0.2, 0.02)
    with step_with_targets(targets):
        seen = moved(dataclasses.replace(strong, halved=(1, 3)))
    wanted = np.where((targets % 2 == 1)[:, np.newaxis, np.newaxis], moved(weak), moved(strong))
    np.testing.assert_allclose(seen, wanted, atol=1e-2)  # of 200, with angles that are rounded differently


def test_halved_classes_need_the_class_of_each_image() -> None:
    halved = Strengths(halved=(1,))
    np.testing.assert_array_equal(np.asarray(Augmentation(halved)(IMAGES)), IMAGES)
    with pytest.raises(InvalidValue, match=r"`halved`.*`kerasmlp\.train`"):
        moved(halved)
    for targets in (np.zeros((40, 2), np.int32), np.zeros(40, np.float32)):
        with step_with_targets(targets), pytest.raises(InvalidValue, match=rf"`halved`.*\(batch,\).*{targets.dtype}"):
            moved(halved)
    with pytest.raises(InvalidValue, match=r"`halved`.*\(-1,\)"):
        Strengths(halved=(-1,))


@pytest.mark.parametrize("batch_size", [32, 50])  # the last batch is a smaller one, which runs in a graph of its own
def test_the_engine_tells_the_layer_the_classes_of_each_step(digits: Data, tmp_path: Path, batch_size: int) -> None:
    def trained(name: str, strengths: Strengths, data: Data = digits) -> kerasmlp.Run:
        layer = Augmentation(strengths, name="augmentation")
        scaling = digits.preprocessing()
        model = build_mlp([64, 16, 10], input_shape=(8, 8), preprocessing=scaling, augmentation=layer, seed=0)
        return kerasmlp.train(model, data, epochs=1, batch_size=batch_size, require_xla=True, out=tmp_path / name)

    every, half = Strengths(0, 20, 0, 0.2, 0, halved=tuple(range(10))), Strengths(0, 10, 0, 0.1, 0)
    first, second = trained("every", every), trained("half", half)
    for received, expected in zip(first.load_model().get_weights(), second.load_model().get_weights(), strict=True):
        np.testing.assert_allclose(received, expected, atol=1e-4)  # angles that are rounded differently
    some = trained("some", Strengths(0, 20, 0, 0.2, 0, halved=(1, 7)))
    assert np.abs(some.load_model().get_weights()[0] - second.load_model().get_weights()[0]).max() > 1e-3
    assert (some.path / "plots" / "augmentation.png").is_file()
    layer = next(each for each in some.load_model().layers if isinstance(each, Augmentation))
    assert layer.strengths.halved == (1, 7)


def test_halved_classes_are_named() -> None:
    assert parse_strengths("shear=0.27,halved=1+7", ["7", "0", "1"]).halved == (2, 0)
    assert parse_strengths("halved=c++", ["c", "c++"]).halved == (1,)
    with pytest.raises(InvalidValue, match="`halved`.*`dgo`.*`dog`"):
        parse_strengths("halved=cat+dgo", ["cat", "dog"])
    with pytest.raises(InvalidValue, match="`halved=1` is for images of one class each"):
        parse_strengths("halved=1")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rotate=3", r"`rotate`.*`rotation`"),
        ("rotation=far", r"`rotation`.*`far`"),
        ("shift=1", r"`shift`.*less than 1.*1\.0"),
        ("rotation=181", r"`rotation`.*180.*181\.0"),
        ("smoothness=0", r"`smoothness`.*greater than 0.*0\.0"),
    ],
)
def test_strengths_out_of_range_are_rejected(text: str, message: str) -> None:
    with pytest.raises(InvalidValue, match=message):
        parse_strengths(text)


def test_build_mlp_rejects_augmentation_of_examples_that_are_not_images() -> None:
    assert parse_strengths("") == Strengths()
    with pytest.raises(InvalidValue, match=r"augmentation.*input_shape=\(64,\)"):
        build_mlp([64, 10], augmentation=Augmentation())


def test_a_model_with_augmentation_has_the_description_that_unfinished_runs_recorded() -> None:
    model = build_mlp([4, 3, 2], input_shape=(2, 2), augmentation=Augmentation(seed=0, name="augmentation"))
    described = json.loads(model.to_json())["config"]["layers"][1]
    assert "halved" not in described["config"]["strengths"]
    assert (described["module"], described["registered_name"]) == ("kerasmlp.augmentation", "kerasmlp>Augmentation")
