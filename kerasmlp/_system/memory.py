"""Checks whether data and networks fit into memory, before they are read or built."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

from kerasmlp.errors import InvalidValue

_GROUP_FILES = (  # memory limit and usage of a container, in versions 2 and 1 of Linux's control groups
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)


def available_bytes() -> int:
    """Returns how much memory this process can still take without swapping, in bytes. Respects a container's limit."""
    import psutil

    available = int(psutil.virtual_memory().available)
    for limit, used in _GROUP_FILES:
        try:
            texts = Path(limit).read_text(encoding="ascii"), Path(used).read_text(encoding="ascii")
        except OSError:
            continue
        if texts[0].strip().isdecimal():  # or `max`
            available = min(available, int(texts[0]) - int(texts[1]))
    return max(0, available)


def check_fits_memory(name: str, data_bytes: int, *, can_stream: bool) -> None:
    """Checks that a source fits into memory.

    Args:
        name: Name of the source, for the message.
        data_bytes: Size of its examples in memory, in bytes. Reading and splitting need twice as much.
        can_stream: Whether the source can be streamed instead.

    Raises:
        InvalidValue: the source is too large.
    """
    needed, available = 2 * data_bytes, available_bytes()
    if needed <= available:
        return
    advice = (
        "With `stream=True` it is read in pieces and trained from disk, in constant memory."
        if can_stream
        else "Only tables, image folders and TensorFlow Datasets can be read in pieces, with `stream=True`."
    )
    raise InvalidValue(f"`{name}` needs {_size(needed)} of memory, but only {_size(available)} is free. {advice}")


def check_weights_fit_memory(sizes: Sequence[int], members: int = 1) -> None:
    """Checks that the float32 weights of a network with layer widths `sizes` fit into memory, for each of its members.

    Raises:
        InvalidValue: they do not.
    """
    needed = 4 * members * sum((inputs + 1) * units for inputs, units in itertools.pairwise(sizes))
    if needed > (available := available_bytes()):
        raise InvalidValue(
            f"`sizes` {list(sizes)} needs {_size(needed)} of memory for its weights, or {_size(4 * needed)} in total "
            f"to train them with Adam, but only {_size(available)} is free. Use narrower layers"
            f"{' or fewer members' if members > 1 else ''}."
        )


def _size(num_bytes: int) -> str:
    for unit, size in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if num_bytes >= size:
            return f"{num_bytes / size:,.1f} {unit}"
    return f"{num_bytes} bytes"
