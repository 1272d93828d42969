"""Pages in headless Chromium: what is drawn, typed and shown, and how it agrees with Python."""

from __future__ import annotations

import base64
import json
import random
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import kerasmlp
from kerasmlp.artefacts.opening import open_artefact
from kerasmlp.data.images import encode_png, read_image, scale_pixels
from kerasmlp.data.types import Data
from kerasmlp.errors import BrowserError
from kerasmlp.export import answers_in_browser, export_web
from kerasmlp.export.browser.chromium import Chromium
from kerasmlp.export.web.page import file_in_page
from kerasmlp.export.web.page_contents import column_input
from kerasmlp.run import Run
from tests.helpers.browser import (
    STROKES,
    choose,
    draw,
    open_browser,
    open_page,
    press,
    settle,
    text_of,
    type_into,
)
from tests.helpers.houses import houses_table
from tests.helpers.random_tables import TARGET, RandomTable
from tests.helpers.small_tasks import small_data

TOLERANCE = 2e-6  # of probabilities: sums of float32 in another order


@pytest.fixture(scope="module")
def browser() -> Iterator[Chromium]:
    """A browser that all tests of this module share."""
    yield from open_browser()


@pytest.fixture(scope="module")
def digits_page(
    browser: Chromium, digits: Data, digits_run: Run, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Run]:
    """The page of the digits, and its run."""
    page = tmp_path_factory.mktemp("web") / "digits.html"
    export_web(digits_run, page, data=digits, verbose=0)
    return page, digits_run


def _page_of(data: Data, folder: Path) -> tuple[Path, Run]:
    model = kerasmlp.mlp_for(data, hidden=[8], seed=0)
    run = kerasmlp.train(model, data, epochs=2, learning_rate=0.02, out=folder / "run", verbose=0)
    export_web(run, folder / "page.html", data=data, verbose=0)
    return folder / "page.html", run


def test_a_page_answers_at_once_agrees_with_python_and_asks_no_server(
    browser: Chromium, digits_page: tuple[Path, Run], digits: Data
) -> None:
    page, run = digits_page
    compared = open_page(browser, page)
    assert (compared["same"], browser.problems, browser.requests) == (20, [], [page.as_uri()])
    assert compared["largest"] < TOLERANCE
    assert text_of(browser, "status").startswith("Answered by LiteRT.js")
    features = digits.test.features[:50].reshape(50, -1).astype(np.float32)
    found = browser.run(f"Promise.all({features.tolist()}.map(kerasmlp.answer))")
    expected = open_artefact(run.path).answers(digits.test.features[:50])
    np.testing.assert_allclose(found, expected, atol=TOLERANCE)
    assert (np.argmax(found, axis=1) == expected.argmax(axis=1)).all()


def test_digits_drawn_with_the_mouse_are_recognised(browser: Chromium, digits_page: tuple[Path, Run]) -> None:
    open_page(browser, digits_page[0])
    for digit, strokes in STROKES.items():
        draw(browser, strokes)
        assert text_of(browser, "headline") == digit
    assert text_of(browser, "truth") == ""
    image = np.reshape(list(browser.run("Array.from(kerasmlp.form.features())")), (8, 8))
    assert image.max() > 12  # white on black, as in training
    assert (image[:, [0, 7]] < 4).all()  # 6 pixels wide, in the middle
    browser.run("document.getElementById('clear').click()")
    assert settle(browser) is None
    assert "Draw something" in text_of(browser, "detail")
    assert browser.problems == []


