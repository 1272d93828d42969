"""The errors of a request that cannot be met as it was made: a sentence each, exit status 2 on the command line.

Each is also the built-in exception that Python programs expect (`ValueError`, `FileExistsError`, ...). The shared base
lets the command line tell a wrong request, which its user mends, from work that failed.
"""

import difflib
from collections.abc import Iterable


class RequestError(Exception):
    """Base of all errors that name what was received, what was expected and how to mend it."""


class InvalidValue(RequestError, ValueError):
    """A value outside what is possible."""


class InvalidType(RequestError, TypeError):
    """A value of the wrong kind."""


class NotFound(RequestError, FileNotFoundError):
    """An input file or folder that does not exist."""


class OutputExists(RequestError, FileExistsError):
    """An output that would replace something."""


def nearest(name: str, known: Iterable[str]) -> str:
    """The part of a message that suggests the known name nearest to `name`, or nothing.

    Example:
        >>> nearest("mnits", ["mnist", "digits"])
        ' Did you mean `mnist`?'
        >>> nearest("parrot", ["mnist", "digits"])
        ''
    """
    matches = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f" Did you mean `{matches[0]}`?" if matches else ""
