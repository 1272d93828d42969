"""`answers_in_browser`: runs a TFLite file in a real browser, with the runtime that the pages hold."""

from __future__ import annotations

import base64
import gzip
import tempfile
from collections.abc import Sequence
from pathlib import Path
from string import Template

import numpy as np

from kerasmlp.errors import BrowserError
from kerasmlp.export.browser.chromium import Chromium, find_chromium
from kerasmlp.export.browser.runtime_files import runtime_program, runtime_texts, text_of

_PAGE = Template("""<!doctype html><meta charset="utf-8"><title>check</title><body>
<script type="text/plain" id="file">$file</script>
<script type="text/plain" id="litert-script">$litert_script</script>
<script type="text/plain" id="litert-wasm">$litert_wasm</script>
<script type="text/plain" id="examples">$examples</script>
<script>
$program
async function answers(count) {
  const network = await startNetwork();
  const examples = floatsOf(textOf("examples"));
  const width = examples.length / count;
  const found = [];
  for (let i = 0; i < count; i++) found.push(...await network.answer(examples.slice(i * width, (i + 1) * width)));
  const bytes = new Uint8Array(Float32Array.from(found).buffer);
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return btoa(text);
}
</script>""")


def answers_in_browser(content: bytes, examples: np.ndarray) -> np.ndarray | None:
    """Returns what LiteRT.js answers in headless Chromium.

    Args:
        content: A TFLite file that takes one example per call, as float32.
        examples: Raw examples of any numeric dtype, `(examples, ...)`.

    Returns:
        The answers, float32 `(examples, values)`; None if there is no Chromium or Chrome on this machine.

    Raises:
        BrowserError: the browser refuses the file, or does not start.
    """
    if find_chromium() is None or not len(examples):
        return None
    (answers,) = run_in_browser([(content, examples)])
    if isinstance(answers, BrowserError):
        raise answers
    return answers


def run_in_browser(files: Sequence[tuple[bytes, np.ndarray]]) -> list[np.ndarray | BrowserError]:
    """Runs several files in one browser, each in a page of its own.

    Args:
        files: TFLite files and their examples, as in `answers_in_browser`.

    Returns:
        The answers of each file, float32 `(examples, values)`, or why the browser refuses it.

    Raises:
        BrowserError: there is no Chromium, or it does not start.
    """
    path = find_chromium()
    if path is None:
        raise BrowserError("There is no Chromium or Chrome on this computer.")
    with tempfile.TemporaryDirectory() as folder, Chromium(path) as browser:
        return [_answers(browser, Path(folder) / "check.html", content, examples) for content, examples in files]


def _answers(browser: Chromium, page: Path, content: bytes, examples: np.ndarray) -> np.ndarray | BrowserError:
    text = _PAGE.substitute(
        file=text_of(gzip.compress(content, mtime=0)),
        examples=text_of(np.ascontiguousarray(examples, "<f4").tobytes()),
        program=runtime_program(),
        **runtime_texts(),
    )
    page.write_text(text, encoding="utf-8")
    browser.open(page)
    try:
        answers = browser.run(f"answers({len(examples)})")
    except BrowserError as error:
        return error
    return np.frombuffer(base64.b64decode(answers), "<f4").reshape(len(examples), -1)
