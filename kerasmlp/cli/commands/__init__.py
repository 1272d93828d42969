"""What each command does: the Python API, called with what was typed, and its results as JSON and as a table.

A command is a function of its arguments. It returns its result, which `--json` prints, and a function that shows the
same to a person.
"""

from kerasmlp.cli.commands.artefact_commands import evaluate, info, predict
from kerasmlp.cli.commands.export_commands import export, rollback
from kerasmlp.cli.commands.lesson_command import lesson
from kerasmlp.cli.commands.train_commands import quickstart, train, tune

__all__ = ["evaluate", "export", "info", "lesson", "predict", "quickstart", "rollback", "train", "tune"]
