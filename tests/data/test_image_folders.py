"""Folders of images: which files are read, how they are split, and that all readers see the same pixels."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from kerasmlp import load_data
from kerasmlp.data.describing import describe_source
from kerasmlp.data.prediction_files import read_inputs
from kerasmlp.data.readers.choosing import read_source
from kerasmlp.data.readers.image_folder import read_image_folder, stream_image_folder
from kerasmlp.data.source import SourceOptions
from kerasmlp.errors import InvalidValue
from tests.helpers.image_bombs import BOMBS
from tests.helpers.image_files import write_images
from tests.helpers.image_kinds import HEIGHT, WIDTH, make_image_kinds
from tests.helpers.same_data import assert_same_data

KINDS = make_image_kinds()
GREY_KINDS = [name for name, kind in KINDS.items() if kind.pixels.ndim == 2]
SIZE = (HEIGHT + 1, WIDTH - 3)  # narrower and higher


@pytest.fixture
def _small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Folders are read in many pieces."""
    monkeypatch.setattr("kerasmlp.data.readers.image_folder._PIECE_BYTES", 200)


@pytest.mark.parametrize("brightest", [1, 16, 255])
def test_images_have_the_same_range_however_dark_they_are_and_however_they_are_read(
    tmp_path: Path, brightest: int
) -> None:
    folder, generator = tmp_path / "night", np.random.default_rng(0)
    for number in range(20):
        path = folder / "ab"[number % 2] / f"{number:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = generator.integers(0, brightest, (4, 5), np.uint8, endpoint=True)
        pixels[0, :2] = 0, brightest
        Image.fromarray(pixels).save(path)
    read, streamed = load_data(folder), load_data(folder, stream=True)
    assert read.feature_range == streamed.feature_range == (0, 255)
    assert_same_data(streamed, read)
    predicted = read_inputs(folder / "a" / "00.png", read.feature_shape, read.feature_range)
    np.testing.assert_array_equal(predicted[0], np.asarray(Image.open(folder / "a" / "00.png")))


@pytest.mark.parametrize(("mode", "shape"), [("L", (4, 5)), ("RGB", (4, 5, 3))])
def test_a_folder_of_images_has_a_class_per_sub_folder(tmp_path: Path, mode: str, shape: tuple[int, ...]) -> None:
    folder = write_images(tmp_path / "pets", mode=mode)
    data = load_data(folder, test_share=0.2)
    assert (data.name, data.class_names, data.feature_shape) == ("pets", ("cat", "dog"), shape)
    assert (len(data.train), len(data.validation), len(data.test)) == (14, 2, 4)
    stored = {np.asarray(Image.open(file)).tobytes(): file.parent.name for file in folder.rglob("*.png")}
    for features, label in zip(np.asarray(data.test.features), data.test.labels, strict=True):
        assert stored[features.tobytes()] == data.class_names[label]
    assert data.request is not None
    assert load_data(**data.request).fingerprint == data.fingerprint


