"""Networks whose dropout and penalty change after compiling, compared with networks that are built with them."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from kerasmlp.data.types import Data
from kerasmlp.engine import block_dataset, prepare
from kerasmlp.engine.saved_state import reset
from kerasmlp.model.building import build_mlp
from kerasmlp.model.optimizers import make_optimizer
from kerasmlp.tasks.classification import Classification
from kerasmlp.tuning.adjustable_network import compiled_values, make_adjustable
from kerasmlp.tuning.running_trials import TrialTrainer
from kerasmlp.tuning.trial_network import TrialNetwork

SIZES = (20, 32, 16, 3)
PAIRS = [(0.3, 1e-3), (0.5, 1e-2), (0.1, 1e-4), (0.3, 1e-3)]


def _losses(model: keras.Model) -> list[float]:
    generator = np.random.default_rng(0)
    features, labels = generator.random((400, 20), dtype="float32"), generator.integers(0, 3, 400)
    blocks = block_dataset(features, labels, batch_size=32)
    losses: list[float] = model.fit(blocks, epochs=3, verbose=0, shuffle=False).history["loss"]
    return losses


def _compiled(model: keras.Model, *, xla: bool) -> keras.Model:
    Classification(()).compile(model, make_optimizer("adam", 1e-2))
    prepare(model, batch_size=32, xla=xla)
    return model


@pytest.mark.parametrize(("batch_normalization", "xla"), [(True, True), (False, False)])
def test_one_compiled_network_trains_like_networks_that_are_built_with_each_value(
    batch_normalization: bool, xla: bool
) -> None:
    options: dict[str, Any] = {"batch_normalization": batch_normalization, "seed": 3}
    network = make_adjustable(build_mlp(SIZES, dropout=0.5, l2=1.0, **options))
    _compiled(network.model, xla=xla)
    losses = []
    for dropout, l2 in PAIRS:
        reset(network.model, build_mlp(SIZES, dropout=dropout, l2=l2, **options))
        network.model.optimizer.learning_rate = 1e-2
        network.dropout.assign(dropout)
        network.l2.assign(l2)
        losses.append(_losses(network.model))
        built = _losses(_compiled(build_mlp(SIZES, dropout=dropout, l2=l2, **options), xla=xla))
        # XLA divides by a constant at compile time and by a variable at run time, so the last digits differ; this adds
        # up over 39 steps.
        assert losses[-1] == pytest.approx(built, rel=1e-5)
    assert network.model.train_function.compiles == 1
    assert losses[0] == losses[-1]
    assert len({tuple(each) for each in losses}) == 3


def test_an_adjustable_network_drops_nothing_outside_of_training() -> None:
    network = make_adjustable(build_mlp(SIZES, dropout=0.9, seed=0))
    network.dropout.assign(0.3)
    features = np.ones((8, 20), dtype="float32")
    # Rows of a matrix product may be rounded differently, by the last digit of float32; dropped units change far more.
    assert np.ptp(np.asarray(network.model(features)), axis=0).max() < 1e-5
    assert np.ptp(np.asarray(network.model(features, training=True)), axis=0).max() > 1e-2


def test_compiled_values_leave_out_what_can_be_changed_later() -> None:
    values = {"learning_rate": 0.1, "units": 16, "l2": 1e-4}
    assert compiled_values(values) == compiled_values({**values, "learning_rate": 0.2, "l2": 2e-4})
    assert compiled_values(values) != compiled_values({**values, "l2": 0.0})
    assert compiled_values(values) != compiled_values({**values, "units": 32})


def test_trials_with_other_dropout_and_penalty_share_a_compile_and_do_not_affect_each_other(digits: Data) -> None:
    def trainer() -> TrialTrainer:
        return TrialTrainer([digits], TrialNetwork((64, 16, 10), {}, "adam"), epochs=1, seed=0)

    def kernel(trainer: TrialTrainer, dropout: float, l2: float) -> np.ndarray:
        values = {"learning_rate": 0.01, "batch_size": 128, "dropout": dropout, "l2": l2}
        return np.asarray(trainer.train(values, epochs=1).get_weights()[0]).copy()

    shared = trainer()
    pairs = [(0.2, 1e-3), (0.4, 1e-5), (0.0, 1e-3), (0.2, 0.0), (0.2, 1e-3)]
    kernels = [kernel(shared, *pair) for pair in pairs]
    for pair, trained in zip(pairs, kernels, strict=True):
        assert np.array_equal(trained, kernel(trainer(), *pair))
    assert not np.array_equal(kernels[0], kernels[1])
    assert len(shared._prepared) == 3  # networks without dropout or without a penalty are compiled separately
