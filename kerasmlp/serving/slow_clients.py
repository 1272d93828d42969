"""Connections of clients that send or read too slowly are closed, so that they cannot use up the server."""

from __future__ import annotations

import asyncio
import math
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MOST_HEAD_BYTES = 2**16


def _refusal(status: bytes, sentence: bytes) -> bytes:
    content = b'{"error":"%b"}' % sentence
    head = b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
    return head % (status, len(content)) + content


_LATE = _refusal(b"408 Request Timeout", b"The request did not arrive within the time limit.")
_LARGE_HEAD = _refusal(b"431 Request Header Fields Too Large", b"The head of the request is larger than 64 kB.")


class WatchedProtocol(HttpToolsProtocol):
    """A connection that knows since when it waits for the rest of a request, and for its client to read an answer."""

    def connection_made(self, transport: Any) -> None:
        """Begins to wait for the first request."""
        if len(self.connections) + 1 >= (self.limit_concurrency or math.inf):
            self._close_the_longest_idle()
        super().connection_made(transport)
        self.waits_since: float | None = self.loop.time()
        self.idle_since = self.loop.time()
        self.unread, self.unread_since = 0, 0.0
        self.num_head_bytes = self.num_new_bytes = 0
        self.in_head, self.has_no_body = True, True

    def data_received(self, data: bytes) -> None:
        """Takes bytes, and refuses heads and trailers without end.

        The parser reports a line of a head only when it is complete. So bytes among which nothing but lines of a head
        were found are counted as they arrive. Others are counted by line, because they may belong to several requests.
        """
        self.has_no_body, self.num_new_bytes = True, 0
        super().data_received(data)
        self.num_head_bytes += len(data) if self.has_no_body else self.num_new_bytes
        self.num_new_bytes = 0
        if self.num_head_bytes > MOST_HEAD_BYTES:
            self._refuse_head()

    def on_message_begin(self) -> None:
        """Begins to wait for the rest of a request."""
        super().on_message_begin()
        self.waits_since = self.loop.time()
        self.in_head, self.num_head_bytes, self.num_new_bytes = True, 0, 0

    def on_url(self, url: bytes) -> None:
        """Takes a part of the path."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Takes a line of the head. Lines behind the body are dropped."""
        self._count(len(name) + len(value))
        if self.in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Notes that the body follows."""
        self.in_head = False
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Takes a part of the body. What has been counted so far was in order."""
        self.has_no_body, self.num_head_bytes, self.num_new_bytes = False, 0, 0
        super().on_body(body)

    def on_response_complete(self) -> None:
        """Notes that the client has got its answer."""
        self.idle_since = self.loop.time()
        super().on_response_complete()

    @property
    def is_idle(self) -> bool:
        """Whether the client neither waits for an answer nor has begun a request."""
        has_answers = self.cycle is None or self.cycle.response_complete
        return has_answers and not self.num_head_bytes and not self.transport.is_closing()

    def _close_the_longest_idle(self) -> None:
        """Makes room for a new connection, so that idle ones cannot keep others out."""
        idle = [each for each in self.connections if isinstance(each, WatchedProtocol) and each.is_idle]
        if idle:
            longest = min(idle, key=lambda each: each.idle_since)
            longest.transport.close()
            self.connections.discard(longest)  # it counts no longer, although its end is noticed only later

    def send_400_response(self, msg: str) -> None:
        """Answers a request that the parser could not read, or of which it was told to stop reading."""
        if self.num_head_bytes + self.num_new_bytes > MOST_HEAD_BYTES:
            self._refuse_head()
        else:
            super().send_400_response(msg)

    def _count(self, size: int) -> None:
        self.num_new_bytes += size
        if self.num_head_bytes + self.num_new_bytes > MOST_HEAD_BYTES:
            raise ValueError("the head is too large")  # ends the parser's work, which calls `send_400_response`

    def _refuse_head(self) -> None:
        if not self.transport.is_closing():
            self.transport.write(_LARGE_HEAD)
            self.transport.close()

    def on_message_complete(self) -> None:
        """Stops waiting: the request is complete."""
        self.waits_since = None
        self.has_no_body, self.num_head_bytes, self.num_new_bytes = False, 0, 0
        super().on_message_complete()


async def close_slow_connections(connections: set[Any], timeout_s: float) -> None:
    """Closes connections whose client has been too slow for `timeout_s` seconds. Runs until it is cancelled.

    Args:
        connections: The connections of a server, which change while this runs.
        timeout_s: Seconds for a whole request to arrive, and for progress while an answer is read.
    """
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(min(1.0, timeout_s / 4))
        now = loop.time()
        for connection in [each for each in connections if isinstance(each, WatchedProtocol)]:
            unread = connection.transport.get_write_buffer_size()
            if unread != connection.unread or not unread:
                connection.unread, connection.unread_since = unread, now
            if unread and now - connection.unread_since > timeout_s:
                connection.transport.abort()
            elif connection.waits_since is not None and now - connection.waits_since > timeout_s:
                if connection.num_head_bytes or not connection.in_head:
                    connection.transport.write(_LATE)
                connection.transport.close()
                connection.waits_since = None
