"""What libraries print: hidden, without hiding anything that Python code prints."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import pytest

from kerasmlp._system.library_output import hidden_library_output, quiet_libraries
from kerasmlp.errors import KerasMLPWarning

PROGRAM = """
import atexit, logging, os, sys, warnings
from kerasmlp._system.library_output import hidden_library_output, hide_library_output_at_exit
logging.basicConfig(format="%(message)s")  # its handler keeps a reference to `sys.stderr`
atexit.register(lambda: print("at exit", file=sys.stderr, flush=True))
class Loud:
    write = os.write
    def __del__(self): self.write(2, b"library: deleted\\n")
Loud.write = staticmethod(os.write)
hide_library_output_at_exit(Loud())
with hidden_library_output():
    os.write(2, b"library: hidden\\n")
    os.system("echo library: a child process >&2")
    logging.getLogger("tensorflow").warning("library: 5 out of the last 5 calls triggered retracing")
    print("progress", file=sys.stderr)
    with hidden_library_output():
        os.write(2, b"library: nested\\n")
    os.write(2, b"library: still hidden\\n")
    warnings.warn("a warning")
    logging.getLogger("mine").warning("my logger")
os.write(2, b"visible again\\n")
logging.getLogger("tensorflow").warning("its logger, too")
with hidden_library_output(verbose=2):
    os.write(2, b"on request\\n")
"""


def test_only_what_libraries_print_is_hidden(tmp_path: Path) -> None:
    ran = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert "library" not in ran.stderr
    # Python shows no line of code for the warning, because the program is not in a file.
    lines = [line.split(": ")[-1] for line in ran.stderr.splitlines()]
    assert lines == ["progress", "a warning", "my logger", "visible again", "its logger, too", "on request", "at exit"]


def test_an_exception_carries_what_the_library_printed(capfd: pytest.CaptureFixture[str]) -> None:
    def call() -> None:
        with hidden_library_output():
            os.write(2, b"node 3 (SOFTMAX) failed to prepare\n")
            raise RuntimeError("cannot run")

    with pytest.raises(RuntimeError, match="cannot run") as caught:
        call()
    assert "node 3 (SOFTMAX)" in caught.value.__notes__[0]
    os.write(2, b"visible\n")
    assert capfd.readouterr().err == "visible\n"


def test_blocks_of_several_threads_end_in_any_order(capfd: pytest.CaptureFixture[str]) -> None:
    entered, leave = threading.Event(), threading.Event()

    def call() -> None:
        with hidden_library_output():
            entered.set()
            leave.wait(60)

    thread = threading.Thread(target=call)
    with hidden_library_output():
        thread.start()
        entered.wait(60)
    os.write(2, b"hidden: the other thread is in a library\n")
    leave.set()
    thread.join()
    os.write(2, b"visible\n")
    assert capfd.readouterr().err == "visible\n"


def test_a_command_shows_warnings_of_kerasmlp_and_keeps_stdout_clean(capfd: pytest.CaptureFixture[str]) -> None:
    def command() -> None:
        with quiet_libraries():
            os.write(2, b"library\n")
            print("printed by a library")
            warnings.warn("an old name", DeprecationWarning, stacklevel=1)
            warnings.warn("few examples", KerasMLPWarning, stacklevel=1)

    with pytest.warns(KerasMLPWarning, match="few examples") as caught:
        command()
    assert len(caught) == 1
    out, err = capfd.readouterr()
    assert (out, err) == ("", "printed by a library\n")


def test_importing_tensorflow_after_kerasmlp_prints_nothing_unless_asked(tmp_path: Path) -> None:
    (tmp_path / "tensorflow.py").write_text("import os\nos.write(2, b'I0000 cudart_stub.cc:31\\n')")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    environment.pop("TF_CPP_MIN_LOG_LEVEL", None)
    command = [sys.executable, "-c", "import kerasmlp, tensorflow"]
    ran = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert ran.stderr == ""
    environment["TF_CPP_MIN_LOG_LEVEL"] = "0"
    ran = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert ran.stderr == "I0000 cudart_stub.cc:31\n"
