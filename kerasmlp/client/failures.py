"""What can go wrong with a model server, one sentence for each failure, and when a request is retried."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from kerasmlp.client.address import Address
from kerasmlp.errors import ServerError as ServerError

FIRST_WAIT_S = 0.1  # before the second try; doubled before each further try
MAX_QUOTE_LENGTH = 400  # characters of a server's own message
_CHECK = "assertion failed: "

Answer = TypeVar("Answer")


class TemporaryFailure(Exception):
    """The server was unreachable, busy, or closed the connection. Predictions are idempotent, so retrying is safe."""


class TimedOut(Exception):
    """The server did not send a complete answer in the time that was left."""


def with_retries(ask: Callable[[float], Answer], address: Address, *, timeout_s: float, retries: int) -> Answer:
    """Returns what `ask` returns, and calls it again after each `TemporaryFailure`.

    Args:
        ask: Sends the request. Its argument is the number of seconds left, at least 0.001.
        address: The address of the model, for messages.
        timeout_s: Seconds for all tries together, including the waits between them.
        retries: How many more tries follow the first one.

    Raises:
        ServerError: all tries failed, or the time is over.
    """
    start = time.monotonic()
    for tries in range(1, retries + 2):
        try:
            return ask(max(start + timeout_s - time.monotonic(), 0.001))
        except TemporaryFailure as error:
            wait_s = FIRST_WAIT_S * 2 ** (tries - 1)
            seconds = time.monotonic() - start
            if tries > retries or seconds + wait_s >= timeout_s:
                times = "once" if tries == 1 else f"{tries} times in {seconds:.1f} s"
                raise ServerError(f"{error} (Tried {times}.)") from error
            time.sleep(wait_s)
        except TimedOut as error:
            raise ServerError(
                f"`{address.url}` did not answer within {timeout_s:.3g} s. The server is overloaded or hangs, or "
                "`timeout_s` is too short."
            ) from error
    raise AssertionError("the last try returns or raises")


def unreachable(address: Address, reason: str) -> TemporaryFailure:
    """Returns the failure of a server that cannot be reached."""
    return TemporaryFailure(
        f"No server answers at `{address.url}` ({reason}). Start TF Serving there, or correct the host and the port."
    )


def disconnected(address: Address) -> TemporaryFailure:
    """Returns the failure of a connection that ended in the middle of an answer."""
    return TemporaryFailure(
        f"`{address.url}` closed the connection before its answer was complete. See the server's log for the reason."
    )


def busy(address: Address, message: str) -> TemporaryFailure:
    """Returns the failure of a server that says it cannot answer now."""
    return TemporaryFailure(f"`{address.url}` is too busy or not ready yet: {quoted(message)}.")


def not_served(address: Address, message: str) -> ServerError:
    """Returns the error for a model or version that the server does not know."""
    which, advice = (
        "",
        "Compare it with the name in the server's command or configuration.",
    )
    if address.version is not None or address.label is not None:
        which = f" in version {address.version}" if address.label is None else f" with the label `{address.label}`"
        advice = (
            "To see which versions it serves, remove the end of the URL after the model's name and call `status()` or "
            "run `kerasmlp info`."
        )
    return ServerError(
        f"The server at `{address.server}` does not serve a model `{address.model}`{which} ({quoted(message)}). "
        f"{advice}"
    )


def failed(address: Address, message: str) -> ServerError:
    """Returns the error for a server that reports a fault of its own."""
    return ServerError(f"`{address.url}` failed to answer: {quoted(message)}. See the server's log.")


def untrusted(address: Address, reason: str, *, variable: str) -> ServerError:
    """Returns the error for a server whose certificate is not trusted."""
    return ServerError(
        f"The certificate of `{address.url}` is not trusted ({reason}). If you trust the server, set the environment "
        f"variable {variable} to the path of its certificate authority's certificate."
    )


def not_tf_serving(address: Address, what: str) -> ServerError:
    """Returns the error for an answer that TF Serving would not give."""
    return ServerError(
        f"`{address.url}` does not answer as TF Serving does: {quoted(what)}. Another program may use that port; TF "
        "Serving's usual ports are 8501 for `http://` and 8500 for `grpc://`."
    )


def unexpected(address: Address, what: str) -> ServerError:
    """Returns the error for an answer of TF Serving that contradicts the model's signature or is not a classifier's.

    Args:
        address: The address of the model.
        what: What the model does, such as "answered no `probabilities`".
    """
    return ServerError(f"`{address.url}` {what}. The model is damaged, or is not a classifier exported by kerasmlp.")


def quoted(message: str) -> str:
    r"""Returns the first line of a server's message without its full stop and without the brackets of graph checks.

    Example:
        >>> quoted("assertion failed: [`image` needs values up to 16; received] [99]\n\t [[{{node Assert}}]]")
        '`image` needs values up to 16; received 99'
    """
    line = next((line.strip() for line in message.splitlines() if line.strip()), "no reason given")
    if line.startswith(_CHECK):
        line = line.removeprefix(_CHECK).strip("[]").replace("] [", " ")
    return line[:MAX_QUOTE_LENGTH].rstrip(".")
