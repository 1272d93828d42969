"""`build_page`: puts a network, the runtime and the page's own program into one HTML file, and takes the file out."""

from __future__ import annotations

import base64
import gzip
import html
import json
import re
from functools import cache
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

from kerasmlp import __version__
from kerasmlp.errors import InvalidValue
from kerasmlp.export.browser.runtime_files import VERSION, licence, runtime_program, runtime_texts, text_of

if TYPE_CHECKING:
    from collections.abc import Mapping

_SOURCES = Path(__file__).parent / "page"
_PROGRAM = ("table_form.js", "pictures.js", "image_pad.js", "answers.js", "app.js")
_LEADS = {
    ("image", True): "Draw an image like those of training, or drop a picture.",
    ("image", False): "Drop a picture like those of training, or draw one.",
    ("columns", False): "Change the values, and read the answer.",
}
_FILE = re.compile(r'<script type="text/plain" id="file">([A-Za-z0-9+/=]+)</script>')


def build_page(contents: Mapping[str, Any], file: bytes) -> str:
    """Returns the page as HTML.

    Args:
        contents: What `contents_of_page` returns.
        file: The TFLite file.
    """
    source = contents["input"]
    return Template(_source("page.html")).substitute(
        version=__version__,
        title=html.escape(contents["name"]),
        lead=_LEADS[source["kind"], source.get("style", {}).get("drawn", False)],
        style=_source("style.css"),
        # A text such as `</script>` in a class's name must not end the element.
        contents=json.dumps(contents, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c"),
        program=runtime_program() + "".join(map(_source, _PROGRAM)),
        runtime_version=VERSION,
        licence=html.escape(licence()),
        **runtime_texts(),
        file=text_of(gzip.compress(file, 9, mtime=0)),
    )


def file_in_page(page: str) -> bytes:
    """Returns the TFLite file in a page.

    Raises:
        InvalidValue: there is none, or it is damaged.
    """
    found = _FILE.search(page)
    try:
        if found is not None:
            return gzip.decompress(base64.b64decode(found[1]))
    except (OSError, EOFError, ValueError) as error:
        raise InvalidValue(f"The network in the page is damaged: {error}.") from error
    raise InvalidValue("The page holds no network; expected one that `export_web` wrote.")


@cache
def _source(name: str) -> str:
    return (_SOURCES / name).read_text(encoding="utf-8")
