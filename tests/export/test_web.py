"""`export_web`: what is checked before a page is written, what it holds, and the style of training images."""

from __future__ import annotations

import gzip
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from kerasmlp.artefacts.opening import open_artefact
from kerasmlp.cli import main
from kerasmlp.data.types import Data
from kerasmlp.errors import InvalidValue, OutputExists, ParityError
from kerasmlp.export import answers_in_browser, export_web
from kerasmlp.export.browser import runtime_files
from kerasmlp.export.web.image_style import measure_style
from kerasmlp.export.web.page import build_page, file_in_page
from kerasmlp.run import Run
from tests.helpers.commands import json_of


def test_the_vendored_runtime_is_the_one_that_the_build_step_made() -> None:
    expected = json.loads((runtime_files.FOLDER / runtime_files.CHECKSUMS).read_text())["unpacked"]
    found = {name: hashlib.sha256(gzip.decompress(runtime_files.packed(name))).hexdigest() for name in expected}
    assert found == expected


def test_a_page_holds_the_file_it_was_checked_with_and_asks_no_server(
    digits_run: Run, digits: Data, tmp_path: Path
) -> None:
    report = export_web(digits_run, tmp_path / "new" / "digits.html", data=digits, verbose=0)
    page = Path(report.path).read_text(encoding="utf-8")
    assert (report.format, report.precision, report.published) == ("web", "float32", True)
    assert report.size_bytes == len(page.encode()) < 6_000_000
    (tmp_path / "inside.tflite").write_bytes(file_in_page(page))
    inside = open_artefact(tmp_path / "inside.tflite")
    expected = open_artefact(digits_run.path).answers(digits.test.features)
    np.testing.assert_allclose(inside.answers(digits.test.features), expected, atol=1e-5)
    assert "connect-src" not in page
    assert "default-src 'none'" in page
    assert "Apache License" in page


@pytest.mark.parametrize(
    ("options", "name", "error", "message"),
    [
        ({}, "page.txt", InvalidValue, "`.html`.*page.txt"),
        ({}, "there.html", OutputExists, "there.html.*overwrite=True"),
        ({}, "folder.html", OutputExists, "folder.html"),
        ({"overwrite": True}, "folder.html", OutputExists, "folder.html` is a folder"),
        ({}, "there.html/page.html", OutputExists, "there.html` is a file"),
        ({"precision": "int8"}, "page.html", InvalidValue, "precision.*int8-dynamic.*`int8`"),
        ({"precision": "float23"}, "page.html", InvalidValue, "`float23`.*float32`\\?"),
        ({"examples": -1}, "page.html", InvalidValue, "examples.*-1"),
        ({"max_drop": 2.0}, "page.html", InvalidValue, "max_drop.*2.0"),
        ({"verbose": 7}, "page.html", InvalidValue, "verbose.*7"),
    ],
)
def test_a_page_that_cannot_be_written_is_refused_before_any_work(
    digits_run: Run,
    tmp_path: Path,
    options: dict[str, object],
    name: str,
    error: type[Exception],
    message: str,
) -> None:
    (tmp_path / "there.html").write_text("mine")
    (tmp_path / "folder.html").mkdir()
    with pytest.raises(error, match=message):
        export_web(digits_run, tmp_path / name, **options)  # type: ignore[arg-type]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder.html", "there.html"]
    assert (tmp_path / "there.html").read_text() == "mine"


def test_a_page_whose_file_loses_too_much_is_not_written(digits_run: Run, digits: Data, tmp_path: Path) -> None:
    with pytest.raises(ParityError, match="int2") as raised:
        export_web(digits_run, tmp_path / "page.html", precision="int2", max_drop=0.0, data=digits, verbose=0)
    assert [report.published for report in raised.value.reports] == [False]
    assert not list(tmp_path.iterdir())


