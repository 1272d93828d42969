"""Images that would fill a server's memory, sent to the signature `image_bytes` in a session as a server runs it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from kerasmlp import build_mlp
from kerasmlp.cli import main
from kerasmlp.data.prediction_files import read_inputs
from kerasmlp.errors import InvalidValue
from kerasmlp.export import export_saved_model
from kerasmlp.export.saved_model import image_resizing
from kerasmlp.export.saved_model.exporting import write_saved_model
from kerasmlp.export.saved_model.image_decoding import decode_images
from kerasmlp.run import Run
from kerasmlp.serving.refusals import Failure
from kerasmlp.serving.saved_model_session import SavedModelSession
from kerasmlp.tasks.classification import Classification
from tests.helpers.image_bombs import BOMBS, HARMLESS, LARGE, LARGE_SIDE, LIMIT, REFUSED, SMALL, blank_png, jpeg
from tests.helpers.image_kinds import encode_image, make_image_kinds, turn_upright

REPOSITORY = Path(__file__).parents[2]
MOST_MB, MOST_SECONDS = 50, 2  # they take about 1 ms and 1 MB; other processes may be busy
BYTES_PER_PIXEL = 5  # 3 or 4, and what the strips take

needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="measures memory by /proc/self")


@pytest.fixture(scope="module")
def version(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained network for grey images of 28x28 pixels as an export writes it."""
    path = tmp_path_factory.mktemp("bombs") / "1"
    card: Any = _card((SMALL, SMALL))
    write_saved_model(build_mlp([SMALL * SMALL, 4, 2], input_shape=(SMALL, SMALL), seed=0), card, path)
    return path


def _card(shape: tuple[int, ...]) -> Any:
    return SimpleNamespace(
        feature_shape=shape,
        feature_range=(0.0, 255.0),
        class_names=("cat", "dog"),
        learnt=Classification(("cat", "dog")),
        columns=None,
        encoder=None,
        to_json=lambda: "{}",
        labels_text=lambda: "cat\ndog\n",
    )


@pytest.fixture(scope="module")
def answers(version: Path) -> dict[str, dict[str, Any]]:
    """The answer to each file, and by how much the memory grew, in a process that does nothing else."""
    command = [sys.executable, "-m", "tests.helpers.image_bombs", str(version)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, dict[str, Any]] = json.loads(done.stdout)
    return found


def check_refused_at_once(answer: dict[str, Any], *, because: Sequence[str]) -> None:
    assert answer["code"] == "INVALID_ARGUMENT", answer
    for reason in because:
        assert reason in answer["message"]
    assert answer["growth_mb"] < MOST_MB, answer
    assert answer["seconds"] < MOST_SECONDS, answer


@needs_linux
@pytest.mark.parametrize("name", BOMBS)
def test_an_image_above_the_limit_is_refused_by_its_size_and_nothing_of_it_is_decoded(
    answers: dict[str, dict[str, Any]], name: str
) -> None:
    check_refused_at_once(
        answers[name], because=(f"at most {LIMIT} pixels", "height and width are]", "`max_image_pixels`")
    )


@needs_linux
@pytest.mark.parametrize("name", REFUSED)
def test_files_that_lie_about_their_size_or_take_long_are_refused(
    answers: dict[str, dict[str, Any]], name: str
) -> None:
    reason = {
        "another chunk before IHDR": "needs to begin with the chunk IHDR",
        "a thousand scans": r"at most] [65] [scans; received] [1006]",
        "many chunks": "at most 500 parts",
        "many filling bytes": "at most 500 parts",
    }.get(name, "Invalid JPEG" if "JPEG" in name else "Invalid PNG")
    check_refused_at_once(answers[name], because=(reason,))


@needs_linux
@pytest.mark.parametrize("name", HARMLESS)
def test_small_images_in_files_with_other_large_parts_are_answered_in_little_memory(
    answers: dict[str, dict[str, Any]], name: str
) -> None:
    assert answers[name]["code"] == "OK", answers[name]
    assert answers[name]["growth_mb"] < MOST_MB, answers[name]


@needs_linux
@pytest.mark.parametrize("name", LARGE)
def test_images_take_a_few_bytes_per_pixel(answers: dict[str, dict[str, Any]], name: str) -> None:
    answer = answers[f"large: {name}"]
    at_once = 4 if name == "a dozen PNGs" else 1
    assert answer["code"] == "OK", answer
    assert answer["growth_mb"] < at_once * LARGE_SIDE**2 * BYTES_PER_PIXEL / 1e6 + MOST_MB, answer


# Limits that an export sets


@pytest.fixture(scope="module")
def ask(tmp_path_factory: pytest.TempPathFactory) -> Callable[[list[bytes]], None]:
    """Sends images to a network for 8x8 pixels whose images may have 100 pixels."""
    path = tmp_path_factory.mktemp("limits") / "1"
    model = build_mlp([64, 4, 2], input_shape=(8, 8), seed=0)
    write_saved_model(model, _card((8, 8)), path, max_image_pixels=100)
    loaded = SavedModelSession(path)

    def run(files: list[bytes]) -> None:
        outputs = loaded.run("image_bytes", {"image_bytes": np.array(files, object)})
        assert len(outputs["class_id"]) == len(files)

    return run


