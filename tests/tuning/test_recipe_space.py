"""Searches with the recipe for tables: the default space, the first trial, and what a trial computes."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kerasmlp
from kerasmlp.data.types import Data, Split
from kerasmlp.errors import InvalidType, InvalidValue
from kerasmlp.model.rate_cycles import cycle_ends
from kerasmlp.model.recipes import recipe_for
from kerasmlp.training.settings import TrainingSettings
from kerasmlp.tuning import SearchSettings, Space, search
from kerasmlp.tuning.recipe_space import complete_space, first_values
from kerasmlp.tuning.running_trials import EpochReport, TrialTrainer
from kerasmlp.tuning.trial_network import TrialNetwork
from tests.helpers.searches import read_trials

ALL = {"learning_rate", "batch_size", "depth", "units", "dropout", "weight_decay", "embedding", "members"}


@pytest.fixture(scope="module")
def prices() -> Data:
    """Numbers that bend with one feature and step with another."""
    generator = np.random.default_rng(0)
    features = generator.normal(size=(260, 3)).astype(np.float32)
    targets = 300 + 80 * np.sin(2 * features[:, 0]) - 40 * (features[:, 1] > 0.3) + generator.normal(size=260)
    return kerasmlp.data_from_arrays(features, targets.astype(np.float32), test_share=0.2)


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({}, ALL),
        ({"sizes": (3, 8, 1)}, ALL - {"depth", "units"}),
        ({"dropout": 0.3, "weight_decay": 0.01, "embedding": 4}, ALL - {"dropout", "weight_decay", "embedding"}),
        ({"optimizer": "adam"}, ALL - {"weight_decay"}),
        ({"space": {"activation": ("relu", "gelu")}, "sizes": (3, 8, 1)}, ALL - {"depth", "units"} | {"activation"}),
        ({"space": {"hidden": ((8,), (8, 8))}}, ALL - {"depth", "units"} | {"hidden"}),
        ({"space": Space(dropout=(0.1, 0.2))}, {"learning_rate", "batch_size", "dropout"}),
        ({"oracle": "grid"}, {"learning_rate", "batch_size"}),
        ({"recipe": "plain"}, {"learning_rate", "batch_size"}),
    ],
)
def test_the_default_space_of_a_table_leaves_out_what_was_set(
    prices: Data, options: dict[str, Any], names: set[str]
) -> None:
    sizes = options.get("sizes")
    rest = {name: value for name, value in options.items() if name != "sizes"}
    settings = SearchSettings.of(None, rest).for_data(prices, varies_widths=sizes is None)
    assert settings.whole_space.varied().keys() == names
    assert settings.for_data(prices) == settings, "the settings of workers are the same"
    recipe = recipe_for(prices)
    if settings.recipe == "table":
        network = settings.network(sizes or (3, *recipe.hidden, 1))
        first = first_values(settings.whole_space, prices, network)
        assert first["learning_rate"] == recipe.learning_rate
        assert first["batch_size"] == recipe.batch_size
        assert first.get("units", recipe.hidden[0]) == recipe.hidden[0]
        assert settings.epochs == recipe.epochs
        assert settings.final_schedule == recipe.schedule
    else:
        assert (settings.epochs, settings.final_epochs, settings.optimizer) == (5, 20, "adam")


def note(losses: dict[int, float], epoch: int, metrics: dict[str, float]) -> None:
    """Notes the loss of an epoch."""
    losses[epoch] = metrics["val_loss"]


def test_a_trial_of_a_table_computes_what_a_training_with_its_values_does(prices: Data, tmp_path: Path) -> None:
    trainer = TrialTrainer(
        [prices], TrialNetwork((3, 8, 1), {}, "adamw", 0.1), epochs=7, seed=2, recipe="table", schedule="cycles"
    )
    for decay, embedding, members in ((0.5, 4, 2), (5.0, 4, 2)):
        values = {"learning_rate": 0.02, "batch_size": 64, "weight_decay": decay, "embedding": embedding}
        values["members"] = members
        losses: dict[int, float] = {}
        report = EpochReport(trainer.goal, partial(note, losses))
        trainer.train({**values, "dropout": 0.1}, epochs=7, callbacks=[report])
        model = kerasmlp.build_mlp(
            [3, 8, 1],
            preprocessing=prices.preprocessing(embedding=embedding),
            postprocessing=prices.postprocessing(),
            seed=2,
            dropout=0.1,
            members=members,
        )
        settings = TrainingSettings(
            epochs=7, learning_rate=0.02, batch_size=64, weight_decay=decay, schedule="cycles", seed=2
        )
        out = tmp_path / f"{decay}-{embedding}"
        run = kerasmlp.train(model, prices, settings, out=out)
        assert list(losses.values()) == pytest.approx([row["val_loss"] for row in run.history], rel=1e-4)
    assert len(trainer._prepared) == 1, "another weight decay needs no other network"


def test_a_search_of_a_table_begins_with_the_recipe(prices: Data, tmp_path: Path) -> None:
    run = search(prices, trials=2, epochs=3, final_epochs=3, out=tmp_path / "search")
    recipe, records = recipe_for(prices), read_trials(run.path)
    first = records[0].values
    assert first.keys() == ALL
    assert (first["units"], first["depth"]) == (recipe.hidden[0], len(recipe.hidden))
    assert first["learning_rate"] == pytest.approx(recipe.learning_rate)
    assert {record.best_epoch for record in records} | {run.metrics["best_epoch"]} <= set(cycle_ends(3))
    best = min(records, key=lambda record: record.scores["val_rmse"])
    assert run.metrics["weight_decay"] == best.values["weight_decay"]
    assert run.metrics["sizes"] == [3, *[best.values["units"]] * best.values["depth"], 1]
    assert run.load_model().get_layer("table_features").units == best.values["embedding"]


def test_the_first_trial_has_the_values_of_the_recipe_that_a_list_holds(prices: Data) -> None:
    space = {"dropout": (0.3, 0.1, 0.2), "learning_rate": (0.002, 0.01), "weight_decay": (0.5,)}
    settings = SearchSettings(space=space).for_data(prices)
    recipe = recipe_for(prices)
    first = first_values(settings.whole_space, prices, settings.network((3, *recipe.hidden, 1)))
    assert first["dropout"] == pytest.approx(recipe.dropout)
    assert first["learning_rate"] == pytest.approx(recipe.learning_rate)
    assert "weight_decay" not in first


def test_folds_of_a_small_table_do_not_limit_the_default_space(prices: Data) -> None:
    space = complete_space(None, prices, "table", ())
    few = replace(prices, train=Split(prices.train.features[:11], prices.train.labels[:11]))
    assert complete_space(None, prices, "table", (), splits=[prices, few]).batch_size == (11,)
    assert space.batch_size == (recipe_for(prices).batch_size,)


def test_a_weight_decay_is_that_of_every_optimizer_of_a_search() -> None:
    network = TrialNetwork((4, 8, 3), {}, "adamw", 0.1)
    assert network.with_values({"optimizer": "sgd"}).weight_decay == 0.1
    assert network.with_values({"optimizer": "adam", "weight_decay": 0.02}).weight_decay == 0.02


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"space": {"drop": (0.1,)}}, InvalidValue, "`drop`.*`dropout`"),
        ({"space": 3}, InvalidType, "`space`.*3"),
        ({"space": Space(embedding=(0, 4))}, InvalidValue, "`embedding`.*at least 1.*0, 4"),
        ({"space": Space(embedding=(4,)), "recipe": "plain"}, InvalidValue, "`embedding`.*`table`.*`plain`"),
        ({"space": Space(weight_decay=(-0.1,))}, InvalidValue, r"`weight_decay`.*-0\.1"),
        ({"weight_decay": -0.1}, InvalidValue, r"`weight_decay`.*-0\.1"),
        ({"embedding": 0}, InvalidValue, "`embedding`.* 0"),
        ({"recipe": "tables"}, InvalidValue, "`recipe`.*tables"),
        ({"oracle": "grid"}, InvalidValue, "`learning_rate`"),
    ],
)
def test_a_search_of_a_table_that_cannot_start_is_refused(
    prices: Data, tmp_path: Path, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        search(prices, **options, out=tmp_path / "search")
    assert not list(tmp_path.iterdir())
