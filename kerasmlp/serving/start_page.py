"""`render_start_page`: the page at `/`, which shows a person what is served and how to ask."""

from __future__ import annotations

import base64
import html
import json
import shlex
from typing import Any
from urllib.parse import quote

import numpy as np

from kerasmlp.client.tensor_types import STRING
from kerasmlp.contract import COLUMNS, IMAGE_BYTES, SERVING_DEFAULT
from kerasmlp.data.images import encode_png
from kerasmlp.serving.loaded_model import LoadedModel, default_signature
from kerasmlp.serving.served_models import ServedModels

_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>kerasmlp serve</title>
<style>
:root {{ color-scheme: light dark }}
body {{ font: 1rem/1.5 system-ui, sans-serif; max-width: 50rem; margin: 2rem auto; padding: 0 1rem }}
pre {{ overflow-x: auto; padding: .8rem; border: 1px solid #8886; border-radius: .4rem }}
</style>
<h1>Served models</h1>
{models}
<p><a href="/monitoring/prometheus/metrics">Metrics</a> &middot; <a href="/v2/health/ready">Health</a> &middot;
<a href="/v2">Open Inference Protocol</a></p>
</html>
"""
_MODEL = """<h2>{name}</h2>
<p>Version {version}: {signatures}. <a href="/v1/models/{url}">Status</a> &middot;
<a href="/v1/models/{url}/metadata">Metadata</a></p>
<pre>{curl}</pre>
"""


def render_start_page(models: ServedModels, address: str) -> bytes:
    """Returns the page as HTML.

    Args:
        models: What is served.
        address: The URL of the server.
    """
    parts = []
    for name in models.sources:
        version, loaded = models.find(name)
        signatures = ", ".join(f"<code>{html.escape(signature)}</code>" for signature in loaded.signatures)
        curl = html.escape(curl_line(address, name, loaded))
        parts.append(
            _MODEL.format(name=html.escape(name), url=quote(name), version=version, signatures=signatures, curl=curl)
        )
    return _PAGE.format(models="".join(parts)).encode()


def curl_line(address: str, name: str, model: LoadedModel) -> str:
    """Returns a line for a terminal that asks a model about one example: a black picture, or zeros and empty texts."""
    signature = next((known for known in (IMAGE_BYTES, COLUMNS) if known in model.signatures), default_signature(model))
    inputs = model.signatures[signature].inputs
    examples = {key: _zeros(spec.dtype, spec.shape[1:]) for key, spec in inputs.items()}
    if signature == IMAGE_BYTES:
        examples = {IMAGE_BYTES: {"b64": base64.b64encode(encode_png(np.zeros((8, 8), np.uint8))).decode()}}
    instance = next(iter(examples.values())) if len(examples) == 1 else examples
    chosen = {} if signature == SERVING_DEFAULT else {"signature_name": signature}
    content = json.dumps(chosen | {"instances": [instance]}, separators=(",", ":"))
    return f"curl {shlex.quote(f'{address}/v1/models/{quote(name)}:predict')} -d {shlex.quote(content)}"


def _zeros(dtype: str, shape: tuple[int | None, ...]) -> Any:
    if not shape:
        return {STRING: "", "bool": False}.get(dtype, 0)
    return [_zeros(dtype, shape[1:])] * (shape[0] or 1)
