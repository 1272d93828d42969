"""What can go wrong with a server, in a sentence each, and the patience that a client has with it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from kerasmlp.client.address import Address
from kerasmlp.errors import ServerError

FIRST_WAIT_S = 0.1  # before the second try; doubled before each further one
LONGEST_QUOTE = 400  # characters of a server's own message
_CHECK = "assertion failed: "

Answer = TypeVar("Answer")


class Unanswered(Exception):
    """A request that may be sent again: it met no server, or one that was busy or died. Predictions change nothing."""


class TimeIsUp(Exception):
    """There was no whole answer in the time that was left for it."""


def with_patience(ask: Callable[[float], Answer], address: Address, *, timeout_s: float, retries: int) -> Answer:
    """What `ask` returns, called again as long as it raises `Unanswered`, until time or tries are used up.

    Args:
        ask: Called with the seconds that are left.
        address: Whom it asks.
        timeout_s: Seconds for all tries and the waits between them.
        retries: Tries after the first.

    Raises:
        ServerError: time or tries are used up.
    """
    start = time.monotonic()
    for tries in range(1, retries + 2):
        try:
            return ask(max(start + timeout_s - time.monotonic(), 0.001))
        except Unanswered as error:
            wait_s = FIRST_WAIT_S * 2 ** (tries - 1)
            seconds = time.monotonic() - start
            if tries > retries or seconds + wait_s >= timeout_s:
                times = "once" if tries == 1 else f"{tries} times in {seconds:.1f} s"
                raise ServerError(f"{error} (Tried {times}.)") from error
            time.sleep(wait_s)
        except TimeIsUp as error:
            raise ServerError(
                f"`{address.url}` has not answered in {timeout_s:.3g} s; the server is overloaded or hangs, or "
                "`--timeout` (`timeout_s`) is too short."
            ) from error
    raise AssertionError("the last try returns or raises")


def down(address: Address, reason: str) -> Unanswered:
    """Nobody listens there, or not any more."""
    return Unanswered(
        f"No server answers at `{address.url}` ({reason}); start TF Serving there, or correct host and port."
    )


def broken_off(address: Address) -> Unanswered:
    """The connection ended before the answer did."""
    return Unanswered(f"`{address.url}` broke off before its answer was whole; see the server's log.")


def busy(address: Address, message: str) -> Unanswered:
    """The server says that it cannot answer now."""
    return Unanswered(f"`{address.url}` is too busy or not ready: {quoted(message)}.")


def not_served(address: Address, message: str) -> ServerError:
    """The server knows no such model or version."""
    which = "" if address.version is None else f" in version {address.version}"
    which = which if address.label is None else f" as `{address.label}`"
    mend = "compare the name with the server's `--model_name` or model configuration"
    if which:
        mend = "`kerasmlp info` on the address without its end tells which versions it serves"
    return ServerError(
        f"The server at `{address.server}` does not serve a model `{address.model}`{which} ({quoted(message)}); {mend}."
    )


def failed(address: Address, message: str) -> ServerError:
    """The server says that the fault is its own."""
    return ServerError(f"`{address.url}` failed to answer: {quoted(message)}; see the server's log.")


def untrusted(address: Address, reason: str, *, variable: str) -> ServerError:
    """The server's certificate is not one to believe."""
    return ServerError(
        f"The certificate of `{address.url}` is not trusted ({reason}); let the variable {variable} name a file with "
        "that of its authority."
    )


def nonsense(address: Address, what: str) -> ServerError:
    """The answer is none of TF Serving's."""
    return ServerError(
        f"`{address.url}` does not answer as TF Serving does: {quoted(what)}; is another program on that port? Usually "
        "8501 is for `http://` and 8500 for `grpc://`."
    )


def unfit(address: Address, what: str) -> ServerError:
    """The answer is TF Serving's, but not what the model's signature promises or a classifier can say."""
    return ServerError(f"`{address.url}` answered {what}; it serves no classifier of kerasmlp's, or a damaged one.")


def quoted(message: str) -> str:
    r"""The first line of a server's message, without its full stop and the brackets of a check in the graph.

    Example:
        >>> quoted("assertion failed: [`image` needs values up to 16; received] [99]\n\t [[{{node Assert}}]]")
        '`image` needs values up to 16; received 99'
    """
    line = next((line.strip() for line in message.splitlines() if line.strip()), "no reason given")
    if line.startswith(_CHECK):
        line = line.removeprefix(_CHECK).strip("[]").replace("] [", " ")
    return line[:LONGEST_QUOTE].rstrip(".")
