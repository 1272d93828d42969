"""Where products in bfloat16 are faster than in float32: on which processors, and for which trainings.

Importing it does not import TensorFlow. `kerasmlp.engine.matrix_products` multiplies.
"""

from __future__ import annotations

import functools
from pathlib import Path

from kerasmlp._system.terminal import messages_console
from kerasmlp.errors import InvalidValue, nearest

FLOAT32, BFLOAT16 = "float32", "bfloat16"
PRECISIONS = (FLOAT32, BFLOAT16)
_UNITS = {"amx_bf16": "AMX", "avx512_bf16": "AVX512-BF16"}  # the faster one first

# Each step rounds all weights, which few examples do not win back. Measured on a core with AVX512-BF16 as the time of a
# step in float32 divided by that in bfloat16. 1, 4, 8, 12 and 16 examples: 0.80, 0.81, 0.91, 0.91 and 1.09 for
# 784-128-64-10, and 0.74, 1.02, 1.14, 1.16 and 1.32 for 784-512-512-10. 32 and 256 examples: 0.97 and 0.90 for 13-16-1
# (241 weights), and 1.11 and 1.00 for 16-32-10 (874). From 16 examples and 500 weights on, no network was slower: 32
# gave 1.1 to 1.6, and 128 gave 1.3 to 1.8.
_LEAST_BATCH, _USUAL_BATCH = 8, 16
_LEAST_WEIGHTS = 500


def check_precision(precision: str) -> None:
    """Raises `InvalidValue` if there is no such precision of products."""
    if precision not in PRECISIONS:
        known = " or ".join(PRECISIONS)
        raise InvalidValue(f"`precision` needs to be {known}; got `{precision}`.{nearest(precision, PRECISIONS)}")


def check_unit(precision: str) -> None:
    """Raises `InvalidValue` for an unknown precision, or if this processor has no unit for it. Needs no TensorFlow."""
    check_precision(precision)
    if precision == BFLOAT16 and bfloat16_unit() is None:
        raise InvalidValue(
            f"`precision={precision}` would be slower than float32 on this processor, which has neither "
            f"{' nor '.join(_UNITS.values())}. Leave `precision` out."
        )


def check_is_fast(precision: str, batch_size: int | None = None) -> None:
    """Raises `InvalidValue` if there is no such precision, or a training here would be slower with it, or is on a GPU.

    Args:
        precision: What the factors are rounded to.
        batch_size: Examples per step, of each member if there are members. None if they are not known yet.
    """
    check_precision(precision)
    if precision == BFLOAT16 and _on_accelerator():
        raise InvalidValue(
            f"`precision={precision}` is for trainings on the processor, and this one is on a GPU. Leave `precision` "
            "out, or build the network with Keras's policy `mixed_bfloat16`."
        )
    check_unit(precision)
    if precision == BFLOAT16 and batch_size is not None and batch_size < _LEAST_BATCH:
        raise InvalidValue(
            f"`precision={precision}` would mostly be slower than float32 with fewer than {_LEAST_BATCH} examples per "
            f"step; got `batch_size={batch_size}`. Leave `precision` out, or choose larger batches."
        )


def note_on_gain(
    precision: str, num_weights: int, batch_size: int, *, xla: bool, subject: str = "This training"
) -> str | None:
    """Returns a sentence that says why a precision is no gain over float32, and None if it is one.

    Args:
        precision: What the factors are rounded to.
        num_weights: Weights of the network.
        batch_size: Examples per step, of each member if there are members.
        xla: Whether XLA compiles the steps.
        subject: What the sentence is about, at its beginning.
    """
    if precision == FLOAT32:
        return None
    if not xla:
        loss, why = 20, "is too short to win back the compile by XLA, which alone has fast products"
    elif batch_size < _USUAL_BATCH:
        loss, why = 10, f"has only {batch_size} examples per step"
    elif num_weights < _LEAST_WEIGHTS:
        loss, why = 10, f"has a network of only {num_weights:,} weights"
    else:
        return None
    return f"{subject} {why}, so `precision={precision}` may make it up to {loss} % slower. Leave `precision` out."


def show_unit(precision: str, *, xla: bool) -> None:
    """Prints a line on stderr that names the unit for the products of a precision, if XLA compiles them for one."""
    if precision != FLOAT32 and xla:
        messages_console().print(f"{precision} products on {bfloat16_unit()}")


@functools.cache
def processor_flags() -> frozenset[str]:
    """Returns Linux's names for what the processor can do, such as `avx512f`. Empty on other systems."""
    try:
        return frozenset(Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").split())
    except OSError:
        return frozenset()  # Macs have no unit that XLA uses


def bfloat16_unit() -> str | None:
    """Returns the processor's unit for products of bfloat16, `AMX` or `AVX512-BF16`; None if XLA can use none."""
    return next((unit for flag, unit in _UNITS.items() if flag in processor_flags()), None)


def _on_accelerator() -> bool:
    from kerasmlp.engine.accelerators import accelerator

    return accelerator() is not None
