"""Commands of the command line, called in this process."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kerasmlp.cli import main


def json_of(capfd: pytest.CaptureFixture[str], *argv: str) -> Any:
    """Returns what a command prints with `--json`; it must succeed."""
    assert main([*argv, "--json"]) == 0, capfd.readouterr().err
    return json.loads(capfd.readouterr().out)