def test_touch_draws_and_the_page_does_not_scroll(browser: Chromium, digits_page: tuple[Path, Run]) -> None:
    browser.call("Emulation.setDeviceMetricsOverride", width=390, height=700, deviceScaleFactor=2, mobile=True)
    browser.call("Emulation.setTouchEmulationEnabled", enabled=True)
    try:
        open_page(browser, digits_page[0])
        assert browser.run("document.documentElement.scrollWidth") == 390
        browser.run("document.getElementById('clear').click()")
        left, top, side = browser.run(
            "(() => { const box = document.getElementById('pad').getBoundingClientRect();"
            " return [box.left, box.top, box.width]; })()"
        )
        corners = [{"x": left + x * side, "y": top + y * side} for x, y in ((0.5, 0.15), (0.5, 0.5), (0.5, 0.85))]
        browser.call("Input.dispatchTouchEvent", type="touchStart", touchPoints=corners[:1])
        for corner in corners[1:]:
            browser.call("Input.dispatchTouchEvent", type="touchMove", touchPoints=[corner])
        browser.call("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])
        assert settle(browser) is not None
        assert text_of(browser, "headline") == "1"
        assert browser.run("scrollY") == 0
    finally:
        browser.call("Emulation.setTouchEmulationEnabled", enabled=False)
        browser.call("Emulation.clearDeviceMetricsOverride")


def test_the_page_works_with_the_keyboard_alone(browser: Chromium, digits_page: tuple[Path, Run]) -> None:
    open_page(browser, digits_page[0])
    reached = []
    for _ in range(6):
        press(browser, "Tab")
        reached.append(browser.run("document.activeElement.id"))
    assert reached[:6] == ["about", "pad", "centre", "next", "clear", "choose"]
    browser.run("document.getElementById('pad').focus()")
    press(browser, "Delete")
    press(browser, "ArrowUp", 10)
    press(browser, " ")
    press(browser, "ArrowDown", 20)
    answer = settle(browser)
    assert answer is not None
    assert int(np.argmax(answer)) == 1
    press(browser, "Delete")
    assert settle(browser) is None
    browser.run("document.getElementById('about').focus()")
    press(browser, "Enter")
    assert browser.run("document.getElementById('card').open")
    assert "64 - 32 - 10" in text_of(browser, "facts")
    press(browser, "Escape")
    assert not browser.run("document.getElementById('card').open")


def test_the_answer_is_spoken_and_every_control_has_a_name(browser: Chromium, digits_page: tuple[Path, Run]) -> None:
    open_page(browser, digits_page[0])
    spoken = browser.run(
        "new Promise(resolve => { const spoken = document.getElementById('spoken');"
        " if (spoken.textContent) resolve(spoken.textContent);"
        " new MutationObserver(() => resolve(spoken.textContent)).observe(spoken, {childList: true}); })"
    )
    assert spoken.startswith("Answer: ")
    nodes = browser.call("Accessibility.getFullAXTree")["nodes"]
    controls = [
        node
        for node in nodes
        if not node["ignored"] and node["role"]["value"] in ("button", "checkbox", "textbox", "combobox", "application")
    ]
    assert len(controls) >= 6
    assert all(node["name"]["value"] for node in controls)


def test_dark_mode_swaps_the_colours_and_not_the_image(browser: Chromium, digits_page: tuple[Path, Run]) -> None:
    colours, images = [], []
    for mode in ("light", "dark"):
        browser.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": mode}])
        open_page(browser, digits_page[0])
        draw(browser, STROKES["7"])
        colours.append(browser.run("getComputedStyle(document.body).backgroundColor"))
        images.append(browser.run("Array.from(kerasmlp.form.features())"))
        assert text_of(browser, "headline") == "7"
    browser.call("Emulation.setEmulatedMedia", features=[])
    assert colours == ["rgb(246, 245, 242)", "rgb(21, 24, 27)"]
    assert images[0] == images[1]


def _drop(browser: Chromium, pixels: np.ndarray) -> None:
    content = base64.b64encode(encode_png(pixels)).decode()
    browser.run(
        f"kerasmlp.form.load(new File([Uint8Array.from(atob('{content}'), each => each.charCodeAt(0))], 'a.png'))"
    )
    settle(browser)


def test_a_dropped_picture_gives_what_python_reads(
    browser: Chromium, digits_page: tuple[Path, Run], digits: Data, tmp_path: Path
) -> None:
    open_page(browser, digits_page[0])
    zero = np.flatnonzero(digits.test.labels == 0)[0]
    pixels = np.round(np.asarray(digits.test.features[zero]) * (255 / 16)).astype(np.uint8)
    for picture in (pixels, 255 - pixels):  # black on white is swapped
        _drop(browser, picture)
        found = browser.run("Array.from(kerasmlp.form.features())")
        np.testing.assert_allclose(found, scale_pixels(pixels, (0.0, 16.0)).reshape(-1), atol=1e-4)
    # A photo of a digit in the corner of a sheet of paper.
    photo = np.full((300, 400), 230, np.uint8)
    photo[20:180, 30:190] = np.minimum(230, 255 - np.kron(pixels, np.ones((20, 20), np.uint8)))
    _drop(browser, np.full((30, 40), 230, np.uint8))
    assert "Draw something" in text_of(browser, "detail")
    _drop(browser, photo)
    assert text_of(browser, "headline") == "0"
    # As it is, without being centred: resized as `predict` does.
    browser.run("document.getElementById('centre').click()")
    settle(browser)
    (tmp_path / "photo.png").write_bytes(encode_png(photo))
    expected = scale_pixels(255 - read_image(tmp_path / "photo.png", size=(8, 8)), (0.0, 16.0))
    np.testing.assert_allclose(browser.run("Array.from(kerasmlp.form.features())"), expected.reshape(-1), atol=0.07)
    browser.run("kerasmlp.form.load(new File(['no picture'], 'notes.txt'))")
    assert "notes.txt" in text_of(browser, "status")
    assert browser.problems == []


def test_colour_images_are_resized_as_pillow_does(browser: Chromium, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (60, 10, 8, 3), dtype=np.uint8)
    data = kerasmlp.data_from_arrays(images, np.arange(60) % 2, name="colours")
    page, _ = _page_of(data, tmp_path)
    open_page(browser, page)
    for height, width in ((3, 5), (40, 9), (12, 12)):
        picture = generator.integers(0, 256, (height, width, 3), dtype=np.uint8)
        (tmp_path / "a.png").write_bytes(encode_png(picture))
        _drop(browser, picture)
        found = np.reshape(browser.run("Array.from(kerasmlp.form.features())"), (10, 8, 3))
        np.testing.assert_allclose(found, read_image(tmp_path / "a.png", channels=3, size=(10, 8)), atol=1)
    assert browser.problems == []


# What people type into columns of each kind.
TYPED = {
    "number": ["", " -1.5e3 ", "NA", "+7", ".5", "3."],
    "boolean": ["", "Yes", "0", "FALSE", "1.0", "n/a"],
    "date": ["", "2024-02-29", "1999-12-31T23:59:59", "2030-01-01 00:00:00.25", "null"],
    "category": ["", "?", "TRUE", "unseen", "007", "7.0", "NA"],
}


def test_random_rows_are_encoded_as_python_encodes_them(browser: Chromium, digits_page: tuple[Path, Run]) -> None:
    open_page(browser, digits_page[0])
    generator = random.Random(0)
    seen = set()
    for seed in range(30):
        columns = RandomTable(seed).columns
        frame = pd.DataFrame({column.name: column.array().to_pandas() for column in columns})
        frame[TARGET] = ["yes", "no"] * (len(frame) // 2) + ["yes"] * (len(frame) % 2)
        data = kerasmlp.data_from_frame(frame, TARGET, test_share=0.2, name="random")
        assert data.encoder is not None
        features = data.encoder.features
        choices = [TYPED[column.kind] + list(column.categories) for column in features]
        rows = [[generator.choice(each) for each in choices] for _ in range(40)]
        expected = data.encoder.encode(pd.DataFrame(rows, columns=[column.name for column in features], dtype=str))
        source = json.dumps(column_input(data.encoder, data))
        found = browser.run(
            f"(input => {json.dumps(rows)}.map(row => Array.from(kerasmlp.encodeRow(input.columns, row, input.words))))"
            f"({source})"
        )
        np.testing.assert_array_equal(np.float32(found), expected)
        seen |= {column.kind for column in features}
    assert seen == set(TYPED)


def test_a_form_for_a_table_is_filled_in_and_marks_what_is_wrong(
    browser: Chromium, flowers_run: Run, tmp_path: Path
) -> None:
    from tests.helpers.tables import frame

    data = kerasmlp.data_from_frame(frame(), "kind", test_share=0.2)
    export_web(flowers_run, tmp_path / "flowers.html", data=data, verbose=0)
    assert open_page(browser, tmp_path / "flowers.html")["same"] == 20
    assert "Test example 1 of 20" in text_of(browser, "truth")
    artefact = open_artefact(flowers_run.path)
    assert data.encoder is not None
    for size, colour, thorns in (("4.25", "red", "yes"), ("", "(another value)", "no"), ("9,5", "orange", "(missing)")):
        type_into(browser, "size", size)
        choose(browser, "colour", colour)
        choose(browser, "has thorns", thorns)
        row = {
            "size": size.replace(",", "."),
            "colour": colour,
            "has thorns": {"yes": "true", "no": "false"}.get(thorns, ""),
            "petals": "6",
        }
        expected = artefact.answers(data.encoder.encode(pd.DataFrame([row])))[0]
        np.testing.assert_allclose(settle(browser), expected, atol=TOLERANCE)
        assert text_of(browser, "headline") == data.class_names[int(expected.argmax())]
    for wrong in ("many", "1,234", "1e999", "--1"):
        type_into(browser, "size", wrong)
        assert settle(browser) is None
        assert browser.run("document.getElementById('field-0').ariaInvalid") == "true"
        assert "needs a number" in text_of(browser, "wrong-0")
    type_into(browser, "size", "99")
    assert settle(browser) is not None
    assert browser.run("document.querySelector('.unusual label').textContent") == "size"
    assert browser.problems == []


def test_dates_and_times_of_test_examples_are_in_the_form(browser: Chromium, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    days = pd.Timestamp("2020-01-01") + pd.to_timedelta(generator.integers(0, 1500, 120), "D")
    times = pd.Timestamp("2023-01-01") + pd.to_timedelta(generator.integers(0, 3 * 10**7, 120), "s")
    frame = pd.DataFrame({"sold on": days.where(generator.random(120) > 0.1), "when": times})
    frame["kind"] = np.where(times.day_of_week < 3, "early", "late")
    data = kerasmlp.data_from_frame(frame, "kind", test_share=0.2)
    assert data.encoder is not None
    run = kerasmlp.train(kerasmlp.mlp_for(data, hidden=(4,), seed=0), data, epochs=1, out=tmp_path / "run")
    export_web(run, tmp_path / "dates.html", data=data, verbose=0)
    found = open_page(browser, tmp_path / "dates.html")
    assert found["same"] == 20
    filled = browser.run("kerasmlp.contents.examples.map(({row}) => Array.from(kerasmlp.form.featuresOf(row)))")
    held = browser.run("[0, 1].map(index => document.getElementById(`field-${index}`).value)")
    assert re.fullmatch(r"(\d{4}-\d\d-\d\d)?", held[0])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d)?", held[1])
    assert len(filled) == 20
    features = np.asarray(data.test.features)
    assert all((features == np.float32(row)).all(axis=1).any() for row in filled)


def test_numbers_are_shown_with_their_interval(
    browser: Chromium, houses_run: Run, houses: Data, tmp_path: Path
) -> None:
    export_web(houses_run, tmp_path / "houses.html", data=houses, verbose=0)
    assert open_page(browser, tmp_path / "houses.html")["same"] == 20
    type_into(browser, "area", "120.5")
    expected = _answer_to_the_form(browser, houses, houses_run)
    np.testing.assert_allclose(settle(browser), expected, rtol=1e-5)
    assert text_of(browser, "headline") == _number(expected[0])
    shown = text_of(browser, "bars")
    (((low, high),),) = houses_run.card.learnt.with_coverage(expected[np.newaxis], 0.9)["interval"]
    assert f"90 % interval: {_number(low)} to {_number(high)}" in shown
    assert browser.problems == []


def test_quantiles_of_two_numbers_are_shown(browser: Chromium, tmp_path: Path) -> None:
    table = houses_table()[["area", "age", "town", "price", "tax"]]
    data = kerasmlp.data_from_frame(table, ["price", "tax"], quantiles=(0.1, 0.5, 0.9), test_share=0.2, name="houses")
    page, run = _page_of(data, tmp_path)
    assert open_page(browser, page)["same"] == 20
    type_into(browser, "area", "120.5")
    expected = _answer_to_the_form(browser, data, run)
    np.testing.assert_allclose(settle(browser), expected.reshape(-1), rtol=1e-4)
    shown = text_of(browser, "bars")
    assert all(f"{share} % are below" in shown for share in (10, 50, 90))
    assert all(_number(number)[:4] in shown for number in expected[0])
    assert browser.problems == []


def test_labels_are_shown_with_their_thresholds(browser: Chromium, tmp_path: Path) -> None:
    data = small_data("multi_label")
    page, run = _page_of(data, tmp_path)
    assert open_page(browser, page)["same"] == 20
    for area in ("50", "125", "200"):
        type_into(browser, "area", area)
        expected = _answer_to_the_form(browser, data, run)
        np.testing.assert_allclose(settle(browser), expected, atol=TOLERANCE)
        decided = run.card.learnt.decisions(expected[np.newaxis])[0]
        assert text_of(browser, "headline") == data.task.shown_target(decided)
    assert browser.run("document.querySelectorAll('.tick').length") == 2
    assert browser.problems == []


def _answer_to_the_form(browser: Chromium, data: Data, run: Run) -> np.ndarray:
    """What Python answers to what is in the form."""
    assert data.encoder is not None
    names = [column.name for column in data.encoder.features]
    values = browser.run(f"{list(range(len(names)))}.map(each => document.getElementById('field-' + each).value)")
    features = data.encoder.encode(pd.DataFrame([values], columns=names))
    return np.asarray(open_artefact(run.path).answers(features)[0])


def _number(value: float) -> str:
    """A number as the page writes it."""
    return f"{float(f'{value:.5g}'):,.10g}"


def test_numbers_without_a_table_are_fields_that_must_be_filled(browser: Chromium, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    features = generator.normal(size=(80, 30)).astype(np.float32)
    data = kerasmlp.data_from_arrays(features, (features[:, 0] > 0).astype(int), name="numbers")
    page, run = _page_of(data, tmp_path)
    open_page(browser, page)
    type_into(browser, "feature 3", "")
    assert settle(browser) is None
    type_into(browser, "feature 3", "0.5")
    assert settle(browser) is not None
    browser.run("(() => { const search = document.querySelector('[type=search]'); search.focus(); })()")
    browser.call("Input.insertText", text="feature 30")
    assert browser.run("[...document.querySelectorAll('.field')].filter(each => !each.hidden).length") == 1
    export_web(run, page, data=data, examples=0, overwrite=True, verbose=0)
    assert open_page(browser, page)["same"] == 0
    assert settle(browser) is None
    assert (browser.problems, text_of(browser, "truth")) == ([], "")


def test_answers_in_browser_are_those_of_python(digits_page: tuple[Path, Run], digits: Data) -> None:
    page, run = digits_page
    found = answers_in_browser(file_in_page(page.read_text(encoding="utf-8")), digits.test.features[:30])
    assert found is not None
    np.testing.assert_allclose(found, open_artefact(run.path).answers(digits.test.features[:30]), atol=TOLERANCE)
    with pytest.raises(BrowserError):
        answers_in_browser(b"no network", np.zeros((1, 64), np.float32))
