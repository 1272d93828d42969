"""Products in float32: the same numbers in another form, where that is faster."""

from __future__ import annotations

import os
import re
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before TensorFlow is first imported

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasmlp.engine.bfloat16 import processor_flags
from kerasmlp.engine.matrix_products import fast_products

needs_avx512 = pytest.mark.skipif("avx512f" not in processor_flags(), reason="the processor has no AVX-512")


def _traced(batch_size: int) -> Any:
    """Returns a graph for XLA with a product as a layer multiplies, and its gradients."""

    def function(a: tf.Tensor, b: tf.Tensor, upstream: tf.Tensor) -> Any:
        with fast_products("float32", xla=True, batch_size=batch_size), tf.GradientTape() as tape:
            tape.watch((a, b))
            result = keras.ops.matmul(a, b)
        return result, *tape.gradient(result, (a, b), upstream)

    return tf.function(function, autograph=False, jit_compile=True)


def _problem() -> tuple[tf.Tensor, ...]:
    rng = np.random.default_rng(0)
    return tuple(tf.constant(rng.normal(size=shape), tf.float32) for shape in ((256, 48), (48, 40), (256, 40)))


@pytest.mark.parametrize("batch_size", [32, 256])
def test_products_and_gradients_are_right_at_all_batch_sizes(batch_size: int) -> None:
    a, b, upstream = map(np.asarray, _problem())

    result, to_a, to_b = _traced(batch_size)(*_problem())

    np.testing.assert_allclose(result, a @ b, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(to_a, upstream @ b.T, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(to_b, a.T @ upstream, rtol=1e-4, atol=1e-4)


@needs_avx512
@pytest.mark.parametrize(("batch_size", "are_copied"), [(32, False), (255, False), (256, True)])
def test_xla_multiplies_a_copy_of_the_transposed_inputs_of_large_batches(batch_size: int, are_copied: bool) -> None:
    text = _traced(batch_size).experimental_get_compiler_ir(*_problem())(stage="optimized_hlo")

    contracted = re.findall(r" dot\(.*lhs_contracting_dims=\{(\d)\}", text)

    assert sorted(contracted) == (["1", "1", "1"] if are_copied else ["0", "1", "1"])
