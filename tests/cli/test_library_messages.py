"""Messages of the library on the command line: parameters become flags, and warnings become notes."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

from kerasmlp.cli import build_parser
from kerasmlp.cli.library_messages import Flag, named_by_flags, notes_on_stderr
from kerasmlp.cli.parser import COMMANDS
from kerasmlp.errors import KerasMLPWarning

FLAGS: dict[str, dict[str, Flag]] = {
    command: build_parser().parse_args([command, *words]).flags
    for command, words in {
        **dict.fromkeys(
            ("quickstart", "train", "tune", "export", "rollback", "explain", "info", "lesson", "serve"), ("x",)
        ),
        **dict.fromkeys(("evaluate", "predict", "distill"), ("x", "y")),
        "committee": ("x",),
    }.items()
}


@pytest.mark.parametrize(
    ("command", "message", "shown"),
    [
        # A name alone, and a name with a value.
        ("train", "`epochs` needs to be at least 1; got 0.", "`--epochs` needs to be at least 1; got 0."),
        ("train", "Set `test_share=0.15`.", "Set `--test-share 0.15`."),
        ("train", "Pass another `out=`, or wait.", "Pass another `--out`, or wait."),
        ("train", "Remove `learning_rate` and `schedule`.", "Remove `--learning-rate` and `--schedule`."),
        ("train", "`batch_size`, `epochs` or `seed`", "`--batch-size`, `--epochs` or `--seed`"),
        # Values as one types them.
        ("tune", 'Set `oracle="random"`.', "Set `--oracle random`."),
        ("train", "Set `sizes=[64, 10]`.", "Set `--sizes 64,10`."),
        ("export", "Set `quantize=('int8', 'int4')`.", "Set `--quantize int8,int4`."),
        ("train", 'Set `target="two words"`.', "Set `--target 'two words'`."),
        ("train", "Set `out=...`.", "Set `--out ...`."),
        # Switches take no value.
        ("train", "Set `overwrite=True`.", "Set `--overwrite`."),
        ("train", "Set `use_bias=False`.", "Set `--no-bias`."),
        ("tune", "Set `early_stopping=False`.", "Set `--no-early-stopping`."),
        ("train", "Needs `stream=False`.", "Needs no `--stream`."),
        ("train", "Needs `test_share=None`.", "Needs no `--test-share`."),
        # Options whose name is not the parameter's.
        ("export", "`batch_size` needs to be at least 1.", "`--batch` needs to be at least 1."),
        ("export", "`version` is empty.", "`--model-version` is empty."),
        ("evaluate", "`timeout_s` needs to be positive.", "`--timeout` needs to be positive."),
        ("lesson", "`reproduce_notebook=True` needs mse.", "`--reproduce-notebook` needs mse."),
        # Parameters that are no option of the command: positional arguments, and those of other commands.
        ("train", "Pass them as `data=`.", "Pass them as `data=`."),
        ("train", "Set `trials=3`.", "Set `trials=3`."),
        ("rollback", "`epochs` needs to be at least 1.", "`epochs` needs to be at least 1."),
        # Names in the user's data, and values that the user has typed, are left alone.
        ("train", "The column `time` has no value.", "The column `time` has no value."),
        ("train", "The columns `size`, `time` and `group` differ.", "The columns `size`, `time` and `group` differ."),
        ("train", "The columns are `time`, `size`.", "The columns are `time`, `size`."),
        ("train", "The class `target` is rare.", "The class `target` is rare."),
        ("train", "There is no column `x`. Did you mean `time`?", "There is no column `x`. Did you mean `time`?"),
        ("tune", "There is no oracle `seed`.", "There is no oracle `seed`."),
        ("train", "`time` needs another column; got `group`.", "`--time` needs another column; got `group`."),
        ("train", "`my file.csv` and `build_mlp(sizes)`", "`my file.csv` and `build_mlp(sizes)`"),
    ],
)
def test_parameters_become_flags(command: str, message: str, shown: str) -> None:
    assert named_by_flags(message, FLAGS[command]) == shown


def test_every_command_has_flags_for_its_options_and_none_for_hidden_ones() -> None:
    assert FLAGS.keys() == COMMANDS.keys()
    for flags in FLAGS.values():
        assert flags["json"] == Flag("--json", True)
        assert flags["verbose"] == Flag("--verbose", True)
    assert FLAGS["lesson"]["reproduce_notebook"] == Flag("--reproduce-notebook", True)
    assert "seed" not in FLAGS["info"], "nothing is drawn at random there"


def _shown(capsys: pytest.CaptureFixture[str], *warned: tuple[str, type[Warning]], **options: Any) -> str:
    with notes_on_stderr(FLAGS["train"], show_others=options.get("show_others", False)):
        if not options.get("show_others"):
            warnings.simplefilter("ignore")
            warnings.simplefilter("always", KerasMLPWarning)
        for message, category in warned:
            warnings.warn(message, category, stacklevel=2)
    return capsys.readouterr().err


def test_a_warning_of_kerasmlp_is_shown_once_as_a_note(capsys: pytest.CaptureFixture[str]) -> None:
    note = ("`epochs=1` is very little.", KerasMLPWarning)
    shown = _shown(capsys, note, note, ("Another.", KerasMLPWarning), ("Of a library.", DeprecationWarning))
    assert shown == "Note: `--epochs 1` is very little.\nNote: Another.\n"


def test_each_command_shows_a_note_again(capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        assert _shown(capsys, ("Rare.", KerasMLPWarning)) == "Note: Rare.\n"


def test_warnings_of_other_libraries_are_shown_on_request(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.warns(FutureWarning, match="Of a library"):  # shown in Python's own way, which pytest watches
        shown = _shown(capsys, ("Of a library.", FutureWarning), ("Rare.", KerasMLPWarning), show_others=True)
    assert shown == "Note: Rare.\n"


def test_outside_of_commands_warnings_are_shown_as_python_shows_them() -> None:
    with notes_on_stderr({}, show_others=False):
        pass
    with pytest.warns(KerasMLPWarning, match="Rare"):
        warnings.warn("Rare.", KerasMLPWarning, stacklevel=1)
