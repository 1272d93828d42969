"""`Failure`: why a request gets no answer, by gRPC's status codes and HTTP's."""

from __future__ import annotations

INVALID_ARGUMENT, NOT_FOUND, FAILED_PRECONDITION = "INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION"
TOO_LARGE, UNIMPLEMENTED, INTERNAL = "RESOURCE_EXHAUSTED", "UNIMPLEMENTED", "INTERNAL"

# HTTP's status for each gRPC code, as TF Serving chooses it; a body that is too large gets HTTP's own status.
HTTP_STATUS = {INVALID_ARGUMENT: 400, NOT_FOUND: 404, FAILED_PRECONDITION: 400, TOO_LARGE: 413, UNIMPLEMENTED: 501}


class Failure(Exception):
    """An answer whose status is not OK.

    Attributes:
        code: Name of a gRPC status code.
        message: One sentence for the client.
    """

    def __init__(self, code: str, message: str) -> None:
        """Takes the name of a gRPC status code and a message for the client."""
        super().__init__(message)
        self.code, self.message = code, message

    @property
    def http_status(self) -> int:
        """The status over HTTP."""
        return HTTP_STATUS.get(self.code, 500)


def invalid(message: str) -> Failure:
    """Returns the failure of a wrong request.

    Example:
        >>> invalid("`image` needs values from 0 to 16.").http_status
        400
    """
    return Failure(INVALID_ARGUMENT, message)
