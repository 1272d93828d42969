"""`kerasmlp serve`: a process that is started, asked and stopped; and wrong requests."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kerasmlp.cli import main
from kerasmlp.export.saved_model.exporting import write_saved_model
from kerasmlp.export.tflite.unchecked_file import float_file
from kerasmlp.run import Run
from kerasmlp.serving import local_server
from tests.helpers.commands import json_of

SECONDS = 60


@contextmanager
def _serving(*argv: str) -> Iterator[subprocess.Popen[str]]:
    """`kerasmlp serve` as a process, which is killed if it is still running at the end."""
    command = [sys.executable, "-m", "kerasmlp", "serve", *argv, "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def test_a_run_is_served_and_evaluated_like_the_run_itself(
    capfd: pytest.CaptureFixture[str], digits_run: Run, tmp_path: Path
) -> None:
    (tmp_path / "saved").mkdir()
    write_saved_model(digits_run.load_model(), digits_run.card, tmp_path / "saved" / "4")
    with _serving(str(digits_run.path), str(tmp_path / "saved"), "--grpc-port", "0", "--json") as process:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        assert [(model["name"], model["version"]) for model in ready["models"]] == [("digits", 1), ("saved", 4)]
        of_run = json_of(capfd, "evaluate", str(digits_run.path), "digits")
        for url in (ready["models"][0]["url"], ready["models"][1]["url"], f"{ready['grpc_url']}/digits"):
            served = json_of(capfd, "evaluate", url, "digits")
            assert served.keys() == of_run.keys()
            for key in ("accuracy", "examples", "confusion", "dataset", "same_data"):
                assert served[key] == of_run[key]
            assert served["loss"] == pytest.approx(of_run["loss"], abs=1e-5)
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=SECONDS)
    assert (process.returncode, out, err) == (0, "", "Stopped.\n")


def test_a_person_reads_the_url_and_a_line_to_try(digits_run: Run, tmp_path: Path) -> None:
    file = tmp_path / "a[" / "b]c" / "digits.tflite"  # what Rich would take for markup
    file.parent.mkdir(parents=True)
    file.write_bytes(float_file(digits_run))
    with _serving(f"seven={file}", "--log-requests") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        lines = [process.stdout.readline() for _ in range(4)]
        assert lines[0] == f"seven: version 1 of {file}, a .tflite file\n"
        (url,) = re.findall(r"Serving at (http://127\.0\.0\.1:\d+)\. Ctrl\+C stops it", lines[2])
        assert lines[3].strip().startswith(f"curl {url}/v1/models/seven:predict -d ")
        from kerasmlp.client import connect

        with connect(f"{url}/v1/models/seven") as client:
            assert client.probabilities(np.zeros((1, 8, 8))).shape == (1, 10)
        assert process.stderr.readline() == "GET /v1/models/seven/metadata\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(SECONDS) == 0


def _fails(capsys: pytest.CaptureFixture[str], message: str, *argv: str) -> None:
    assert main(["serve", *argv]) == 2
    out, err = capsys.readouterr()
    assert (out, len(err.splitlines())) == ("", 1)
    assert re.search(message, err), err


def test_wrong_requests_get_one_sentence_and_status_2(
    capsys: pytest.CaptureFixture[str], digits_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "digits.tflite"
    file.write_bytes(float_file(digits_run))
    (tmp_path / "notes.txt").touch()
    _fails(capsys, "nothing to serve at `missing`", "missing")
    _fails(capsys, "notes.txt` cannot be served; expected a `.tflite` or", str(tmp_path / "notes.txt"), "--port", "0")
    _fails(capsys, "`--port` needs a whole number from 0 to 65535; got 70000", str(file), "--port", "70000")
    _fails(capsys, "`--max-batch` needs .* at least 1; got 0", str(file), "--max-batch", "0")
    _fails(capsys, "both `--certificate` and `--key`", str(file), "--key", str(file))
    _fails(capsys, "`--certificate .*--key", str(file), "--certificate", str(file), "--key", str(file))
    _fails(capsys, "`--label`: `stable` needs version 77", str(file), "--label", "stable=77")
    _fails(capsys, "`--key` needs a file; got `no`", str(file), "--certificate", str(file), "--key", "no")
    with local_server._listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        _fails(capsys, rf"port {port} of 127.0.0.1 .* in use.*`--port`; `--port 0`", str(file), "--port", str(port))
    monkeypatch.setattr(local_server, "_PACKAGES", ("no_such_package",))
    _fails(capsys, r"needs the package no_such_package\. .*pip install 'kerasmlp\[serve\]'", str(file))


@pytest.mark.parametrize("label", ["stable", "=3", "stable=new"])
def test_labels_that_cannot_be_read_are_refused(capsys: pytest.CaptureFixture[str], label: Any) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["serve", "digits.tflite", "--label", label])
    assert f"stable=3`; got `{label}`" in capsys.readouterr().err


def test_help_does_not_load_tensorflow() -> None:
    code = (
        "import sys\nfrom kerasmlp.cli import main\n"
        "try:\n    main(['serve', '--help'])\nexcept SystemExit:\n    pass\n"
        "sys.exit(bool({'tensorflow', 'keras', 'uvicorn', 'numpy'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL, check=False).returncode == 0
