"""Recipes: what networks and trainings are like where nobody says otherwise."""

from __future__ import annotations

import itertools

import keras
import numpy as np
import pytest

from kerasmlp import build_mlp, data_from_arrays, load_data, mlp_for
from kerasmlp.data.types import Data
from kerasmlp.errors import InvalidType, InvalidValue
from kerasmlp.model.optimizers import make_optimizer
from kerasmlp.model.rate_cycles import cycle_ends
from kerasmlp.model.recipes import first_cycle, recipe_for, recipe_of, table_batch_size, table_epochs
from kerasmlp.training.cycle_stop import StopAfterIdleCycle, least_gain
from kerasmlp.training.settings import TrainingSettings


def test_tables_and_pixels_have_recipes_of_their_own(digits: Data) -> None:
    wine = load_data("wine")
    assert (digits.recipe, wine.recipe) == ("plain", "table")
    for data, name in ((digits, "plain"), (wine, "table"), (wine, "plain")):
        model = build_mlp(
            [data.num_features, 8, data.num_outputs],
            input_shape=data.feature_shape,
            preprocessing=data.preprocessing(name),
        )
        assert recipe_of(model) == name
    networks = [build_mlp([13, 8, 3], preprocessing=wine.preprocessing(), seed=seed) for seed in (0, 0, 1)]
    first, again, other = (network.get_weights()[0] for network in networks)
    assert (first == again).all(), "the seed decides about the embedding, too"
    assert (first != other).any()
    front = wine.preprocessing()
    shared = [build_mlp([13, 8, 3], preprocessing=front, seed=seed).get_weights()[0] for seed in (0, 1)]
    assert (shared[0] == first).all(), "each network has an embedding of its own"
    assert (shared[1] == other).all()
    with pytest.raises(InvalidValue, match=r"recipe `table` .*digits has the shape \(8, 8\)"):
        digits.preprocessing("table")
    with pytest.raises(InvalidType, match="`hidden` needs a list of widths.* 8"):
        mlp_for(wine, hidden=8)  # type: ignore[arg-type]
    with pytest.raises(InvalidType, match="`data` needs to be what `load_data` returns; got str"):
        mlp_for("wine")  # type: ignore[arg-type]
    with pytest.raises(InvalidValue, match="`recipe` needs to be one of plain, table; got 'tables'"):
        wine.preprocessing("tables")


@pytest.mark.parametrize("num_examples", [10, 150, 2_000, 30_000, 500_000])
def test_data_of_every_size_get_enough_steps_and_not_too_many(num_examples: int) -> None:
    batch_size = table_batch_size(num_examples)
    steps = first_cycle(num_examples) * -(-num_examples // batch_size)
    assert batch_size <= num_examples
    assert 100 <= steps <= max(200, num_examples / batch_size + 1)
    assert table_epochs(num_examples) * -(-num_examples // batch_size) <= 30_000


def _numbered(num_examples: int, num_classes: int) -> Data:
    """Data with about this number of training examples, and this number of classes."""
    features = np.random.default_rng(0).normal(size=(num_examples * 5 // 4, 3)).astype("float32")
    return data_from_arrays(features, np.arange(len(features)) % num_classes, validation_share=0.1, test_share=0.1)


@pytest.mark.parametrize(
    ("num_examples", "num_classes", "members", "width", "rate"),
    [
        (500, 12, 8, 128, 1e-3),
        (2_000, 2, 4, 128, 1e-3),
        (6_000, 9, 4, 96, 1e-3),
        (2_000, 10, 1, 256, 2e-3),
        (6_000, 10, 1, 256, 2e-3),
    ],
)
def test_the_number_of_examples_and_classes_decides_about_the_network(
    num_examples: int, num_classes: int, members: int, width: int, rate: float
) -> None:
    recipe = recipe_for(_numbered(num_examples, num_classes))
    assert (recipe.members, recipe.hidden, recipe.learning_rate) == (members, (width,) * 3, rate)
    assert recipe.dropout == (0.1 if rate > 1e-3 else 0.2)
    assert recipe.label_smoothing == (0.1 if num_examples == 500 else 0.0)
    one = recipe_for(_numbered(num_examples, num_classes), members=1)
    assert (one.members, one.hidden) == (1, (256, 256, 256))


def test_settings_that_are_given_win_over_the_recipe() -> None:
    recipe = recipe_for(load_data("wine"))
    completed = TrainingSettings(epochs=3).completed(recipe)
    assert (completed.epochs, completed.optimizer, completed.schedule) == (3, "adamw", "cycles")
    assert completed.label_smoothing == 0.1
    assert TrainingSettings(label_smoothing=0.0).completed(recipe).label_smoothing == 0.0
    own_loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    assert TrainingSettings(loss=own_loss).completed(recipe).label_smoothing is None
    assert recipe_for(load_data("diabetes")).label_smoothing == 0.0, "numbers have no labels to smooth"
    other = TrainingSettings(optimizer="adam").completed(recipe)
    assert (other.weight_decay, other.learning_rate, other.batch_size) == (None, None, recipe.batch_size)
    own = TrainingSettings(optimizer=keras.optimizers.SGD(0.1)).completed(recipe)
    assert (own.schedule, own.weight_decay) == ("constant", None)
    decaying = TrainingSettings(weight_decay=0.02).completed(recipe_for(load_data("wine"), "plain"))
    assert (decaying.optimizer, decaying.weight_decay) == ("adam", 0.02)
    with pytest.raises(InvalidValue, match=r"own weight decay.*`weight_decay=0\.1`"):
        TrainingSettings(optimizer=keras.optimizers.SGD(), weight_decay=0.1)
    with pytest.raises(InvalidValue, match="`weight_decay` needs to be at least 0"):
        TrainingSettings(weight_decay=-1)


def test_the_rate_falls_to_zero_at_the_end_of_each_cycle() -> None:
    assert cycle_ends(14) == [2, 6, 14]
    for epochs in (5, 10, 12, 14):  # in which the lengths of the cycles are rounded
        ends = [7 * end for end in cycle_ends(epochs)]
        rate = make_optimizer("adam", 0.1, cycle_steps=ends)._learning_rate
        for begin, end in itertools.pairwise([0, *ends]):
            assert float(rate(begin)) == pytest.approx(0.1)
            assert float(rate(end - 1)) < 0.006, "the last step of a cycle"
        assert float(rate(ends[-1])) == pytest.approx(0, abs=1e-8)


@pytest.mark.parametrize(
    ("losses", "last"),
    [([5, 4, 5, 6, 7, 8, 1], 6), ([5, 4, 3, 3, 3, 3, 2, 2], 8), ([3, 4, 5, 5, 2, 5, 1, 1], 8)],
)
def test_a_training_ends_after_a_cycle_that_hardly_helped(losses: list[float], last: int) -> None:
    model = build_mlp([1, 1])
    stop = StopAfterIdleCycle([2, 6, 14], least_gain(None))
    stop.set_model(model)
    model.stop_training = False
    epochs = 0
    for epoch, loss in enumerate(losses):
        stop.on_epoch_end(epoch, {"val_loss": loss})
        epochs += 1
        if model.stop_training:
            break
    assert epochs == last
