"""`answers_in_browser`: runs a TFLite file in a real browser, with the runtime that the pages hold."""

from __future__ import annotations

import base64
import gzip
import tempfile
from pathlib import Path
from string import Template

import numpy as np

from kerasmlp.export.web.chromium import Chromium, find_chromium
from kerasmlp.export.web.page import runtime_program, runtime_texts, text_of
from kerasmlp.export.web.page_contents import packed_floats

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
        examples: Raw examples, `(examples, ...)`.

    Returns:
        The answers, float32 `(examples, values)`; None if there is no Chromium or Chrome on this machine.

    Raises:
        BrowserError: the browser refuses the file, or does not start.
    """
    path = find_chromium()
    if path is None or not len(examples):
        return None
    page = _PAGE.substitute(
        file=text_of(gzip.compress(content, mtime=0)),
        examples=packed_floats(examples),
        program=runtime_program(),
        **runtime_texts(),
    )
    with tempfile.TemporaryDirectory() as folder, Chromium(path) as browser:
        (Path(folder) / "check.html").write_text(page, encoding="utf-8")
        browser.open(Path(folder) / "check.html")
        answers = browser.run(f"answers({len(examples)})")
    return np.frombuffer(base64.b64decode(answers), "<f4").reshape(len(examples), -1)
