"""Products of matrices in the form that XLA computes fastest on a processor.

**bfloat16.** Processors with AMX or AVX512-BF16 multiply bfloat16 at least twice as fast as float32, but XLA uses that
only for products of a certain form: bfloat16 factors, a float32 result, and a left factor whose rows are contiguous. It
converts the factors of every other product to float32. The products of dense layers, and those of their gradients, are
brought into this form. The factors are rounded to 8 significant bits; sums, weights, the optimizer and everything
between the products stay float32. The layers of members are dense layers with one product for each member.

**float32.** For the gradient of a layer's weights, XLA multiplies the transposed inputs without transposing them in
memory. For large batches, a copy of the transposed inputs takes less time than it saves.

Sources: Micikevicius et al. 2018 (arXiv:1710.03740) and Kalamkar et al. 2019 (arXiv:1905.12322), who train with
bfloat16 products and float32 weights without a loss of accuracy.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import tensorflow as tf
from tensorflow.compiler.tf2xla.python import xla as xla_ops
from tensorflow.compiler.xla.xla_data_pb2 import DotDimensionNumbers

from kerasmlp.engine._keras_internals import matrix_product_replaced
from kerasmlp.engine.accelerators import accelerator
from kerasmlp.engine.bfloat16 import BFLOAT16, FLOAT32, bfloat16_unit, processor_flags

# Measured on two cores with AVX-512, as the time of a gradient and of a sum with it without the copy, divided by that
# with it. 32, 128 and 256 examples: 0.83, 0.82 and 1.15 for 784-128; 0.68, 0.80 and 1.24 for 256-256; 1.01, 1.04 and
# 1.17 for 784-512; 1.21, 1.18 and 1.25 for 512-512; 1.20, 1.08 and 1.07 for 2048-1024. In a training of
# 784-512-512-10 with 128 examples, the copy lost what it gained for 512-512.
_LARGE_BATCH = 256


def fast_products(precision: str, *, xla: bool, batch_size: int) -> AbstractContextManager[None]:
    """Makes layers that are traced within the block multiply matrices in the fastest form.

    Factors that are bfloat16 already, as in a network with Keras's policy `mixed_bfloat16`, are multiplied in the form
    for bfloat16 whatever the precision, if XLA compiles the code and the processor has a unit for it.

    Args:
        precision: `float32` or `bfloat16`.
        xla: Whether XLA compiles the traced code. Otherwise, rounded factors are multiplied in float32, with the same
            result up to the order of additions, and others as always.
        batch_size: Examples per step.
    """
    if precision == FLOAT32 and (not xla or "avx512f" not in processor_flags() or accelerator()):
        return nullcontext()
    return matrix_product_replaced(functools.partial(_product, precision, xla, batch_size))


def _product(
    precision: str, xla: bool, batch_size: int, stock: Callable[..., tf.Tensor], a: Any, b: Any, **options: Any
) -> tf.Tensor:
    """Multiplies matrices in the fastest form, or as `stock` does if none is known to be faster.

    The factors are two matrices, or those of each member: `(members, rows, inner)` and `(members, inner, columns)`.
    """
    dtypes = {getattr(factor, "dtype", None) for factor in (a, b)}
    if not any(options.values()) and _are_matrices_of_the_same_members(a.shape, b.shape):
        if dtypes == {tf.bfloat16} or (dtypes == {tf.float32} and precision == BFLOAT16):
            if not xla or bfloat16_unit():
                return _rounded_product(_dot if xla else _dot_of_rounded, xla, a, b)
        elif dtypes == {tf.float32} and a.shape.rank == 2 and batch_size >= _LARGE_BATCH:
            return _product_with_a_copy(stock, a, b)
    return stock(a, b, **options)


def _rounded_product(dot: Callable[..., tf.Tensor], xla: bool, a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    @tf.custom_gradient
    def product(a: tf.Tensor, b: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], Any]]:
        left, right = tf.cast(a, tf.bfloat16), tf.cast(b, tf.bfloat16)

        def gradients(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            upstream = tf.cast(upstream, tf.bfloat16)
            to_left = dot(upstream, right, transposed=True)
            to_right = dot(_transposed(left) if xla else tf.linalg.matrix_transpose(left), upstream)
            return tf.cast(to_left, a.dtype), tf.cast(to_right, b.dtype)

        return tf.cast(dot(left, right), a.dtype), gradients

    return product(a, b)


def _product_with_a_copy(stock: Callable[..., tf.Tensor], a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """Multiplies two float32 matrices, and copies the transposed left one for the gradient of the right one."""

    @tf.custom_gradient
    def product(a: tf.Tensor, b: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], Any]]:
        def gradients(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            return stock(upstream, b, transpose_b=True), stock(_transposed(a), upstream)

        return stock(a, b), gradients

    return product(a, b)


def _are_matrices_of_the_same_members(a: tf.TensorShape, b: tf.TensorShape) -> bool:
    if a.rank == 3 and b.rank == 3:
        return a[0] is not None and bool(a[0] == b[0])
    return bool(a.rank == b.rank == 2)


def _dot(left: tf.Tensor, right: tf.Tensor, *, transposed: bool = False) -> tf.Tensor:
    """Returns `left @ right`, or `left @ right.T`, of bfloat16 matrices in float32, in code that XLA compiles.

    With a first axis for members, this is the product of each member's matrices.
    """
    members = list(range(left.shape.rank - 2))
    contracted = DotDimensionNumbers(
        lhs_batch_dimensions=members,
        rhs_batch_dimensions=members,
        lhs_contracting_dimensions=[len(members) + 1],
        rhs_contracting_dimensions=[len(members) + int(transposed)],
    )
    result = xla_ops.dot_general(left, right, contracted, preferred_element_type=tf.float32)
    return tf.ensure_shape(result, (*left.shape[:-1], right.shape[-2 if transposed else -1]))


def _dot_of_rounded(left: tf.Tensor, right: tf.Tensor, *, transposed: bool = False) -> tf.Tensor:
    # Not `tf.matmul`, which is replaced while layers are traced.
    return tf.linalg.matmul(tf.cast(left, tf.float32), tf.cast(right, tf.float32), transpose_b=transposed)


def _transposed(matrix: tf.Tensor) -> tf.Tensor:
    """Returns the transposed matrix, of each member if there are any, with contiguous rows, in code that XLA compiles.

    XLA would otherwise make the transposition a property of the product. A reshape is what gives the result the usual
    order in memory, and the barrier keeps XLA from merging both into the product.
    """
    result = tf.linalg.matrix_transpose(matrix)
    (barred,) = xla_ops.optimization_barrier(tf.reshape(result, tf.shape(result)))
    return tf.ensure_shape(barred, result.shape)