def test_names_cannot_end_the_data_of_a_page() -> None:
    evil = "</script><script>alert(1)</script>"
    page = build_page({"name": evil, "input": {"kind": "columns"}, "task": {"names": [evil]}}, b"TFL3")
    assert "<script>alert" not in page
    assert "$" not in page.split("<main>")[0].split("</style>")[1]
    assert file_in_page(page) == b"TFL3"


@pytest.mark.parametrize("page", ["<html></html>", '<script type="text/plain" id="file">H4sIAAAA</script>'])
def test_a_page_without_a_network_is_refused(page: str) -> None:
    with pytest.raises(InvalidValue, match="network"):
        file_in_page(page)


def test_the_command_writes_a_page_and_refuses_to_replace_it(
    digits_run: Run, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = str(tmp_path / "digits.html")
    (report,) = json_of(capfd, "export", str(digits_run.path), "--web", path)["artefacts"]
    assert (report["format"], report["path"], report["published"]) == ("web", path, True)
    assert report["accuracy"] == report["keras_accuracy"]
    assert main(["export", str(digits_run.path), "--web", path]) == 2
    assert f"{path}` exists" in (error := capfd.readouterr().err)
    assert "--overwrite" in error
    assert main(["export", str(digits_run.path), "--web", path, "--quantize", "int8"]) == 2
    assert "--tflite DIR" in capfd.readouterr().err
    assert main(["export", str(digits_run.path), "--web", path, "--overwrite"]) == 0
    assert f"Open it in a browser: {path}" in capfd.readouterr().out


@pytest.mark.parametrize("command", ["info", "evaluate", "predict"])
def test_a_page_is_no_artefact_and_the_message_says_what_is(
    command: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "digits.HTML"
    page.write_text("<html></html>")
    arguments = {"evaluate": ["digits"], "predict": [str(page)]}.get(command, [])
    assert main([command, str(page), *arguments]) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert f"`{page}` is a web page" in line


def _drawings(height: int, width: int, generator: np.random.Generator, *, centred: bool) -> np.ndarray:
    """Crosses of 5 x 5 pixels, lighter than their paper."""
    images = np.zeros((200, height, width))
    for image in images:
        shift = (0, 0) if centred else generator.integers(-3, 4, 2)
        top, left = (height - 5) // 2 + shift[0], (width - 5) // 2 + shift[1]
        image[top + 2, left : left + 5] = image[top : top + 5, left + 2] = 200
    return images


@pytest.mark.parametrize("is_dark", [False, True])
@pytest.mark.parametrize("centred", [False, True])
def test_the_style_of_drawings_is_measured(is_dark: bool, centred: bool) -> None:
    images = _drawings(15, 17, np.random.default_rng(0), centred=centred)
    style = measure_style(255 - images if is_dark else images, (0, 255))
    assert style.drawn
    assert (style.background, round(style.ink, 2)) == ((1, 0.22) if is_dark else (0, 0.78))
    assert (style.fit_width, style.fit_height) == (5, 5)
    assert (style.centre != "none") == centred
    if centred:
        assert (style.x, style.y) == (8.5, 7.5)
    assert 0.1 < style.pen < 0.25


@pytest.mark.parametrize("shape", [(12, 12), (12, 12, 3), (12, 12, 1), (1, 1), (2, 40)])
@pytest.mark.parametrize("value", [None, 0.0, 0.5, 1.0])
def test_other_images_are_no_drawings_and_have_a_style(shape: tuple[int, ...], value: float | None) -> None:
    generator = np.random.default_rng(0)
    images = generator.random((50, *shape)) if value is None else np.full((50, *shape), value)
    style = measure_style(images, (0.0, 1.0))
    assert not style.drawn
    assert style.ink != style.background
    assert all(np.isfinite(number) for number in style.to_config().values() if isinstance(number, float))


def test_a_missing_browser_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert answers_in_browser(b"", np.zeros((1, 2), np.float32)) is None