@pytest.mark.parametrize("names", [GREY_KINDS, list(KINDS)], ids=["grey", "all"])
@pytest.mark.parametrize("size", [None, SIZE], ids=["own size", "resized"])
@pytest.mark.usefixtures("_small_pieces")
def test_training_in_memory_streaming_and_predictions_read_the_same_pixels_of_every_kind(
    tmp_path: Path, names: list[str], size: tuple[int, int] | None
) -> None:
    folder = tmp_path / "pets"
    # Without resizing, images of one size only; there is one example more than kinds, because two classes are needed.
    channels = () if names is GREY_KINDS else (3,)
    names = [name for name in names if size or KINDS[name].pixels.shape[:2] == (HEIGHT, WIDTH)]
    paths = [folder / "cat" / f"{number:03}{KINDS[name].suffix}" for number, name in enumerate(names)]
    paths.append(folder / "dog" / f"0{KINDS[names[0]].suffix}")
    for path, name in zip(paths, [*names, names[0]], strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(KINDS[name].content)
    data, streamed = (read(folder, image_size=size).whole() for read in (read_image_folder, stream_image_folder))
    assert data.fingerprint == streamed.fingerprint
    shape = (size or (HEIGHT, WIDTH)) + channels
    assert data.feature_shape == shape
    np.testing.assert_array_equal(data.test.features, streamed.test.features)
    for name, path, features in zip(names, paths, np.asarray(data.test.features), strict=False):
        np.testing.assert_array_equal(features, read_inputs(path, shape, (0, 255))[0], err_msg=name)
        if size is None:
            pixels = KINDS[name].pixels
            expected = pixels if pixels.ndim == len(shape) else np.dstack([pixels] * 3)
            np.testing.assert_array_equal(features, expected, err_msg=name)


PARTS = [
    ("train", None, "test"),
    ("Training", "val", "testing"),
    ("train", "valid", "TEST"),
    ("train", "Validation", None),
    ("train", None, None),
]


@pytest.mark.parametrize("names", PARTS, ids=str)
@pytest.mark.parametrize("stream", [False, True])
def test_folders_that_are_named_like_splits_are_the_splits(
    tmp_path: Path, names: tuple[str | None, ...], stream: bool
) -> None:
    counts = {"train": 10, "validation": 2, "test": 3}
    for count, name in zip(counts.values(), names, strict=True):
        if name is not None:
            write_images(tmp_path / "pets" / name, count=count, seed=count)
    has_validation, has_test = names[1] is not None, names[2] is not None
    data = load_data(tmp_path / "pets", stream=stream)
    num_test = 6 if has_test else 4  # 0.2 of the training images
    num_validation = 4 if has_validation else round(0.1 * (20 if has_test else 16) / 2) * 2
    assert (len(data.train), len(data.validation), len(data.test)) == (
        20 - (0 if has_test else num_test) - (0 if has_validation else num_validation),
        num_validation,
        num_test,
    )
    for part, is_own in (("validation", has_validation), ("test", has_test)):
        if is_own:
            name = names[list(counts).index(part)]
            stored = [np.asarray(Image.open(file)) for file in sorted((tmp_path / "pets" / str(name)).rglob("*.png"))]
            np.testing.assert_array_equal(getattr(data, part).features, stored)


def test_a_test_share_is_taken_from_all_images(tmp_path: Path) -> None:
    write_images(tmp_path / "pets" / "train")
    write_images(tmp_path / "pets" / "test", count=3)
    data = load_data(tmp_path / "pets", test_share=0.5)
    assert (len(data.train) + len(data.validation), len(data.test)) == (14, 12)


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        (("train/cat", "val/cat", "valid/cat"), "`val`.*`valid`"),
        (("test/cat", "val/cat"), "`test`, `val`.*`train`"),
        (("train/cat", "bus", "car"), "`bus`, `car`, `train`.*rename"),
        (("train", "test"), "test` has no class folders"),
        (("pets/cat", "pets/dog"), "single class folder, `pets`.*data/pets`"),
    ],
    ids=["twice", "no train", "a class or a part", "no classes", "one folder too many"],
)
def test_folders_whose_meaning_is_unclear_are_refused(tmp_path: Path, folders: tuple[str, ...], message: str) -> None:
    for folder in folders:
        (tmp_path / "data" / folder).mkdir(parents=True)
        Image.new("L", (3, 3)).save(tmp_path / "data" / folder / "0.png")
    with pytest.raises(InvalidValue, match=message):
        load_data(tmp_path / "data")


def test_a_class_may_be_named_like_a_split(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "vehicles")
    (folder / "cat").rename(folder / "train")
    assert load_data(folder).class_names == ("dog", "train")


SKIPPED = [
    ("cat/.ipynb_checkpoints/0-checkpoint.png", "1 hidden"),
    ("cat/nested/.cache/deep/0.png", "1 hidden"),
    ("cat/._0.png", "1 hidden"),
    ("dog/.DS_Store", "1 hidden"),
    ("dog/@eaDir/0.png/SYNOPHOTO_THUMB_M.jpg", "1 hidden"),
    ("__MACOSX/cat/._0.png", "1 hidden"),
    (".ipynb_checkpoints/0.png", "1 hidden"),
    ("cat/Thumbs.db", "1 `.db`"),
    ("cat/desktop.ini", "1 `.ini`"),
    ("cat/0.HEIC", "1 `.heic`"),
    ("cat/notes", "1 without an ending"),
    ("stray.png", "1 outside the class folders"),
]


@pytest.mark.parametrize(("file", "reason"), SKIPPED, ids=[file for file, _ in SKIPPED])
@pytest.mark.parametrize("stream", [False, True])
def test_files_that_are_no_data_are_skipped_and_counted(tmp_path: Path, file: str, reason: str, stream: bool) -> None:
    folder = write_images(tmp_path / "pets")
    expected = load_data(folder)
    (folder / file).parent.mkdir(parents=True, exist_ok=True)
    (folder / file).write_bytes(b"not an image")
    data = load_data(folder, stream=stream)
    assert [note for note in data.reading_notes if re.fullmatch(f"pets: skipped 1 file: {reason}\\.", note)]
    assert describe_source(read_source(str(folder), SourceOptions(stream=stream)))["reading_notes"] == [
        data.reading_notes[0]
    ]
    assert data.fingerprint == expected.fingerprint


def test_the_most_frequent_reasons_for_skipping_come_first(tmp_path: Path) -> None:
    for part in ("train", "test", "extra"):
        write_images(tmp_path / "pets" / part)
    for number in range(3):
        (tmp_path / "pets" / "train" / "cat" / f"{number}.txt").touch()
    assert "skipped 23 files: 20 in `extra`, 3 `.txt`" in load_data(tmp_path / "pets").reading_notes[0]


