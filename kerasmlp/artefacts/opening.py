"""`open_artefact`: opens a trained network of any format. The formats are entries of `FORMATS`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from kerasmlp.artefacts.keras_file import KERAS_FILE, RUN_DIRECTORY
from kerasmlp.artefacts.onnx_file import ONNX_FILE
from kerasmlp.artefacts.protocol import Artefact
from kerasmlp.artefacts.saved_model_folder import SAVED_MODEL_FOLDER
from kerasmlp.artefacts.served_model import SERVED_MODEL
from kerasmlp.artefacts.tflite_file import TFLITE_FILE
from kerasmlp.contract import PAGE_SUFFIXES, TIMEOUT_S
from kerasmlp.errors import InvalidValue, NotFound

if TYPE_CHECKING:
    from os import PathLike

# The first format that matches a path opens it. To add a format, write its module and add its entry here.
FORMATS = (SERVED_MODEL, RUN_DIRECTORY, KERAS_FILE, SAVED_MODEL_FOLDER, TFLITE_FILE, ONNX_FILE)


def open_artefact(path: str | PathLike[str], *, timeout_s: float = TIMEOUT_S) -> Artefact:
    """Opens the trained network at `path`.

    Args:
        path: One of:

            - a run directory;
            - a `.keras` file;
            - a SavedModel folder, or a folder of numbered versions, of which the newest is opened;
            - a `.tflite` file;
            - an `.onnx` file, for which the extra `onnx` has to be installed;
            - the URL of a model that TF Serving serves, as `kerasmlp.client.connect` takes it, such as
              `http://localhost:8501/v1/models/digits`.
        timeout_s: Seconds to wait for each answer of a server, above 0. Defaults to 30.

    Raises:
        NotFound: nothing exists at `path`.
        InvalidValue: what exists there is not a network, or it is damaged.
        ServerError: the server is down, slow, serves another model, or gives an unexpected answer.

    See Also:
        `kerasmlp.evaluate`: tests an artefact on data.
        `kerasmlp.Run.open`: reads what a training recorded.

    Example:
        >>> import tempfile, kerasmlp
        >>> path = tempfile.mkdtemp() + "/small.keras"
        >>> kerasmlp.build_mlp([4, 8, 3], seed=0).save(path)
        >>> artefact = open_artefact(path)
        >>> artefact.format, artefact.feature_shape, artefact.num_classes
        ('keras', (4,), 3)
        >>> import numpy as np
        >>> artefact.probabilities(np.ones((5, 4))).shape
        (5, 3)
    """
    matching = [known for known in FORMATS if known.matches(str(path))]
    if matching and (matching[0] is SERVED_MODEL or Path(path).exists()):
        return matching[0].open(str(path), timeout_s)
    if not Path(path).exists():
        raise NotFound(f"There is no artefact `{path}`.")
    check_is_no_page(path)
    *descriptions, last = (known.description for known in FORMATS)
    raise InvalidValue(f"`{path}` is not an artefact; expected {', '.join(descriptions)} or {last}.")


def check_is_no_page(path: str | PathLike[str]) -> None:
    """Raises `InvalidValue` if `path` is a web page, whose network only browsers run."""
    page = Path(path)
    if page.suffix.lower() in PAGE_SUFFIXES and page.is_file():
        raise InvalidValue(
            f"`{path}` is a web page, which only browsers run; name the run that it was made from, or a `.tflite` file."
        )


def is_artefact(path: str | PathLike[str]) -> bool:
    """Returns whether `path` looks like an artefact rather than like data. Files are judged by their names.

    Example:
        >>> is_artefact("mobile/digits_int8.tflite"), is_artefact("flowers.csv")
        (True, False)
    """
    return any(known.matches(str(path)) for known in FORMATS)
