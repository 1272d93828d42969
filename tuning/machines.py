"""The machines of a search: the cores of this one, and the address of the one that leads."""

from __future__ import annotations

import os

from kerasmlp.errors import InvalidValue


def num_cores() -> int:
    """Returns the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def split_address(address: str) -> tuple[str, int]:
    """Returns the host and the port of `host:port`.

    Raises:
        InvalidValue: the text has another form.

    Example:
        >>> split_address("chief.local:7000")
        ('chief.local', 7000)
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise InvalidValue(f'`address` needs a host and a port, such as "192.168.0.10:7000"; got "{address}".')
    return host, int(port)
