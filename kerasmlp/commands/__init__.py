"""What each command does: the Python API, called with what was typed, and its results as JSON and as a table.

A command is a function of its arguments. It returns its result, which `--json` prints, and a function that shows the
same to a person.
"""

from kerasmlp.commands.artefacts import evaluate, info, predict
from kerasmlp.commands.exporting import export, rollback
from kerasmlp.commands.learning import lesson
from kerasmlp.commands.training import quickstart, train, tune

__all__ = ["evaluate", "export", "info", "lesson", "predict", "quickstart", "rollback", "train", "tune"]
