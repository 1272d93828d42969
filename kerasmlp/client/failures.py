"""What can go wrong with a model server, one sentence for each failure, and when a request is sent again."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from typing import TypeVar

from kerasmlp.client.address import Address
from kerasmlp.errors import InvalidValue, KerasMLPError
from kerasmlp.errors import ServerError as ServerError

FIRST_WAIT_S, LONGEST_WAIT_S = 0.1, 1.0  # before the second try; doubled before each further try
FIRST_CONTACT_S = 10.0  # how long a server that has never answered is waited for: its address may be mistyped
NOTE_AFTER_S = 1.0  # nobody should wait longer without knowing why
SHORTEST_TRY_S = 0.02  # no try starts later than this before the deadline
MAX_QUOTE_LENGTH = 400  # characters of a server's own message
CONNECTING = "while the client was connecting"
_CHECK = "assertion failed: "
_logger = logging.getLogger("kerasmlp.client")

Answer = TypeVar("Answer")


class NoAnswer(Exception):
    """The server could not be reached, or the connection ended before its answer was complete."""


class Busy(Exception):
    """The server answered that it cannot answer now."""


class TimedOut(Exception):
    """The time was over before the answer was complete."""


class Retries:
    """When one client sends a request again. Predictions are idempotent, so this is safe.

    - While there is no answer at all, the request is sent until the time is over: the server may be restarting.
      A server that has never answered this client gets 10 seconds, because its address may be mistyped.
    - After an answer that says the server is busy, it is sent at most `retries` times more.
    - All other answers are final.

    Waits between tries double from 0.1 s to 1 s. They are random between half of that and all of it, so that the
    clients of a server that comes back do not all return at the same moment.
    """

    def __init__(self, address: Address, *, timeout_s: float, retries: int) -> None:
        """Stores the seconds for one answer with all tries, and the number of tries after busy answers."""
        self._address, self._timeout_s, self._retries = address, timeout_s, retries
        self._has_answered = False

    def ask(self, send: Callable[[float], Answer]) -> Answer:
        """Returns what `send` returns. Its argument is the number of seconds left, at least 0.001.

        Raises:
            ServerError: there was no answer in time, the server stayed busy, or its answer cannot be used.
            InvalidValue: the server refuses the request.
        """
        start, tries, num_busy, is_noted = time.monotonic(), 0, 0, False
        failure: Exception | None = None
        while True:
            tries += 1
            try_s = max(start + self._timeout_s - time.monotonic(), 0.001)
            try:
                answer = send(try_s)
            except NoAnswer as error:
                failure = error
                limit_s = self._timeout_s if self._has_answered else min(self._timeout_s, FIRST_CONTACT_S)
            except Busy as error:
                failure, num_busy, self._has_answered = error, num_busy + 1, True
                limit_s = self._timeout_s if num_busy <= self._retries else 0
            except TimedOut as error:
                if failure is not None and try_s < self._timeout_s / 2:  # the earlier failures took most of the time
                    raise _gave_up(failure, tries, time.monotonic() - start) from failure
                raise ServerError(
                    f"`{self._address.url}` {error} within {self._timeout_s:.3g} s. The server is overloaded or hangs, "
                    "a firewall drops packets, or `timeout_s` is too short."
                ) from error
            except KerasMLPError:
                self._has_answered = True
                raise
            else:
                self._has_answered = True
                return answer
            seconds = time.monotonic() - start
            left_s = limit_s - seconds
            if left_s <= SHORTEST_TRY_S:
                raise _gave_up(failure, tries, seconds, is_first_contact=0 < limit_s < self._timeout_s) from failure
            if seconds >= NOTE_AFTER_S and not is_noted:
                is_noted = True
                _logger.warning("%s Trying again for up to %.3g s.", failure, left_s)
            longest_s = min(FIRST_WAIT_S * 2.0 ** min(tries - 1, 10), LONGEST_WAIT_S)
            time.sleep(min(random.uniform(0.5, 1) * longest_s, left_s / 2))


def _gave_up(failure: Exception, tries: int, seconds: float, *, is_first_contact: bool = False) -> ServerError:
    times = "once" if tries == 1 else f"{tries} times in {seconds:.1f} s"
    why = "; a server that has not answered before is not waited for longer" if is_first_contact else ""
    return ServerError(f"{failure} (Tried {times}{why}.)")


def unreachable(address: Address, reason: str) -> NoAnswer:
    """Returns the failure of a server that cannot be reached."""
    return NoAnswer(
        f"No server answers at `{address.url}` ({reason}). Start TF Serving there, or correct the host and the port."
    )


def disconnected(address: Address, *, when: str = "before its answer was complete", reason: str = "") -> NoAnswer:
    """Returns the failure of a connection that ended too early.

    Args:
        address: The address of the model.
        when: When it ended.
        reason: What the network library says, if anything.
    """
    why = f" ({reason})" if reason else ""
    advice = "The server may have been stopped or restarted: see its log."
    if when == CONNECTING:
        advice = "The server may be starting, or another kind of server may use that port."
    return NoAnswer(f"`{address.url}` closed the connection {when}{why}. {advice}")


def busy(address: Address, message: str) -> Busy:
    """Returns the failure of a server that says it cannot answer now."""
    return Busy(f"`{address.url}` is too busy or not ready yet: {quoted(message)}.")


def too_large(address: Address, message: str) -> InvalidValue:
    """Returns the error for a server, or a proxy before it, that takes no message of this size."""
    return InvalidValue(
        f"`{address.url}` refuses the request because of its size: {quoted(message)}. Send smaller examples, or raise "
        "the limit of the server or of the proxy before it. TF Serving takes 2 GiB; many proxies take 1 to 4 MiB."
    )


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