def test_images_of_several_sizes_are_resized_on_request_only(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "pets")
    Image.fromarray(np.zeros((9, 8), np.uint8)).save(folder / "dog" / "new.png")
    for stream in (False, True):
        with pytest.raises(InvalidValue, match=r"20 of 4x5, 1 of 9x8; `.*dog/new\.png`.*`image_size`.*4x5"):
            load_data(folder, stream=stream)
    data, streamed = (load_data(folder, image_size=(6, 7), stream=stream) for stream in (False, True))
    assert data.feature_shape == (6, 7)
    assert_same_data(streamed, data)
    assert data.request is not None
    assert load_data(**data.request).fingerprint == data.fingerprint


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.usefixtures("_small_pieces")
def test_white_figures_on_nothing_are_noticed(tmp_path: Path, stream: bool) -> None:
    folder = write_images(tmp_path / "pets", mode="RGB", count=20)
    shape = np.zeros((4, 5, 1), np.uint8)
    shape[1:3] = 255
    for number in range(5):
        Image.fromarray(np.dstack([np.full((4, 5, 3), 255, np.uint8), shape])).save(folder / "dog" / f"new{number}.png")
    data, source = load_data(folder, stream=stream), read_source(str(folder), SourceOptions(stream=stream))
    for cautions in (data.cautions, describe_source(source)["cautions"]):
        assert "5 of 45 images show a single colour, first number 41; nothing" in " ".join(cautions)


@pytest.mark.parametrize("size", [(32,), (0, 4), (4.5, 4), (1, 2, 3), (True, 4), 32, "32x32"], ids=str)
def test_an_image_size_is_a_height_and_a_width(tmp_path: Path, size: Any) -> None:
    with pytest.raises(InvalidValue, match="`image_size`.*height"):
        load_data(write_images(tmp_path / "pets"), image_size=size)


@pytest.mark.parametrize("stream", [False, True])
def test_a_folder_with_an_image_above_the_limit_is_refused_by_name(tmp_path: Path, stream: bool) -> None:
    folder = write_images(tmp_path / "pets")  # images of 4x5 pixels
    Image.new("L", (30, 40)).save(folder / "dog" / "photo.png")
    options: dict[str, Any] = {"image_size": (4, 5), "stream": stream}
    with pytest.raises(InvalidValue, match=r"photo\.png` has 40 x 30 pixels.*1,199 pixels.*`max_image_pixels`"):
        load_data(folder, max_image_pixels=1199, **options)
    data = load_data(folder, max_image_pixels=1200, **options)
    assert (data.fingerprint, data.feature_shape) == (load_data(folder, **options).fingerprint, (4, 5))
    (folder / "dog" / "photo.png").write_bytes(BOMBS["truncated PNG"]())
    with pytest.raises(InvalidValue, match=r"photo\.png` has 5,000 x 5,000 pixels.*16,777,216 pixels"):
        load_data(folder, **options)
    with pytest.raises(InvalidValue, match="`max_image_pixels`.*at least 1.*0"):
        load_data(folder, max_image_pixels=0)
    with pytest.raises(InvalidValue, match="`max_image_pixels` does not apply"):
        load_data("digits", max_image_pixels=100)


def test_the_error_names_what_is_wrong_in_a_folder_of_images(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "pets")
    (folder / "eel").mkdir()
    with pytest.raises(InvalidValue, match=r"`.*eel` .*no image.*\.png"):
        load_data(folder)
    (folder / "eel" / "0.heic").touch()
    with pytest.raises(InvalidValue, match=r"`.*eel` .*no image.*1 `\.heic`"):
        load_data(folder)
    for stream in (False, True):
        (folder / "eel" / "0.png").write_bytes(b"\x89PNG broken")
        with pytest.raises(InvalidValue, match=r"eel/0\.png` .* image"):
            load_data(folder, stream=stream)


@pytest.mark.parametrize("brightest", [1, 15, 16])
def test_pixels_of_dark_images_in_files_still_have_the_range_from_0_to_255(tmp_path: Path, brightest: int) -> None:
    for number in range(20):
        path = tmp_path / "masks" / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.zeros((6, 6), np.uint8)
        pixels[number % 6, number // 6] = brightest
        Image.fromarray(pixels).save(path)
    data, streamed = (load_data(tmp_path / "masks", stream=stream, test_share=0.2) for stream in (False, True))
    assert data.feature_range == streamed.feature_range == (0.0, 255.0)
    asked = read_inputs(path, data.feature_shape, data.feature_range)
    np.testing.assert_array_equal(asked[0], pixels)


def test_blanks_around_the_name_of_a_class_folder_are_ignored_with_and_without_streaming(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "pets")
    (folder / "cat").rename(folder / "cat ")
    data, streamed = (load_data(folder, stream=stream, test_share=0.2) for stream in (False, True))
    assert data.class_names == streamed.class_names == ("cat", "dog")
    assert data.fingerprint == streamed.fingerprint
