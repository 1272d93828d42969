"""ONNX files, computed by ONNX Runtime."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from kerasmlp._system.library_output import hidden_library_output
from kerasmlp._system.optional_packages import require_extra
from kerasmlp.artefacts.onnx_contents import OnnxContents, read_onnx_contents
from kerasmlp.artefacts.protocol import Artefact, ArtefactFormat
from kerasmlp.card import Card
from kerasmlp.errors import InvalidValue
from kerasmlp.tasks.task import Task

EXTRA, RUNTIME = "onnx", "onnxruntime"
_ONLY_FATAL = 4  # of ONNX Runtime's levels of messages; errors are raised as well


@dataclass(frozen=True)
class OnnxFile(Artefact):
    """An ONNX file that takes one input and returns one of `contract.MAIN_OUTPUTS`, and maybe what follows from it."""

    path: Path
    precision: str
    feature_shape: tuple[int, ...]
    num_outputs: int
    card: Card | None
    contents: OnnxContents
    session: Any = field(repr=False)
    format: str = field(default="onnx", init=False)

    @property
    def task(self) -> Task:
        """What the network learnt. Without a card, its outputs tell."""
        return self.contents.task(self.path)

    def run_batch(self, features: np.ndarray) -> np.ndarray:
        """Computes the main output."""
        return self.run_outputs(features, self.contents.main.name)[0]

    def run_outputs(self, features: np.ndarray, *names: str) -> list[np.ndarray]:
        """Computes outputs by their names, for raw features `(batch, *feature_shape)` of any numeric dtype."""
        try:
            with naming_the_runtime():
                values: list[np.ndarray] = self.session.run(
                    names, {self.contents.inputs[0].name: features.astype(np.float32)}
                )
        except InvalidValue as error:
            raise InvalidValue(f"`{self.path}` {error}.") from error
        return values


def open_session(content: bytes) -> Any:
    """Returns a session of ONNX Runtime, on one thread, for the bytes of a file.

    Raises:
        InvalidValue: ONNX Runtime is not installed or cannot run the file. The latter's message continues a sentence
            that starts with the file's name.
    """
    require_extra(EXTRA, RUNTIME, what="Computing with an ONNX file")
    with hidden_library_output():  # it looks for graphics cards when it is imported, and says so
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = _ONLY_FATAL
        with naming_the_runtime():  # without a second trial of the same provider, of which it would tell on stdout
            return onnxruntime.InferenceSession(
                content, options, providers=["CPUExecutionProvider"], enable_fallback=False
            )


@contextmanager
def naming_the_runtime() -> Iterator[None]:
    """Turns an exception of ONNX Runtime, of which each kind has a class of its own, into an `InvalidValue`.

    Raises:
        InvalidValue: ONNX Runtime failed. The message continues a sentence that starts with the file's name.
    """
    try:
        yield
    except Exception as error:
        # Its messages quote the file. In a damaged file, they may not be text.
        if not type(error).__module__.startswith(RUNTIME) and not isinstance(error, UnicodeDecodeError):
            raise
        reason = str(error).strip().splitlines()[0].rstrip(".")
        raise InvalidValue(f"cannot be run by ONNX Runtime: {reason}") from error


def _matches(path: str) -> bool:
    return Path(path).suffix == ".onnx" and not Path(path).is_dir()


def _open(path: str, timeout_s: float) -> Artefact:
    require_extra(EXTRA, RUNTIME, what="Computing with an ONNX file")
    file = Path(path)
    content = file.read_bytes()
    contents = read_contents_of(file, content)
    try:
        session = open_session(content)
    except InvalidValue as error:
        raise InvalidValue(f"`{path}` {error}.") from error
    task = contents.task(path)
    return OnnxFile(
        file, contents.precision, contents.inputs[0].shape[1:], task.width, contents.card, contents, session
    )


def read_contents_of(path: Path, content: bytes | None = None) -> OnnxContents:
    """Returns what a file contains, without ONNX Runtime.

    Args:
        path: The file.
        content: Its bytes, if they have been read already.

    Raises:
        InvalidValue: it is not an ONNX file of a network, or it is damaged.
    """
    try:
        return read_onnx_contents(path.read_bytes() if content is None else content)
    except InvalidValue as error:
        raise InvalidValue(f"`{path}` {str(error).rstrip('.')}.") from error


ONNX_FILE: ArtefactFormat = ArtefactFormat("an `.onnx` file", _matches, _open)
