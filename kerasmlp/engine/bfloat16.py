"""Products of matrices in bfloat16: the factors are rounded to 8 significant bits, the sums are float32.

Processors with AMX or AVX512-BF16 multiply bfloat16 at least twice as fast as float32, but XLA uses that only for
products of a certain form: bfloat16 factors, a float32 result, and a left factor whose rows are contiguous. It converts
the factors of every other product to float32. `bfloat16_products` brings the products of dense layers, and those of
their gradients, into this form. The layers of members are dense layers with one product for each member. Weights, the
optimizer and everything between the products stay float32.

Sources: Micikevicius et al. 2018 (arXiv:1710.03740) and Kalamkar et al. 2019 (arXiv:1905.12322), who train with
bfloat16 products and float32 weights without a loss of accuracy.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kerasmlp._system.terminal import messages_console
from kerasmlp.errors import InvalidValue, nearest

if TYPE_CHECKING:
    import tensorflow as tf

FLOAT32, BFLOAT16 = "float32", "bfloat16"
PRECISIONS = (FLOAT32, BFLOAT16)
_UNITS = {"amx_bf16": "AMX", "avx512_bf16": "AVX512-BF16"}  # the faster one first

# Each step rounds all weights, which few examples do not win back. Measured on a core with AVX512-BF16 as the time of a
# step in float32 divided by that in bfloat16. 1, 4, 8, 12 and 16 examples: 0.80, 0.81, 0.91, 0.91 and 1.09 for
# 784-128-64-10, and 0.74, 1.02, 1.14, 1.16 and 1.32 for 784-512-512-10. 32 and 256 examples: 0.97 and 0.90 for 13-16-1
# (241 weights), and 1.11 and 1.00 for 16-32-10 (874). From 16 examples and 500 weights on, no network was slower: 32
# gave 1.1 to 1.6, and 128 gave 1.3 to 1.8.
LEAST_BATCH, USUAL_BATCH = 8, 16
LEAST_WEIGHTS = 500


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
    """Raises `InvalidValue` if there is no such precision, or its products would be slower than those of float32 here.

    It is for trainings on the processor, and raises in one on a GPU, too.

    Args:
        precision: What the factors are rounded to.
        batch_size: Examples per step, of each member if there are members. None if they are not known yet.
    """
    check_unit(precision)
    if precision == FLOAT32:
        return
    if _on_accelerator():
        raise InvalidValue(
            f"`precision={precision}` is for trainings on the processor, and this one is on a GPU. Leave `precision` "
            "out, or build the network with Keras's policy `mixed_bfloat16`."
        )
    if batch_size is not None and batch_size < LEAST_BATCH:
        raise InvalidValue(
            f"`precision={precision}` would mostly be slower than float32 with fewer than {LEAST_BATCH} examples per "
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
    elif batch_size < USUAL_BATCH:
        loss, why = 10, f"has {batch_size} examples per step, which is fewer than {USUAL_BATCH}"
    elif num_weights < LEAST_WEIGHTS:
        loss, why = 10, f"is that of a network with {num_weights:,} weights, which is fewer than {LEAST_WEIGHTS:,}"
    else:
        return None
    return f"{subject} {why}, so `precision={precision}` may make it up to {loss} % slower. Leave `precision` out."


def show_unit(precision: str, *, xla: bool) -> None:
    """Prints a line on stderr that names the unit for the products of a precision, if XLA compiles them for one."""
    if precision != FLOAT32 and xla:
        messages_console().print(f"{precision} products on {bfloat16_unit()}")


@functools.cache
def bfloat16_unit() -> str | None:
    """Returns the processor's unit for products of bfloat16, `AMX` or `AVX512-BF16`; None if XLA can use none."""
    try:
        flags = set(Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").split())
    except OSError:
        return None  # not Linux: Macs have no such unit that XLA uses
    return next((unit for flag, unit in _UNITS.items() if flag in flags), None)


def _on_accelerator() -> bool:
    from kerasmlp.engine.accelerators import accelerator

    return accelerator() is not None


def bfloat16_products(precision: str, *, xla: bool) -> AbstractContextManager[None]:
    """Makes layers that are traced within the block multiply matrices in bfloat16.

    Factors that are bfloat16 already, as in a network with Keras's policy `mixed_bfloat16`, are multiplied in this way
    whatever the precision, if XLA compiles the code and the processor has a unit for it.

    Args:
        precision: `float32` or `bfloat16`.
        xla: Whether XLA compiles the traced code. Otherwise, rounded factors are multiplied in float32, with the same
            result up to the order of additions.
    """
    from kerasmlp.engine._keras_internals import matrix_product_replaced

    if precision == FLOAT32 and (not xla or bfloat16_unit() is None or _on_accelerator()):
        return nullcontext()
    return matrix_product_replaced(functools.partial(_product, precision, _dot if xla else _dot_of_rounded))


def _product(
    precision: str, dot: Callable[..., tf.Tensor], stock: Callable[..., tf.Tensor], a: Any, b: Any, **options: Any
) -> tf.Tensor:
    """Multiplies matrices in bfloat16, or as `stock` does if they are something else or not to be rounded.

    The factors are two matrices, or those of each member: `(members, rows, inner)` and `(members, inner, columns)`.
    """
    import tensorflow as tf

    dtypes = {getattr(factor, "dtype", None) for factor in (a, b)}
    is_rounded = dtypes == {tf.bfloat16} or (dtypes == {tf.float32} and precision == BFLOAT16)
    if not is_rounded or any(options.values()) or not _are_matrices_of_the_same_members(a.shape, b.shape):
        return stock(a, b, **options)

    @tf.custom_gradient
    def product(a: tf.Tensor, b: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], Any]]:
        left, right = tf.cast(a, tf.bfloat16), tf.cast(b, tf.bfloat16)

        def gradients(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            upstream = tf.cast(upstream, tf.bfloat16)
            to_left = dot(upstream, right, transposed=True)
            to_right = dot(_transposed(left) if dot is _dot else tf.linalg.matrix_transpose(left), upstream)
            return tf.cast(to_left, a.dtype), tf.cast(to_right, b.dtype)

        return tf.cast(dot(left, right), a.dtype), gradients

    return product(a, b)


def _are_matrices_of_the_same_members(a: tf.TensorShape, b: tf.TensorShape) -> bool:
    if a.rank == 3 and b.rank == 3:
        return a[0] is not None and bool(a[0] == b[0])
    return bool(a.rank == b.rank == 2)


def _dot(left: tf.Tensor, right: tf.Tensor, *, transposed: bool = False) -> tf.Tensor:
    """Returns `left @ right`, or `left @ right.T`, of bfloat16 matrices in float32, in code that XLA compiles.

    With a first axis for members, this is the product of each member's matrices.
    """
    import tensorflow as tf
    from tensorflow.compiler.tf2xla.python import xla
    from tensorflow.compiler.xla.xla_data_pb2 import DotDimensionNumbers

    members = list(range(left.shape.rank - 2))
    contracted = DotDimensionNumbers(
        lhs_batch_dimensions=members,
        rhs_batch_dimensions=members,
        lhs_contracting_dimensions=[len(members) + 1],
        rhs_contracting_dimensions=[len(members) + int(transposed)],
    )
    result = xla.dot_general(left, right, contracted, preferred_element_type=tf.float32)
    return tf.ensure_shape(result, (*left.shape[:-1], right.shape[-2 if transposed else -1]))


def _dot_of_rounded(left: tf.Tensor, right: tf.Tensor, *, transposed: bool = False) -> tf.Tensor:
    import tensorflow as tf

    # Not `tf.matmul`, which is replaced while layers are traced.
    return tf.linalg.matmul(tf.cast(left, tf.float32), tf.cast(right, tf.float32), transpose_b=transposed)


def _transposed(matrix: tf.Tensor) -> tf.Tensor:
    """Returns the transposed matrix, of each member if there are any, with contiguous rows, in code that XLA compiles.

    XLA would otherwise make the transposition a property of the product, which it then computes in float32. A reshape
    is what gives the result the usual order in memory, and the barrier keeps XLA from merging both into the product.
    """
    import tensorflow as tf
    from tensorflow.compiler.tf2xla.python import xla

    result = tf.linalg.matrix_transpose(matrix)
    (barred,) = xla.optimization_barrier(tf.reshape(result, tf.shape(result)))
    return tf.ensure_shape(barred, result.shape)
