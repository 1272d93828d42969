"""`spare_collections`: commands start and end sooner, because the garbage collector skips TensorFlow's objects."""

from __future__ import annotations

import atexit
import gc
from collections.abc import Iterator
from contextlib import contextmanager

from kerasmlp._system.import_hooks import around_import

# Whichever is imported first imports the other.
_LARGE = ("keras", "tensorflow")

_is_set_up = False


def spare_collections() -> None:
    """Lets the garbage collector skip the objects that importing TensorFlow and Keras creates, now and at exit.

    These are a million objects, and all of them stay. The collector would walk them again and again during the import,
    and once more when the process ends. That costs one second of the 3.4 s of the import, and a second at the end.
    Objects that are created later are collected as always. Call this only in processes of kerasmlp's own, such as a
    command; a library must not change the collector of a user's program.

    Processes that are forked after the import share its memory, because no collection writes to it.
    """
    global _is_set_up
    if not _is_set_up:
        _is_set_up = True
        around_import(_LARGE, _without_collections)
        atexit.register(gc.freeze)


@contextmanager
def _without_collections() -> Iterator[None]:
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()