def test_the_limit_of_an_export_counts_pixels_whatever_their_arrangement(ask: Callable[[list[bytes]], None]) -> None:
    for make in (blank_png, jpeg):
        ask([make(10, 10), make(8, 12), make(12, 8), make(1, 1)])
        for size in ((10, 11), (11, 10), (101, 1)):
            with pytest.raises(
                Failure, match=rf"at most 100 pixels.*height and width are\] \[{size[0]}\] \[{size[1]}\]"
            ):
                ask([make(1, 1), make(*size)])


def test_images_that_would_grow_while_they_are_resized_are_refused(ask: Callable[[list[bytes]], None]) -> None:
    for size in ((13, 2), (2, 13)):  # 13 x 8 pixels when they are as wide as the network
        with pytest.raises(Failure, match="at most 12 on a side"):
            ask([blank_png(*size)])


def test_a_request_is_limited_too(ask: Callable[[list[bytes]], None]) -> None:
    ask([blank_png(10, 10)] * 327)
    with pytest.raises(Failure, match=r"at most 32768 pixels together; received at least\] \[32800\]"):
        ask([blank_png(10, 10)] * 328)
    ask([blank_png(1, 1)] * 512)
    with pytest.raises(Failure, match=r"at most 512 images; received\] \[513\]"):
        ask([blank_png(1, 1)] * 513)


@pytest.mark.parametrize("limit", [63, 0, True, 1e6], ids=str)
def test_a_limit_that_no_image_could_meet_is_refused(limit: Any, digits_run: Run, tmp_path: Path) -> None:
    with pytest.raises(InvalidValue, match=f"`max_image_pixels` .*{limit}"):
        export_saved_model(digits_run, tmp_path / "digits", max_image_pixels=limit)
    assert not (tmp_path / "digits").exists()


def test_a_limit_for_images_is_refused_for_tables(flowers_run: Run, tmp_path: Path) -> None:
    with pytest.raises(InvalidValue, match="`max_image_pixels` is for networks that take images"):
        export_saved_model(flowers_run, tmp_path / "flowers", max_image_pixels=1000)


def test_an_export_of_the_command_line_takes_the_limit(digits_run: Run, tmp_path: Path) -> None:
    base = tmp_path / "digits"
    assert main(["export", str(digits_run.path), "--saved-model", str(base), "--max-image-pixels", "99"]) == 0
    with pytest.raises(Failure, match="at most 99 pixels"):
        SavedModelSession(base / "1").run("image_bytes", {"image_bytes": np.array([blank_png(10, 10)], object)})
    assert main(["export", str(digits_run.path), "--tflite", str(base), "--max-image-pixels", "99"]) == 2


def test_predict_refuses_an_image_above_the_limit(
    digits_run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "scan.png"
    path.write_bytes(BOMBS["truncated PNG"]())
    assert main(["predict", str(digits_run.path), str(path)]) == 2
    assert re.search(r"scan\.png` has 5,000 x 5,000 .*16,777,216 .*`--max-image-pixels`", capsys.readouterr().err)
    path.write_bytes(blank_png(10, 10))
    assert main(["predict", str(digits_run.path), str(path), "--max-image-pixels", "99"]) == 2
    assert main(["predict", str(digits_run.path), str(path), "--max-image-pixels", "100"]) == 0


# Pixels


@pytest.mark.parametrize("shape", [(7, 9), (5, 4, 3)], ids=str)
def test_images_of_many_strips_have_the_pixels_that_pillow_computes(
    shape: tuple[int, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tensorflow as tf

    monkeypatch.setattr(image_resizing, "STRIP_PIXELS", 50)  # some rows of some images, less than a row of others
    read = tf.function(lambda files: decode_images(files, _card(shape)), autograph=False)
    photo = np.random.default_rng(0).integers(0, 256, (41, 60, 3), np.uint8)
    files = {name: kind.content for name, kind in make_image_kinds().items() if kind.is_served}
    for orientation in range(1, 9):
        exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0" + bytes([orientation]) + bytes(6)
        files[f"large, {orientation}"] = encode_image(turn_upright(photo, orientation), "PNG", exif=exif)
    answers = read(tf.constant(list(files.values()))).numpy()
    for (name, content), answer in zip(files.items(), answers, strict=True):
        (tmp_path / "image.png").write_bytes(content)
        expected = read_inputs(tmp_path / "image.png", shape, (0.0, 255.0))[0]
        np.testing.assert_array_equal(answer, expected, err_msg=name)


@pytest.mark.parametrize("size", [(1, 20_000), (20_000, 1), (300, 400)], ids=str)
def test_very_wide_and_high_images_are_resized_as_pillow_does(size: tuple[int, int], tmp_path: Path) -> None:
    import tensorflow as tf

    pixels = np.random.default_rng(0).integers(0, 256, (*size, 4), np.uint8)
    content = encode_image(pixels, "PNG")
    (tmp_path / "image.png").write_bytes(content)
    answer = tf.function(lambda files: decode_images(files, _card((10, 9))), autograph=False)(tf.constant([content]))
    np.testing.assert_array_equal(answer, read_inputs(tmp_path / "image.png", (10, 9), (0.0, 255.0)))
