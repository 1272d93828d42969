"""Every error and warning of kerasmlp.

This is their hierarchy::

    KerasMLPError
    ├── RequestError            the request cannot be met as it was made; exit status 2 on the command line
    │   ├── InvalidValue        also a ValueError
    │   ├── InvalidType         also a TypeError
    │   ├── NotFound            also a FileNotFoundError
    │   └── OutputExists        also a FileExistsError
    └── WorkFailed              the request was fine, but the work failed; exit status 1; also a RuntimeError
        ├── LossNotFinite       also an ArithmeticError
        ├── XlaUnsupported
        ├── WorkerLost
        ├── ChiefLost           also a ConnectionError
        ├── ParityError
        ├── BrowserError
        └── ServerError

    KerasMLPWarning             also a UserWarning

Each error is also the built-in exception that a Python program would catch.
"""

import difflib
from collections.abc import Iterable, Sequence
from typing import Any


class KerasMLPError(Exception):
    """Base class of all errors that kerasmlp raises on purpose."""


class RequestError(KerasMLPError):
    """The request cannot be met. The message says what was received, what was expected and what to do."""


class InvalidValue(RequestError, ValueError):
    """A value that is not allowed."""


class InvalidType(RequestError, TypeError):
    """A value of the wrong type."""


class NotFound(RequestError, FileNotFoundError):
    """An input file or folder that does not exist."""


class OutputExists(RequestError, FileExistsError):
    """An output that would overwrite something."""


class WorkFailed(KerasMLPError, RuntimeError):
    """The request was fine, but the work failed."""


class LossNotFinite(WorkFailed, ArithmeticError):
    """The loss became NaN or infinite. Training stopped; the best model so far is kept."""


class XlaUnsupported(WorkFailed):
    """XLA cannot compile the model, and `require_xla` is set."""


class WorkerLost(WorkFailed):
    """Another worker of a distributed training stopped while this one waited for its gradients."""


class ChiefLost(WorkFailed, ConnectionError):
    """The chief of a search over several machines does not answer, so this worker stops."""


class ParityError(WorkFailed):
    """An artefact does not compute what its Keras model computes. It was not published.

    Attributes:
        reports: An `ArtefactReport` for each artefact of the same export, the published ones included. It is empty if
            nothing else was exported.
    """

    def __init__(self, message: str, reports: Sequence[Any] = ()) -> None:
        """Takes the message and the reports."""
        super().__init__(message)
        self.reports = tuple(reports)


class BrowserError(WorkFailed):
    """A browser that was to run a page did not start or answer, or the page raised an exception."""


class ServerError(WorkFailed):
    """A model server is down, slow or overloaded, serves another model, or gave an unexpected answer."""


class KerasMLPWarning(UserWarning):
    """Something the user should know that does not stop the work, such as a class with very few examples."""


def shortened(text: str, length: int = 60) -> str:
    """Returns a text on one line, with an ellipsis if it has more than `length` characters.

    Example:
        >>> shortened("short"), shortened("a rather   long text", 12)
        ('short', 'a rather ...')
    """
    text = " ".join(text.split())
    return text if len(text) <= length else f"{text[: length - 3]}..."


def nearest(name: str, known: Iterable[str]) -> str:
    """Returns the part of a message that suggests the known name closest to `name`, or an empty string.

    Example:
        >>> nearest("mnits", ["mnist", "digits"])
        ' Did you mean `mnist`?'
        >>> nearest("MNIST", ["mnist", "digits"])
        ' Did you mean `mnist`?'
        >>> nearest("parrot", ["mnist", "digits"])
        ''
    """
    by_small_letters = {each.lower(): each for each in known}
    matches = difflib.get_close_matches(name.lower(), by_small_letters, n=1, cutoff=0.6)
    return f" Did you mean `{by_small_letters[matches[0]]}`?" if matches else ""
