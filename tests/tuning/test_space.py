"""The space of a search: as Python values, as text, in files, and in Keras Tuner's terms."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras_tuner
import pytest

from kerasmlp.errors import InvalidType, InvalidValue, NotFound
from kerasmlp.tuning import MLPHyperModel, Range, Space
from kerasmlp.tuning.oracles import grid
from kerasmlp.tuning.space import PARAMETERS
from kerasmlp.tuning.space_text import parse_choices, read_space


@pytest.mark.parametrize(("name", "parameter"), PARAMETERS.items())
def test_the_example_of_each_hyper_parameter_is_valid(name: str, parameter: Any) -> None:
    choices = parse_choices(name, parameter.example)
    assert getattr(Space(**{name: choices}), name) == choices


def test_a_range_with_a_count_gives_values_on_a_log_scale_or_a_linear_one() -> None:
    assert parse_choices("units", "32:512:5") == (32, 64, 128, 256, 512)
    assert parse_choices("dropout", "0:0.5:3") == (0.0, 0.25, 0.5)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("learning_rate", "0.01:0.001", "`learning_rate`.*0.01:0.001"),
        ("learning_rate", "0.01:0.01", "`learning_rate`.*0.01:0.01"),
        ("learning_rate", "0:0.01", "`learning_rate`.*positive.*0:0.01"),
        ("learning_rate", "-1:0.01", "`learning_rate`.*positive.*-1:0.01"),
        ("learning_rate", "nan:1", "`learning_rate`.*nan:1"),
        ("learning_rate", "1e-3:inf", "`learning_rate`.*0.001:inf"),
        ("learning_rate", "", "`learning_rate`.*at least one"),
        ("learning_rate", "fast", "`learning_rate`.*numbers.*0.0001.*`fast`"),
        ("learning_rate", "1:2:3:4", "`learning_rate`.*`1:2:3:4`"),
        ("learning_rate", "0.1:1:1", "`learning_rate`.*at least 2.*`0.1:1:1`"),
        ("batch_size", "16:64", "`batch_size`.*32,64,128.*`16:64`"),
        ("batch_size", "16.5", "`batch_size`.*whole numbers.*32.*`16.5`"),
        ("batch_normalization", "maybe", "`batch_normalization`.*true or false.*`maybe`"),
        ("lerning_rate", "1", "`lerning_rate`.*`learning_rate`"),
    ],
)
def test_choices_that_are_not_valid_are_refused(name: str, text: str, message: str) -> None:
    with pytest.raises(InvalidValue, match=message):
        parse_choices(name, text)


def test_values_that_are_not_choices_are_refused() -> None:
    with pytest.raises(InvalidType, match="`dropout`.*`Range`.*0.5"):
        Space(dropout=0.5)  # type: ignore[arg-type]
    with pytest.raises(InvalidValue, match="`hidden`.*`depth`.*`units`"):
        Space(hidden=((8,),), units=(8,))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("space.toml", 'dropout = "0:0.5"\nhidden = [[32], [32, 16]]\nactivation = ["relu", "gelu"]\n'),
        ("space.yaml", "dropout: 0:0.5\nhidden: 32,32x16\nactivation: [relu, gelu]\n"),
    ],
)
def test_a_file_describes_the_same_choices_as_the_command_line(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    expected = {"dropout": Range(0, 0.5), "hidden": ((32,), (32, 16)), "activation": ("relu", "gelu")}
    assert read_space(tmp_path / name) == expected


def test_files_that_do_not_describe_a_space_are_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"none\.toml"):
        read_space(tmp_path / "none.toml")
    for name, text, message in (
        ("a.txt", "", r"`.toml` or `.yaml`.*a\.txt"),
        ("a.toml", "dropout = ", r"a\.toml"),
        ("a.yaml", "- 1\n", r"a\.yaml.*1"),
        ("b.toml", 'drop = "1"', "`drop`.*`dropout`"),
    ):
        (tmp_path / name).write_text(text)
        with pytest.raises(InvalidValue, match=message):
            read_space(tmp_path / name)


def test_a_grid_holds_every_combination_once() -> None:
    space = Space(learning_rate=(1e-3, 1e-2), batch_size=(32, 64), depth=Range(1, 3), hidden=None)
    combinations = [tuple(combination.items()) for combination in grid(space)]
    assert len(combinations) == len(set(combinations)) == space.size() == 12


@pytest.mark.parametrize(
    ("num_examples", "batch_sizes"),
    [(None, (16, 32, 64, 128)), (512, (16, 32, 64, 128)), (511, (16, 32, 64)), (64, (16,)), (63, (15,)), (3, (1,))],
)
def test_default_batch_sizes_suit_the_number_of_examples(
    num_examples: int | None, batch_sizes: tuple[int, ...]
) -> None:
    assert Space().for_examples(num_examples).batch_size == batch_sizes
    assert Space(batch_size=(256,)).for_examples(num_examples).batch_size == (256,)


def test_the_hypermodel_works_with_any_tuner_and_trains_with_the_batch_size_that_it_chose(
    digits: Any, tmp_path: Path
) -> None:
    space = Space(batch_size=(32, 64), depth=Range(1, 2), units=(8, 16))
    tuner = keras_tuner.RandomSearch(
        MLPHyperModel([64, 8, 10], space, input_shape=(8, 8), preprocessing=digits.preprocessing()),
        "val_accuracy",
        max_trials=2,
        seed=1,
        directory=tmp_path,
    )
    train, validation = ((part.features, part.labels) for part in (digits.train, digits.validation))
    tuner.search(*train, validation_data=validation, epochs=1, verbose=0)
    best = tuner.get_best_hyperparameters()[0]
    assert set(best.values) == {"learning_rate", "batch_size", "depth", "units"}
    model = MLPHyperModel([64, 8, 10], space, input_shape=(8, 8)).build(best)
    assert [layer.units for layer in model.layers if hasattr(layer, "units")][:-1] == [best.get("units")] * best.get(
        "depth"
    )
