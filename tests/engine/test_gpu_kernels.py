"""TensorFlow has kernels for a GPU of all that a training does, so that no step waits for the processor.

TensorFlow for Linux registers these kernels on machines without a GPU, too.
"""

from __future__ import annotations

import functools
import os
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before TensorFlow is first imported

import keras
import pytest
import tensorflow as tf
from tensorflow.python.framework import kernels  # there is no public list

import kerasmlp
from kerasmlp.data.types import Data
from kerasmlp.engine import block_dataset, prepare
from kerasmlp.model.augmentation import Augmentation, Strengths
from kerasmlp.model.rate_cycles import RateCycles

pytestmark = pytest.mark.skipif(
    not tf.test.is_built_with_cuda(), reason="TensorFlow was built without the kernels for GPUs"
)
# Operations that compute nothing themselves. Those they run are in the library of the graph.
CALLS = {"Placeholder", "NoOp", "PartitionedCall", "StatefulPartitionedCall", "While", "StatelessWhile"}


@functools.cache
def registered(operation: str) -> Any:
    """Returns the kernels of an operation."""
    return kernels.get_registered_kernels_for_op(operation).kernel


def without_kernel(function: Any, device_types: set[str]) -> set[str]:
    """Returns the operations of a traced function that none of the devices can run with their types.

    TensorFlow keeps variables of int32 in the processor's memory, so operations on these are returned, too.
    """

    def fits(node: Any, kernel: Any) -> bool:
        for constraint in kernel.constraint:
            attribute = node.attr[constraint.name]
            types = attribute.list.type if attribute.WhichOneof("value") == "list" else [attribute.type]
            if not set(types) <= set(constraint.allowed_values.list.type):
                return False
        return kernel.device_type in device_types

    graph = function.graph.as_graph_def()
    nodes = [*graph.node, *(node for called in graph.library.function for node in called.node_def)]
    return {
        f"{node.op} of {node.name}"
        for node in nodes
        if node.op not in CALLS
        and (
            not any(fits(node, kernel) for kernel in registered(node.op))
            or ("VariableOp" in node.op and node.attr["dtype"].type == tf.int32.as_datatype_enum)
        )
    }


def images(data: Data) -> keras.Model:
    """Returns a network of all that images can need."""
    return kerasmlp.build_mlp(
        [64, 16, 10],
        input_shape=data.feature_shape,
        preprocessing=data.preprocessing(),
        augmentation=Augmentation(Strengths(rotation=10, elastic=0.04, halved=(1, 7))),
        batch_normalization=True,
        dropout=0.1,
        l2=1e-3,
        seed=0,
    )


@pytest.mark.parametrize("name", ["images", "table"])
def test_each_operation_of_a_training_has_a_kernel_for_gpus(name: str, digits: Data, houses: Data) -> None:
    data, model = (digits, images(digits)) if name == "images" else (houses, kerasmlp.mlp_for(houses))
    data.task.compile(model, keras.optimizers.AdamW(1e-3))
    cycles = RateCycles(model.optimizer)
    for xla, kernels_of in ((True, {"XLA_GPU_JIT"}), (False, {"GPU", "DEFAULT"})):
        prepare(model, batch_size=16, xla=xla, before_step=cycles)
        train = model.train_function
        (block, *_) = block_dataset(data.train.features[:32], data.train.labels[:32], batch_size=16)
        train._build(block)
        loop = train._make_loop().get_concrete_function(block, tf.constant(2))
        assert not without_kernel(loop, kernels_of)


def test_an_operation_without_a_kernel_and_a_variable_of_int32_are_found() -> None:
    variable = tf.Variable(0, dtype=tf.int32)

    def step() -> Any:
        variable.assign_add(1)
        return tf.strings.as_string(variable)

    function = tf.function(step, autograph=False).get_concrete_function()
    found = " ".join(without_kernel(function, {"XLA_GPU_JIT"}))
    assert "AsString" in found
    assert "AssignAddVariableOp" in found
