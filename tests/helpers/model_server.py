"""The real `tensorflow_model_server`, if it is installed, started with the files that an export writes."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path

import yaml

from kerasmlp.client import ServerError, connect
from kerasmlp.export import write_serving_files
from tests.helpers.own_server import wait_until

VARIABLE = "KERASMLP_MODEL_SERVER"
REASON = f"no tensorflow_model_server on PATH or in the variable {VARIABLE}"
SECONDS_TO_START, SECONDS_TO_END = 60, 20
LINES_OF_LOG = 40


def find_model_server() -> str | None:
    """Returns the path of the server program, or None if it is not installed.

    Raises:
        FileNotFoundError: the variable names something that cannot be run. Tests should fail then, not skip.
    """
    named = os.environ.get(VARIABLE)
    found = shutil.which(named or "tensorflow_model_server")
    if named and found is None:
        raise FileNotFoundError(f"{VARIABLE} names `{named}`, which cannot be run")
    return found


class ModelServer:
    """A process that serves the models in base folders."""

    def __init__(self, bases: Sequence[Path], folder: Path, *, flags: Sequence[str] = ()) -> None:
        """Writes the configuration to `folder`. Entering the context starts the server.

        Args:
            bases: Folders of numbered versions. The last part of each is the model's name.
            folder: A folder for the configuration and the log.
            flags: Additional flags of the server.
        """
        configuration, blocks = folder / "config", []
        for base in bases:
            files = {file.name: file for file in write_serving_files(base, configuration, overwrite=True)}
            text = files["models.config"].read_text()
            block = re.search(r"^model_config_list \{(.*)\}\s*\Z", text, re.DOTALL | re.MULTILINE)
            assert block, text
            assert f'"/models/{base.name}"' in block[1], text
            blocks.append(block[1].replace(f'"/models/{base.name}"', f'"{base}"'))
        files["models.config"].write_text(f"model_config_list {{{''.join(blocks)}}}\n")
        command = yaml.safe_load(files["compose.yaml"].read_text())["services"]["serving"]["command"]
        self._ports = _free_port(), _free_port()
        replaced = {"--port": str(self._ports[0]), "--rest_api_port": str(self._ports[1])}
        given = [*command, *flags]
        values = [(name, replaced.get(name, value)) for name, value in (flag.split("=", 1) for flag in given)]
        self._flags = [f"{name}={value}".replace("=/config/", f"={configuration}/") for name, value in values]
        self._names = [base.name for base in bases]
        self._log = folder / "log"
        self.grpc, self.rest = f"grpc://127.0.0.1:{self._ports[0]}", f"http://127.0.0.1:{self._ports[1]}"

    @property
    def log(self) -> str:
        """The server's output so far."""
        return self._log.read_text(errors="replace")

    def __enter__(self) -> ModelServer:
        binary = find_model_server()
        assert binary is not None, REASON
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [binary, *self._flags],
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "0"},
            )
        try:
            wait_until(self._is_ready, seconds=SECONDS_TO_START, what=f"the start of {self._flags}")
        except BaseException as error:
            self.__exit__()
            error.add_note("\n".join(["The end of the server's log:", *self.log.splitlines()[-LINES_OF_LOG:]]))
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _is_ready(self) -> bool:
        assert self._process.poll() is None, f"the server ended with status {self._process.returncode}"
        urls = [f"{self.grpc}/{name}" for name in self._names]
        urls += [f"{self.rest}/v1/models/{name}" for name in self._names]
        return all(_is_available(url) for url in urls)


def _is_available(url: str) -> bool:
    with connect(url, timeout_s=2, retries=0) as client:
        try:
            return any(status.state == "AVAILABLE" for status in client.status())
        except ServerError:
            return False


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
