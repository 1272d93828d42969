"""`Failure`: why a request gets no answer, by gRPC's status codes and HTTP's."""

from __future__ import annotations

INVALID_ARGUMENT, NOT_FOUND, FAILED_PRECONDITION = "INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION"
TOO_LARGE, UNIMPLEMENTED, INTERNAL, UNAVAILABLE = "RESOURCE_EXHAUSTED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE"

# HTTP's status for each gRPC code, as TF Serving chooses it; a body that is too large gets HTTP's own status.
HTTP_STATUS = {
    INVALID_ARGUMENT: 400,
    NOT_FOUND: 404,
    FAILED_PRECONDITION: 400,
    TOO_LARGE: 413,
    UNIMPLEMENTED: 501,
    UNAVAILABLE: 503,
}

MOST_CHARACTERS = 600  # of a message: gRPC sends it as metadata, up to 12 bytes a character within its 8 kB
_CHARACTERS_OF_END = 150


class Failure(Exception):
    """An answer whose status is not OK.

    Attributes:
        code: Name of a gRPC status code.
        message: One sentence for the client, without the middle of what is too long.
    """

    def __init__(self, code: str, message: str) -> None:
        """Takes the name of a gRPC status code and a message for the client."""
        super().__init__(message)
        self.code, self.message = code, sendable(message)

    @property
    def http_status(self) -> int:
        """The status over HTTP."""
        return HTTP_STATUS.get(self.code, 500)


def sendable(message: str) -> str:
    r"""Returns a message that every protocol can send: text that UTF-8 can hold, of at most `MOST_CHARACTERS`.

    Example:
        >>> sendable("half a character: \ud83d"), len(sendable("x" * 100_000))
        ('half a character: ?', 600)
    """
    if len(message) > MOST_CHARACTERS:
        message = f"{message[: MOST_CHARACTERS - _CHARACTERS_OF_END - 5]} ... {message[-_CHARACTERS_OF_END:]}"
    return message.encode("utf-8", "replace").decode()


def invalid(message: str) -> Failure:
    """Returns the failure of a wrong request.

    Example:
        >>> invalid("`image` needs values from 0 to 16.").http_status
        400
    """
    return Failure(INVALID_ARGUMENT, message)
