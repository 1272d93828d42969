"""`SearchSettings`: defaults, checks, and how options are sorted into settings and options of the network."""

from __future__ import annotations

import inspect
import subprocess
import sys
from typing import Any

import pytest

from kerasmlp.errors import InvalidType, InvalidValue
from kerasmlp.tuning import SearchSettings, Space, join_search, search


def test_defaults_can_be_read_without_importing_any_large_library() -> None:
    code = (
        "import sys; from kerasmlp.tuning.settings import SearchSettings\n"
        "[SearchSettings.default(name) for name in SearchSettings.names()]\n"
        "print({'numpy', 'keras', 'tensorflow', 'keras_tuner'} & set(sys.modules))"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout == "set()\n"


def test_options_of_the_network_are_added_to_those_that_the_settings_hold() -> None:
    settings = SearchSettings(epochs=3, model_options={"activation": "gelu", "dropout": 0.1})
    changed = SearchSettings.of(settings, {"seed": 2, "dropout": 0.5})
    assert (changed.epochs, changed.seed) == (3, 2)
    assert changed.model_options == {"activation": "gelu", "dropout": 0.5}
    assert settings.model_options == {"activation": "gelu", "dropout": 0.1}
    given = SearchSettings.of(settings, {"model_options": {"l2": 0.1}, "dropout": 0.5})
    assert given.model_options == {"l2": 0.1, "dropout": 0.5}


@pytest.mark.parametrize(
    ("name", "nearest"), [("trails", "trials"), ("drop_out", "dropout"), ("final_epoch", "final_epochs")]
)
def test_an_unknown_option_is_refused_and_the_nearest_one_suggested(name: str, nearest: str) -> None:
    with pytest.raises(InvalidType, match=f"`{name}`.*`{nearest}`"):
        SearchSettings.of(None, {name: 1})


def test_only_some_options_are_for_the_final_training_alone() -> None:
    with pytest.raises(InvalidType, match="`warmup`.*`warm_up`"):
        SearchSettings(final_options={"warmup": 1})


@pytest.mark.parametrize("name", ["input_shape", "preprocessing", "augmentation", "name"])
def test_options_that_a_search_sets_itself_are_refused(name: str) -> None:
    with pytest.raises(InvalidType, match=f"`{name}`"):
        SearchSettings(model_options={name: None})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "`epochs`.* 0"),
        ({"trials": -1}, "`trials`.* -1"),
        ({"final_epochs": 0}, "`final_epochs`.* 0"),
        ({"seed": -1}, "`seed`.* -1"),
        ({"final_schedule": "cosin"}, "`cosin`.*`cosine`"),
        ({"optimizer": "adan"}, "`adan`.*`adam`"),
        ({"oracle": "grit"}, "`grit`.*`grid`"),
        ({"oracle": "hyperband", "trials": 8}, "`trials`.* 8"),
        ({"workers": 0}, "`workers`.* 0"),
        ({"workers": -1, "address": "host:7000"}, "`workers`.* -1"),
        ({"address": "host"}, '`address`.*"host"'),
        ({"final_options": {"ema": 1.0}}, "`ema`.* 1"),
        ({"final_options": {"quantize_aware": "int5"}}, "`quantize_aware`.*`int5`"),
    ],
)
def test_values_that_are_not_allowed_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidValue, match=message):
        SearchSettings(**options)


@pytest.mark.parametrize(
    ("settings", "trials"),
    [
        (SearchSettings(space=Space()), 12),
        (SearchSettings(space=Space(), trials=30), 30),
        (SearchSettings(space=Space((0.1, 0.2), (32,)), trials=30), 2),
        (SearchSettings(space=Space((0.1, 0.2), (32, 64)), oracle="grid"), 4),
        (SearchSettings(space=Space(), oracle="hyperband"), None),
    ],
)
def test_the_number_of_trials_depends_on_oracle_and_space(settings: SearchSettings, trials: int | None) -> None:
    assert settings.num_trials() == trials


@pytest.mark.parametrize("function", [search, join_search])
def test_help_lists_every_setting_with_its_default(function: Any) -> None:
    parameters = inspect.signature(function).parameters
    for name in SearchSettings.names():
        if name != "address" or function is search:
            assert parameters[name].default == SearchSettings.default(name)
