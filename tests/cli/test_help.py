"""The help of every command: pleasant to read, with the library's own defaults, and without large libraries."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from kerasmlp.cli import build_parser, main
from kerasmlp.cli.parser import COMMANDS
from kerasmlp.export.tflite.settings import TFLiteSettings
from kerasmlp.lesson.settings import ComparisonSettings
from kerasmlp.settings_base import Settings
from kerasmlp.training.settings import TrainingSettings
from kerasmlp.tuning.settings import SearchSettings

HEAVY = ("numpy", "tensorflow", "keras", "pandas", "rich", "importlib.metadata")


def _help(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    with pytest.raises(SystemExit) as ended:
        main([*words, "--help"])
    assert ended.value.code == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_a_command_names_it_explains_its_options_and_ends_with_examples(
    capsys: pytest.CaptureFixture[str], command: str
) -> None:
    shown = _help(capsys, command)
    assert shown.startswith(f"usage: kerasmlp {command} ")
    assert "[options]" in shown.splitlines()[0]
    assert f"examples:\n  kerasmlp {command}" in shown
    for option in ("--help", "--json", "--verbose"):
        assert option in shown
    assert "None" not in shown
    assert "%(" not in shown


def test_the_examples_are_correct_command_lines(capsys: pytest.CaptureFixture[str]) -> None:
    for command in COMMANDS:
        examples = re.findall(r"^  kerasmlp (.+)$", _help(capsys, command), flags=re.MULTILINE)
        assert examples
        for example in examples:
            assert build_parser().parse_args(example.split()).command == command


def test_the_help_of_the_program_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    shown = " ".join(_help(capsys).split())
    for command, summary in COMMANDS.items():
        assert f"{command} {summary}" in shown


@pytest.mark.parametrize(
    ("command", "settings"),
    [
        ("train", TrainingSettings),
        ("tune", SearchSettings),
        ("export", TFLiteSettings),
        ("lesson", ComparisonSettings),
    ],
)
def test_defaults_are_those_of_the_library(
    capsys: pytest.CaptureFixture[str], command: str, settings: type[Settings]
) -> None:
    args = vars(build_parser().parse_args([command, "x"]))
    shared = {name for name in settings.names() if name in args and args[name] is not None}
    assert len(shared) >= 3
    if command == "tune":  # on the command line these are texts, which become a `Space`
        shared -= {"learning_rate", "batch_size", "space"}
    shown = " ".join(_help(capsys, command).split())
    for name in shared:
        assert args[name] == settings.default(name), name
        if not isinstance(args[name], bool | tuple):
            assert f"(default: {args[name]})" in shown, name


@pytest.mark.parametrize("command", COMMANDS)
def test_help_loads_no_large_library(command: str) -> None:
    code = (
        "import sys\n"
        "from kerasmlp.cli import main\n"
        "try:\n"
        f"    main([{command!r}, '--help'])\n"
        "finally:\n"
        f"    sys.stderr.write(' '.join(sorted(set({HEAVY}) & set(sys.modules))))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_help_in_a_terminal_is_the_same_text_in_colour(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    plain = _help(capsys, "tune")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    coloured = _help(capsys, "tune")
    assert "\x1b[" in coloured
    without_colours = re.sub(r"\x1b\[[0-9;]*m", "", coloured)
    assert "".join(without_colours.split()) == "".join(plain.split()), "the same but for line breaks"


def test_the_version_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    import kerasmlp

    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"kerasmlp {kerasmlp.__version__}\n"


@pytest.mark.parametrize("command", ["export", "predict", "info"])
def test_commands_that_draw_nothing_at_random_accept_a_seed_without_showing_it(
    capsys: pytest.CaptureFixture[str], command: str
) -> None:
    assert build_parser().parse_args([command, "x", *(["y"] if command == "predict" else []), "--seed", "3"]).seed == 3
    assert "--seed" not in _help(capsys, command)


def test_the_older_name_of_an_option_of_the_lesson_still_works() -> None:
    for flag in ("--reproduce-notebook", "--lesson"):
        assert build_parser().parse_args(["lesson", flag]).reproduce_notebook is True


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "digits", "--hiden", "5"], "kerasmlp train: .*--hiden.*`--hidden`"),
        (["evaluate", "runs/x", "digits", "--jsn"], "kerasmlp evaluate: .*--jsn.*`--json`"),
        (["rollback", "models/x", "surplus"], "kerasmlp rollback: .*surplus"),
    ],
)
def test_an_unknown_argument_is_refused_with_the_nearest_option(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        build_parser().parse_args(words)
    assert ended.value.code == 2
    assert re.search(message, capsys.readouterr().err)
