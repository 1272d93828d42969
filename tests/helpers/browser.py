"""What tests of pages do in headless Chromium: open, draw, type, and see what is shown."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kerasmlp.export.browser.chromium import Chromium, find_chromium

# Digits as a person draws them: corners of strokes, from 0 to 1 of the pad's width and height.
STROKES = {
    "0": [[(0.5, 0.15), (0.33, 0.3), (0.3, 0.55), (0.4, 0.8), (0.55, 0.84), (0.68, 0.65), (0.68, 0.4), (0.5, 0.15)]],
    "3": [[(0.3, 0.25), (0.5, 0.15), (0.68, 0.25), (0.65, 0.4), (0.48, 0.48), (0.7, 0.7), (0.5, 0.86), (0.28, 0.78)]],
    "5": [[(0.68, 0.18), (0.36, 0.18), (0.34, 0.46), (0.55, 0.42), (0.68, 0.6), (0.62, 0.78), (0.3, 0.8)]],
    "7": [[(0.28, 0.22), (0.72, 0.22), (0.45, 0.85)]],
}  # fmt: skip


def open_browser() -> Iterator[Chromium]:
    """Yields a browser; skips the test where there is none."""
    path = find_chromium()
    if path is None:
        pytest.skip("there is no Chromium on this machine (Debian's package `chromium`)")
    with Chromium(path) as browser:
        yield browser


def open_page(browser: Chromium, page: Path) -> Any:
    """Opens a page, waits until its network has answered, and returns how its answers compare with Python's."""
    browser.open(page)
    return browser.run("kerasmlp.ready")


def text_of(browser: Chromium, name: str) -> str:
    """Returns the text of an element of the page."""
    return str(browser.run(f"document.getElementById({name!r}).textContent"))


KEY_CODES = {"Tab": 9, "Enter": 13, "Escape": 27, " ": 32, "Delete": 46, "ArrowUp": 38, "ArrowDown": 40}


def press(browser: Chromium, key: str, count: int = 1) -> None:
    """Presses one of `KEY_CODES`."""
    text = {"text": {"Enter": "\r"}.get(key, key)} if key in ("Enter", " ") else {}
    about = {"key": key, "code": "Space" if key == " " else key, "windowsVirtualKeyCode": KEY_CODES[key]}
    for _ in range(count):
        browser.call("Input.dispatchKeyEvent", type="keyDown", **about, **text)
        browser.call("Input.dispatchKeyEvent", type="keyUp", **about)


def type_into(browser: Chromium, label: str, text: str) -> None:
    """Types into the field with a label, in place of what it holds."""
    browser.run(
        f"(() => {{ const field = [...document.querySelectorAll('label')].find(each => each.textContent === {label!r})"
        ".control; field.focus(); field.select?.(); })()"
    )
    browser.call("Input.insertText", text=text)
    settle(browser)


def choose(browser: Chromium, label: str, text: str) -> None:
    """Chooses an option of the field with a label, as the keyboard does."""
    browser.run(
        f"(() => {{ const field = [...document.querySelectorAll('label')].find(each => each.textContent === {label!r})"
        f".control; field.value = [...field.options].find(each => each.textContent === {text!r}).value;"
        " field.dispatchEvent(new Event('input', {bubbles: true})); })()"
    )
    settle(browser)


def settle(browser: Chromium) -> Any:
    """Waits until the page has answered what was drawn or typed. Returns the answer, or None if there is none."""
    return browser.run("new Promise(requestAnimationFrame).then(() => kerasmlp.settled())")


def draw(browser: Chromium, strokes: list[list[tuple[float, float]]]) -> None:
    """Clears the pad and draws strokes with the mouse."""
    browser.run("document.getElementById('clear').click()")
    left, top, width, height = browser.run(
        "(() => { const box = document.getElementById('pad').getBoundingClientRect();"
        " return [box.left, box.top, box.width, box.height]; })()"
    )

    def mouse(kind: str, place: np.ndarray) -> None:
        x, y = place
        browser.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", buttons=1, clickCount=1)

    for stroke in strokes:
        corners = np.array(stroke) * (width, height) + (left, top)
        mouse("mousePressed", corners[0])
        for begin, end in itertools.pairwise(corners):
            for share in np.linspace(0, 1, 4)[1:]:
                mouse("mouseMoved", begin + (end - begin) * share)
        mouse("mouseReleased", corners[-1])
    settle(browser)
