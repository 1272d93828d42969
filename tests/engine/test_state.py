"""Training state: a killed run continues bit for bit, and a model that was reset trains like a new one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before TensorFlow is first imported

import keras
import numpy as np
import pytest

from kerasmlp.engine import block_dataset, reset, restore_state, save_state
from kerasmlp.errors import InvalidValue, NotFound
from kerasmlp.model.building import build_mlp
from tests.helpers.engine_oracle import BATCH_SIZE, BLOCK_BYTES, assert_equal_bits, engine_fit, network, problem

# Everything that has a state of its own: dropout's seeds, batch normalisation's statistics, the schedule's step count,
# the optimizer's moments and averages.
RESUMING = """
import sys
from kerasmlp.engine import restore_state
from tests.helpers.engine_oracle import engine_fit, problem
from tests.engine.test_state import saving, stateful_network

model = stateful_network()
epoch = restore_state(sys.argv[1], model)["epoch"]
callbacks = [saving(sys.argv[2], model)]
engine_fit(model, problem(), shuffle=True, initial_epoch=epoch, epochs=6, callbacks=callbacks)
"""


def saving(path: Path | str, model: keras.Model) -> keras.callbacks.Callback:
    """Saves the state after each epoch, to one file."""
    return keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, _: save_state(path, model, {"epoch": epoch + 1}))


def stateful_network() -> keras.Model:
    rate = keras.optimizers.schedules.CosineDecay(0.01, decay_steps=126)
    return network(keras.optimizers.AdamW(rate, use_ema=True), dropout=0.2, batch_normalization=True)


def test_resuming_in_a_new_process_gives_the_same_bits_as_an_uninterrupted_training(tmp_path: Path) -> None:
    whole, half, resumed = stateful_network(), stateful_network(), stateful_network()
    engine_fit(whole, problem(), shuffle=True, epochs=6, callbacks=[saving(tmp_path / "whole", whole)])
    engine_fit(half, problem(), shuffle=True, epochs=3, callbacks=[saving(tmp_path / "half", half)])
    command = [sys.executable, "-c", RESUMING, str(tmp_path / "half"), str(tmp_path / "resumed")]
    subprocess.run(command, check=True, cwd=Path(__file__).parents[2], timeout=120)
    assert restore_state(tmp_path / "whole", whole) == {"epoch": 6}
    assert restore_state(tmp_path / "resumed", resumed) == {"epoch": 6}
    assert_equal_bits(resumed, whole)


def test_a_failed_write_keeps_the_old_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = network()
    save_state(tmp_path / "state", model, {"epoch": 1})

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        save_state(tmp_path / "state", model, {"epoch": 2})
    assert restore_state(tmp_path / "state", model) == {"epoch": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["state"]


def test_bfloat16_variables_are_restored(tmp_path: Path) -> None:
    layer = keras.layers.Dense(3, dtype="bfloat16")
    model = keras.Sequential([keras.Input((2,)), layer])
    model.compile("adam", "mse")
    kernel = layer.kernel.numpy()
    save_state(tmp_path / "state", model)
    layer.kernel.assign(np.zeros((2, 3)))
    restore_state(tmp_path / "state", model)
    np.testing.assert_array_equal(layer.kernel.numpy(), kernel)


def test_restore_state_names_what_does_not_fit(tmp_path: Path) -> None:
    model = network()
    with pytest.raises(NotFound, match="no training state"):
        restore_state(tmp_path / "state", model)
    (tmp_path / "text").write_text("no state")
    with pytest.raises(InvalidValue, match="save_state"):
        restore_state(tmp_path / "text", model)
    save_state(tmp_path / "state", model)
    kernel = model.layers[2].kernel
    other = build_mlp([12, 9, 4])
    other.compile("sgd")
    before = other.get_weights()
    with pytest.raises(InvalidValue, match=rf"`model/0` \(`dense_1/kernel`\) has shape \({kernel.shape[0]}, 8\)"):
        restore_state(tmp_path / "state", other)
    for left, right in zip(other.get_weights(), before, strict=True):
        np.testing.assert_array_equal(left, right)
    with pytest.raises(InvalidValue, match=r"`optimizer/2` .* has shape None in the file"):
        restore_state(tmp_path / "state", network("adam"))
    with pytest.raises(InvalidValue, match=r"model\.compile"):
        save_state(tmp_path / "state", keras.Sequential([keras.layers.Dense(1)]))


def test_a_reset_model_trains_bit_for_bit_like_a_fresh_one_without_a_new_compile() -> None:
    def optimizer() -> keras.optimizers.Optimizer:
        return keras.optimizers.Adagrad(0.05, use_ema=True)  # its accumulators start at 0.1, not at zero

    fresh = network(optimizer(), seed=7, dropout=0.2, batch_normalization=True)
    fresh.optimizer.learning_rate = 0.02
    engine_fit(fresh, problem(), shuffle=True, epochs=3)

    used = network(optimizer(), seed=0, dropout=0.2, batch_normalization=True)
    engine_fit(used, problem(1), epochs=2)
    train_function = used.train_function
    reset(used, network(seed=7, dropout=0.2, batch_normalization=True))
    used.optimizer.learning_rate = 0.02
    assert used.train_function is train_function
    # Not with `engine_fit`, which would prepare and therefore compile the model again.
    blocks = block_dataset(*problem(), batch_size=BATCH_SIZE, max_block_bytes=BLOCK_BYTES)
    used.fit(blocks, epochs=3, shuffle=False, verbose=0)
    assert train_function.compiles == 1
    assert_equal_bits(used, fresh)


def test_reset_rejects_another_architecture() -> None:
    with pytest.raises(InvalidValue, match="`fresh`"):
        reset(network(), build_mlp([12, 9, 4]))
