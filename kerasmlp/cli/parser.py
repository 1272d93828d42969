"""The commands of `kerasmlp` and the parser that reads them. The arguments of a command are in its own module."""

from __future__ import annotations

import argparse
import importlib
import sys
from typing import Any, NoReturn

from kerasmlp.cli.library_messages import Flag
from kerasmlp.errors import nearest

EXIT_WRONG_REQUEST = 2

# To add a command, add a line here and a module `kerasmlp/cli/commands/NAME_command.py` with
#
#     EXAMPLES = ("kerasmlp NAME digits", ...)
#     def add_arguments(parser: argparse.ArgumentParser) -> None: ...
#     def run(args: argparse.Namespace) -> Outcome: ...
#
# The module is imported when the command is used, so it may import what it needs to run inside `run` only.
COMMANDS = {
    "quickstart": "search, train, export and verify a network, by default on scans of handwritten digits",
    "train": "train a network",
    "distill": "train a small network on the answers of one or several runs, for example for a phone",
    "committee": "join several runs to one network that answers with the mean of their answers",
    "tune": "search hyper-parameters with Keras Tuner, then train with the best ones",
    "export": "export a run as SavedModel and TFLite, and check each file against the Keras model on the test examples",
    "rollback": "withdraw the newest version of a SavedModel, so that the version before it is served again",
    "evaluate": "measure how good the answers of an artefact are on the test examples",
    "explain": "show which columns of a table a network relies on, and how its answers depend on them",
    "predict": "answer images, or the rows of CSV, Parquet and npz files, with classes, labels or numbers",
    "serve": "serve models over HTTP, as TF Serving does, on this machine",
    "info": "describe an artefact or a data set",
    "lesson": "train the same network in NumPy, Keras and PyTorch and compare the accuracies",
}


class Parser(argparse.ArgumentParser):
    """A parser that answers a wrong request with one sentence, and prints help in colour in a terminal."""

    def __init__(self, **options: Any) -> None:
        """Makes a parser without options, not even `--help`."""
        super().__init__(add_help=False, formatter_class=argparse.RawDescriptionHelpFormatter, **options)

    def error(self, message: str) -> NoReturn:
        """Prints what is wrong and ends the process with status 2."""
        sentence = message[0].upper() + message[1:]
        end = "" if sentence.endswith((".", "?")) else "."
        sys.stderr.write(f"{self.prog}: {sentence}{end} `{self.prog} --help` lists what you can ask for.\n")
        sys.exit(EXIT_WRONG_REQUEST)

    def format_help(self) -> str:
        """Returns the help text."""
        if sys.stdout.isatty():
            self.formatter_class = _colourful_formatter()
        return super().format_help()

    @property
    def actions(self) -> list[argparse.Action]:
        """The arguments, in the order in which they were added."""
        return self._actions  # argparse has no public way to list them


class CommandParser(Parser):
    """The parser of one command. It learns its arguments from the command's module when it is first used."""

    def __init__(self, *, command: str, **options: Any) -> None:
        """Makes the parser of `command`, one of `COMMANDS`."""
        summary = COMMANDS[command]
        super().__init__(description=f"{summary[0].upper()}{summary[1:]}.", **options)
        self._command = command
        self._is_ready = False

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parses arguments, as `ArgumentParser` does, but refuses unknown ones with a suggestion."""
        self.add_arguments()
        known, others = super().parse_known_args(args, namespace)
        if others:
            options = [option for action in self.actions for option in action.option_strings]
            hint = nearest(others[0].partition("=")[0], options)
            self.error(f"`{others[0]}` is not an argument of this command.{hint}")
        return known, others

    def add_arguments(self) -> None:
        """Adds the command's arguments, and those that every command has."""
        if self._is_ready:
            return
        self._is_ready = True
        module = importlib.import_module(f"kerasmlp.cli.commands.{self._command}_command")
        module.add_arguments(self)
        _add_general_options(self)
        self.epilog = "\n  ".join(("examples:", *module.EXAMPLES))
        positionals = [_usage(action) for action in self.actions if not action.option_strings]
        self.usage = " ".join((self.prog, *positionals, "[options]"))
        self.set_defaults(run_command=module.run, flags=_flags(self))


def build_parser() -> Parser:
    """Returns the parser of all commands.

    The result of its `parse_args` has, besides the options, `command`, `run_command`, which runs it, and `flags`, which
    maps the library's names of its options to `Flag`s.

    Example:
        >>> build_parser().parse_args(["train", "digits", "--epochs", "3"]).epochs
        3
    """
    parser = Parser(
        prog="kerasmlp",
        usage="kerasmlp COMMAND ...",
        description="Train, tune and export multi-layer perceptrons with Keras. Every exported file is checked.",
        epilog="Start with `kerasmlp quickstart`. `kerasmlp COMMAND --help` explains a command.",
    )
    # `prog` is given, because argparse would otherwise format a usage text to find it.
    commands = parser.add_subparsers(
        title="commands", dest="command", required=True, metavar="COMMAND", prog="kerasmlp", parser_class=CommandParser
    )
    for name, summary in COMMANDS.items():
        commands.add_parser(name, help=summary, command=name)
    general = parser.add_argument_group("general")
    general.add_argument("-h", "--help", action="help", help="show this help")
    general.add_argument("--version", action=_ShowVersion, nargs=0, help="show the version of kerasmlp")
    return parser


def _add_general_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("general")
    group.add_argument("-h", "--help", action="help", help="show this help")
    group.add_argument("--json", action="store_true", help="print the result as one JSON object instead of a table")
    group.add_argument("--verbose", action="store_true", help="show messages of TensorFlow, and tracebacks of errors")


def _flags(parser: Parser) -> dict[str, Flag]:
    flags: dict[str, Flag] = {}
    for action in parser.actions:
        if action.option_strings and action.help is not argparse.SUPPRESS:
            is_switch = action.nargs == 0 and isinstance(action.const, bool)
            flags[action.dest] = Flag(action.option_strings[-1], action.const if is_switch else None)
    return flags


def _usage(action: argparse.Action) -> str:
    name = str(action.metavar or action.dest)
    return {argparse.OPTIONAL: f"[{name}]", argparse.ONE_OR_MORE: f"{name} [{name} ...]"}.get(str(action.nargs), name)


class _ShowVersion(argparse.Action):
    """Prints the version, which is looked up only then: this takes as long as all of argparse."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> NoReturn:
        from kerasmlp import __version__

        print(f"kerasmlp {__version__}")
        parser.exit()


def _colourful_formatter() -> type[argparse.HelpFormatter]:
    """Returns a formatter for terminals. Loading it takes as long as everything else in `--help`."""
    from rich_argparse import RawDescriptionRichHelpFormatter

    class Formatter(RawDescriptionRichHelpFormatter):
        """Shows the same text in colour."""

        group_name_formatter = str
        # Brackets in help texts are brackets, not markup.
        help_markup = text_markup = False

    return Formatter
