"""Whether data and networks fit into memory, asked before they are read or built."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

from kerasmlp.errors import InvalidValue

_GROUP_FILES = (  # limit and use of a container's memory, in versions 2 and 1 of Linux's control groups
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)


def available_bytes() -> int:
    """Memory that this process can still take without swapping, in bytes, a container's limit considered."""
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
    """Raises `InvalidValue` for a source that is too large for memory.

    Args:
        name: What the source is called.
        data_bytes: Bytes of its examples once read. Reading and splitting hold them twice.
        can_stream: Whether it can be streamed instead.
    """
    needed, available = 2 * data_bytes, available_bytes()
    if needed <= available:
        return
    mend = (
        "`--stream` (`stream=True`) reads it in pieces and trains from disk, in constant memory."
        if can_stream
        else "Tables, folders of images and sets of TensorFlow Datasets can be streamed with `--stream`."
    )
    raise InvalidValue(
        f"`{name}` needs {needed / 2**30:.1f} GiB of memory, of which {available / 2**30:.1f} GiB are free. {mend}"
    )


def check_weights_fit_memory(sizes: Sequence[int]) -> None:
    """Raises `InvalidValue` for layer widths whose weights, float32, are too large for memory."""
    needed = 4 * sum((inputs + 1) * units for inputs, units in itertools.pairwise(sizes))
    if needed > (available := available_bytes()):
        raise InvalidValue(
            f"`sizes` {list(sizes)} needs {needed / 2**30:,.1f} GiB of memory for its weights, and four times that to "
            f"train them with Adam; {available / 2**30:.1f} GiB are free."
        )
