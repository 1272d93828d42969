"""Whether progress is displayed, also in processes that have no usual stderr."""

from __future__ import annotations

import subprocess
import sys

import pytest

from kerasmlp._system.terminal import messages_console, shows_progress
from kerasmlp.errors import InvalidValue


@pytest.mark.parametrize("stream", [None, object()])
def test_auto_displays_nothing_without_a_usual_stderr(stream: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", stream)
    assert shows_progress("auto") is False


def test_another_verbosity_is_rejected() -> None:
    with pytest.raises(InvalidValue, match="verbose.*3"):
        shows_progress(3)


def test_data_load_in_a_process_whose_stderr_is_closed() -> None:
    code = "import kerasmlp; print(len(kerasmlp.load_data('digits').train))"
    command = ["sh", "-c", f'exec "{sys.executable}" -c "{code}" 2>&-']
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "1295\n"


def test_messages_have_a_fixed_width_outside_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    assert messages_console().width == 160
