"""Private API of Keras and TensorFlow: each test fails if a new version moves what one function relies on."""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before TensorFlow is first imported

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import kerasmlp
from kerasmlp.engine._keras_internals import (
    CALLBACK_ATTRIBUTES,
    WrappedDataset,
    averages_of,
    build_metrics,
    detach_strategy,
    dropout_with_generator,
    is_stock_step,
    set_functions,
    start_averages_early,
    strategy_of,
    strategy_of_optimizer,
)


def compiled_model(*metrics: str) -> keras.Model:
    """Returns a compiled network of one layer that has not been used yet."""
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=list(metrics) or None)
    return model


def test_models_and_optimizers_record_the_strategy_in_whose_scope_they_were_made() -> None:
    strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    with strategy.scope():
        inside = compiled_model()
    outside = compiled_model()
    assert strategy_of(inside) is strategy
    assert strategy_of_optimizer(inside.optimizer) is strategy
    assert strategy_of(outside) is None
    assert strategy_of_optimizer(outside.optimizer) is not strategy


def test_fit_does_not_distribute_the_dataset_of_a_detached_model() -> None:
    with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
        model = compiled_model()
    detach_strategy(model)
    received: list[Any] = []

    def step(iterator: Iterator[Any]) -> dict[str, float]:
        received.append(next(iterator))
        return {"own": 0.0}

    set_functions(model, train=step, test=step)
    model.fit(tf.data.Dataset.from_tensors((tf.ones((4, 3)), tf.zeros(4))), shuffle=False, verbose=0)
    assert isinstance(received[0][0], tf.Tensor), "a distributed dataset yields values of several replicas"
    assert strategy_of(model) is None


def test_fit_and_evaluate_call_the_functions_that_were_set_with_the_iterator_of_the_dataset() -> None:
    model = compiled_model()
    called: list[str] = []

    def function(name: str) -> Any:
        def step(iterator: Iterator[Any]) -> dict[str, float]:
            features, _ = next(iterator)
            called.append(f"{name} {features.shape[0]}")
            return {"own": 1.5}

        return step

    set_functions(model, train=function("train"), test=function("test"))
    dataset = tf.data.Dataset.from_tensors((tf.ones((4, 3)), tf.zeros(4)))
    history = model.fit(dataset, epochs=2, validation_data=dataset, shuffle=False, verbose=0).history
    assert called == ["train 4", "test 4"] * 2
    assert history["own"] == history["val_own"] == [1.5, 1.5]


def test_the_averages_of_an_optimizer_follow_its_weights_from_the_first_step() -> None:
    weight = keras.Variable([10.0])
    optimizer = keras.optimizers.SGD(1.0, use_ema=True, ema_momentum=0.15)
    start_averages_early(optimizer)
    optimizer.build([weight])
    ((found, average),) = averages_of(optimizer)
    assert found is weight
    received = []
    for _ in range(4):
        optimizer.apply([keras.ops.ones((1,))])
        received.append(float(average.numpy()[0]))
    wanted = [9.0]
    for momentum, value in ((1 / 10, 8.0), (0.15, 7.0), (0.15, 6.0)):  # 2 / 11 is more than 0.15
        wanted.append(momentum * wanted[-1] + (1 - momentum) * value)
    np.testing.assert_allclose(received, wanted, rtol=1e-6)


def test_a_stock_step_is_told_from_that_of_a_subclass() -> None:
    class Custom(keras.Sequential):
        def train_step(self, data: Any) -> dict[str, Any]:
            return super().train_step(data)  # type: ignore[no-any-return]

    assert is_stock_step(compiled_model().train_step)
    assert is_stock_step(compiled_model().test_step)
    assert not is_stock_step(Custom().train_step)
    assert is_stock_step(Custom().test_step)


def test_the_variables_of_metrics_are_created_without_a_step() -> None:
    model = compiled_model("accuracy")
    before = len(model.metrics_variables)
    weights = model.get_weights()
    build_metrics(model, (tf.ones((4, 3)), tf.zeros(4, tf.int32)))
    assert len(model.metrics_variables) > before, "those of the accuracy are there, too"
    assert set(model.get_metrics_result()) == {"loss", "accuracy"}
    assert model.optimizer.iterations.numpy() == 0
    for now, then in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(now, then)


def test_fit_sets_only_the_known_attributes_on_callbacks() -> None:
    callback = keras.callbacks.Callback()
    compiled_model().fit(np.ones((4, 3)), np.zeros(4), verbose=0, callbacks=[callback])
    assert vars(callback).keys() <= CALLBACK_ATTRIBUTES


def test_a_wrapped_dataset_works_in_python_and_in_graphs_of_tf_data() -> None:
    class Doubled(WrappedDataset):
        def __iter__(self) -> Iterator[Any]:
            return (2 * value for value in iter(self.wrapped))

    dataset = Doubled(tf.data.Dataset.range(3))
    assert [int(value) for value in dataset] == [0, 2, 4]
    assert [int(value) for value in dataset.map(lambda value: value + 1)] == [1, 2, 3]
    assert int(dataset.cardinality()) == 3
    assert dataset.element_spec == tf.TensorSpec((), tf.int64)


def test_dropout_layers_draw_with_the_generator_that_is_set() -> None:
    layer = keras.layers.Dropout(0.5, seed=1)

    def algorithms() -> set[int]:
        traced = tf.function(lambda x: layer(x, training=True), autograph=False)
        operations = traced.get_concrete_function(tf.TensorSpec((4, 4))).graph.get_operations()
        drawing = [operation for operation in operations if operation.type == "StatelessRandomUniformV2"]
        return {int(tf.get_static_value(operation.inputs[3])) for operation in drawing}

    default = algorithms()
    with dropout_with_generator("threefry"):
        assert algorithms() == {2}, "2 is Threefry in TensorFlow's enumeration of generators"
    assert default == {3}, "3 lets TensorFlow choose"
    assert algorithms() == default


def test_no_other_module_touches_private_api() -> None:
    # Private attributes of something other than `self`, `cls` and kerasmlp's own modules, and private modules.
    private = re.compile(r"(?<!self)(?<!cls)(?<!kerasmlp)(?<!args)\._[a-z]\w*|keras\.src|tensorflow\.python")
    allowed = {"_keras_internals.py", "_tuner_internals.py"}
    package = Path(kerasmlp.__file__).parent
    found = [
        f"{path.relative_to(package)}: {line.strip()}"
        for folder in ("engine", "model", "training")
        for path in sorted((package / folder).rglob("*.py"))
        if path.name not in allowed
        for line in path.read_text(encoding="utf-8").splitlines()
        if private.search(line) and "_engine_strategy" not in line and "_keras_internals" not in line
    ]
    assert found == []
