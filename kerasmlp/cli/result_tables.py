"""The tables that commands print for a person."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

from kerasmlp._system.terminal import results_console
from kerasmlp.contract import CROSS_VALIDATION_NAME, OUT_OF_FOLD_NAME, TABLE
from kerasmlp.model.optimizers import CYCLES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kerasmlp.artefacts.onnx_contents import OnnxContents
    from kerasmlp.artefacts.tflite_contents import Contents, Tensor
    from kerasmlp.card import Card
    from kerasmlp.cli.artefact_facts import ArtefactFacts
    from kerasmlp.client.classifier import Classifier
    from kerasmlp.export.artefact_report import ArtefactReport
    from kerasmlp.lesson.framework_comparison import FrameworkResult
    from kerasmlp.run import Run
    from kerasmlp.training.fold_report import CrossValidation


def show_run(run: Run) -> None:
    """Prints what was trained, and how good it is."""
    from kerasmlp.tasks.scores import score_title

    metrics, task = run.metrics, run.card.learnt
    objective = task.objective(metrics.get("objective"))[0].removeprefix("val_")
    judged = objective if f"val_{objective}" in metrics else task.logged
    validated = task.shown(judged, metrics[f"val_{judged}"])
    tested = {name.removeprefix("test_"): value for name, value in metrics.items()}
    rows = [
        ("data", f"{metrics['dataset']}, {metrics['train_examples']:,} training examples"),
        (
            "network",
            f"{_members_text(metrics)}{' - '.join(map(str, metrics['sizes']))}, {metrics['parameters']:,} parameters",
        ),
        *([("recipe", _recipe_text(metrics))] if metrics.get("recipe") == TABLE else []),
        (
            "settings",
            f"{metrics['optimizer']}, learning rate {metrics['learning_rate']:.3g}"
            f"{' in cycles' if metrics['schedule'] == CYCLES else ''}, batch {metrics['batch_size']}",
        ),
        (f"validation {score_title(judged)}", f"{validated} (epoch {metrics['best_epoch']} of {metrics['epochs']})"),
        *_calibration_rows(metrics),
        *task.rows(tested, "test "),
        ("test examples", f"{metrics['test_examples']:,}"),
        ("time", f"{metrics['seconds_per_epoch']:.2f} s per epoch"),
        *_budget_rows(metrics),
    ]
    results_console().print(make_table(("trained", ""), rows))


def show_teachers(run: Run) -> None:
    """Prints how a student compares with its teachers on the same test examples."""
    _show_compared(run, "student", run.metrics["teachers"], "teacher")


def show_committee(run: Run) -> None:
    """Prints how a committee compares with the runs in it on the same test examples."""
    _show_compared(run, "committee", run.metrics["committee_of"], "run")


def _show_compared(run: Run, own: str, others: Sequence[Mapping[str, Any]], other: str) -> None:
    """Prints a row for a run, and a row for each of the runs that it was made from."""
    from kerasmlp.tasks.scores import score_title

    metrics, shown = run.metrics, run.card.learnt.shown
    score = next(name for name in others[0] if name.startswith("test_"))
    rows = [
        (
            f"{kind} {os.path.normpath(path)}",
            f"{_members_text(each)}{' - '.join(map(str, each['sizes']))}",
            f"{each['parameters']:,}",
            shown(score, each[score]),
        )
        for kind, path, each in ((own, run.path, metrics), *((other, run.path / each["run"], each) for each in others))
    ]
    results_console().print()
    results_console().print(make_table(("", "network", "parameters", score_title(score)), rows))


def show_cross_validation(result: CrossValidation) -> None:
    """Prints a row for each fold, and the mean and the spread of the scores."""
    from kerasmlp.tasks.scores import score_title
    from kerasmlp.training.fold_report import shown_scores

    summary, shown = result.summary, result.runs[0].card.learnt.shown
    names = shown_scores(summary)
    rows = [
        [
            run["run"],
            f"{run['train_examples']:,}",
            f"{run['test_examples']:,}",
            f"{run['best_epoch']} of {run['epochs']}",
            *(shown(name, run["scores"][name]) if name in run["scores"] else "" for name in names),
        ]
        for run in summary["runs"]
    ]
    for words, key in (("mean", "mean"), ("standard deviation", "std")):
        rows.append([words, "", "", "", *(shown(name, summary[key][name]) for name in names)])
    heads = ("fold", "training", "test", "best epoch", *(score_title(name) for name in names))
    results_console().print(make_table(heads, rows))
    results_console().print(
        f"\nSummary:   {result.path / CROSS_VALIDATION_NAME}\n"
        f"Answers:   {result.path / OUT_OF_FOLD_NAME}\n"
        f"Pictures:  {result.path / 'plots'}",
        soft_wrap=True,
    )


def _members_text(metrics: Mapping[str, Any]) -> str:
    return f"{metrics['members']} members of " if "members" in metrics else ""


def _recipe_text(metrics: Mapping[str, Any]) -> str:
    """What the recipe for tables decided about a network, in words."""
    embedding = f", {metrics['embedding']} learnt features of each number" if "embedding" in metrics else ""
    smoothed = ", smoothed labels" if "label_smoothing" in metrics else ""
    return f"{TABLE}{embedding}, dropout {metrics['dropout']:g}{smoothed}"


def _budget_rows(metrics: Mapping[str, Any]) -> list[tuple[str, str]]:
    """How a training with a number of minutes kept to its plan, and why a training ended before its last epoch."""
    rows = []
    if "minutes_used" in metrics:
        used = f"{metrics['minutes_used']:.2f} of {metrics['minutes']:.3g} minutes"
        rows.append(("budget", f"{used}, {metrics['epochs']:,} of {metrics['planned_epochs']:,} planned epochs"))
    return [*rows, *([("ended sooner", metrics["ended_because"])] if "ended_because" in metrics else [])]


def _calibration_rows(metrics: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The temperature of a calibrated network, and what it changed on the test examples."""
    about = metrics.get("calibration")
    if about is None:  # not asked for, or numbers
        return []
    if about["temperature"] == 1:
        return [("calibration", f"none: {about['reason']}")]
    names = {"log_loss": "log-loss", "ece": "calibration error"}
    return [
        ("calibration", f"temperature {about['temperature']:.3f}: {about['reason']}"),
        *(
            (f"test {words}", f"{metrics[f'test_{name}']:.4f} (before: {about[f'test_{name}_before']:.4f})")
            for name, words in names.items()
        ),
    ]


def show_reports(run: Run, reports: list[ArtefactReport]) -> None:
    """Prints a row for the Keras model of a run, and a row for each artefact made from it."""
    from kerasmlp.tasks.scores import score_title

    keras_row = (str(run.model_path), "keras", "float32", format_bytes(run.model_path.stat().st_size))
    timed = any(report.latency_p50_us is not None for report in reports)
    decided = any(report.agreement is not None for report in reports)
    name, shown = reports[0].score_name, run.card.learnt.shown
    rows = [[*keras_row, shown(name, reports[0].keras_score), "", *[""] * decided, *[""] * 2 * timed]]
    for report in reports:
        row = [report.path, report.format, report.precision, format_bytes(report.size_bytes)]
        row += ["" if report.score is None else shown(name, report.score)]
        row += [] if report.agreement is None else [f"{report.agreement:.2%}"]
        row += ["" if report.max_abs_diff is None else f"{report.max_abs_diff:.1e}"]
        if not report.published:
            row[0] += " (not published)"
        rows.append([*row, *(_speed(report) if timed else ())])
    columns = ["artefact", "format", "precision", "size", score_title(name)]
    columns += ["agreement", "difference"] if decided else ["difference"]
    columns += ["us (99 %)", "examples/s"] if timed else []
    results_console().print(make_table(columns, rows))
    _show_where_files_run([report for report in reports if report.runs_in])
    for report in reports:
        if report.reason is not None:
            results_console().print(f"\n{report.reason}", soft_wrap=True, markup=False)


def _show_where_files_run(reports: Sequence[ArtefactReport]) -> None:
    """Prints a row for each file: the runtimes that run it, and what it needs on a microcontroller."""
    if not reports:
        return
    rows = [
        (
            os.path.basename(report.path),
            ", ".join(report.runs_in),
            ", ".join(report.refused_by),
            "" if report.arena_bytes is None else format_bytes(report.arena_bytes),
            f"{report.multiply_adds:,}",
        )
        for report in reports
    ]
    results_console().print()
    columns = ("file", "runs in", "does not run in", "arena", "multiply-adds")
    results_console().print(make_table(columns, rows, num_left=3))
    not_tried = dict.fromkeys(name for report in reports for name in report.not_tried)
    if not_tried:
        results_console().print(f"\nNot tried, because not installed: {', '.join(not_tried)}", soft_wrap=True)


def _speed(report: ArtefactReport) -> tuple[str, str]:
    if report.latency_p50_us is None:
        return "", ""
    return f"{report.latency_p50_us:.1f} ({report.latency_p99_us:.1f})", f"{report.examples_per_s:,.0f}"


def show_artefact(name: str, facts: ArtefactFacts) -> None:
    """Prints what an artefact takes, what it returns, and where it comes from."""
    size = "" if facts.size_bytes is None else f", {format_bytes(facts.size_bytes)}"
    rows = [
        ("format", f"{facts.format}, {facts.precision}{size}"),
        ("takes", f"raw examples of shape {facts.feature_shape}"),
        ("task", facts.task.kind),
        (facts.task.unit, f"{facts.num_outputs}" if facts.served and not facts.card else ", ".join(facts.task.names)),
        *(_server_rows(facts.served) if facts.served else ()),
        *(_tflite_rows(facts.tflite) if facts.tflite else ()),
        *(_onnx_rows(facts.onnx) if facts.onnx else ()),
        *facts.task.about(),
        *(_card_rows(facts.card) if facts.card else ()),
    ]
    results_console().print(make_table((name, ""), rows))


def _server_rows(served: Classifier) -> list[tuple[str, str]]:
    client = served.client
    rows = [(f"version {status.version}", f"{status.state} {status.message}".strip()) for status in client.status()]
    for name, signature in client.signatures.items():
        rows.append((name, "; ".join(f"{input_name} {spec}" for input_name, spec in signature.inputs.items())))
    return rows


def _steps_text(tensor: Tensor) -> str:
    sign = "+" if tensor.zero_point < 0 else "-"
    return f", (value {sign} {abs(tensor.zero_point)}) x {tensor.scale:.6g}"


def _tflite_rows(contents: Contents) -> list[tuple[str, str]]:
    rows = []
    for what, tensor in (("input", contents.source), ("output", contents.target)):
        steps = "" if tensor.dtype[0] == "f" else _steps_text(tensor)
        shape = tuple("any" if axis < 0 else axis for axis in tensor.shape)
        rows.append((what, f"{tensor.name}, {tensor.dtype} ({', '.join(map(str, shape))}){steps}"))
    return [*rows, ("operations", ", ".join(contents.operations))]


def _onnx_rows(contents: OnnxContents) -> list[tuple[str, str]]:
    return [
        *(("input", str(value)) for value in contents.inputs),
        *(("output", str(value)) for value in contents.outputs),
        ("operations", contents.operations_text),
        ("ONNX", f"opset {contents.opset}, IR {contents.ir_version}, written by {contents.producer or 'nobody named'}"),
        *contents.metadata.items(),
    ]


def _card_rows(card: Card) -> list[tuple[str, str]]:
    members = f", {card.members} members" if card.members > 1 else ""
    rows = [("sizes", " - ".join(map(str, card.sizes)) + members)]
    if card.feature_range:
        rows.append(("raw values", f"{card.feature_range[0]:g} to {card.feature_range[1]:g}"))
    rows.append(("trained on", f"{card.dataset} (fingerprint {card.fingerprint[:12]})"))
    scores = card.scores or ({} if card.test_accuracy is None else {"accuracy": card.test_accuracy})
    if scores:
        rows += [(name, f"{value} (of the Keras model)") for name, value in card.learnt.rows(scores, "test ")]
    rows.append(("made with", ", ".join(f"{package} {version}" for package, version in card.versions.items())))
    return rows


def show_lesson(result: Mapping[str, Any], rows: Sequence[FrameworkResult], *, hint_at_torch: bool) -> None:
    """Prints a row for each framework: the validation accuracy after each epoch, and the seconds per epoch."""
    from kerasmlp.lesson.original_notebook import LESSON_ACCURACIES

    console = results_console()
    epochs = [f"epoch {epoch}" for epoch in range(1, len(rows[0].val_accuracy) + 1)]
    shown = [
        (
            f"{row.framework} {row.version}",
            *(f"{accuracy:.2%}" for accuracy in row.val_accuracy),
            f"{row.seconds_per_epoch:.3f}",
        )
        for row in rows
    ]
    title = f"{result['data']}, validation accuracy ({result['optimizer']}, {result['loss']})"
    console.print(title, make_table(("", *epochs, "s per epoch"), shown), sep="\n")
    if result["lesson"]:
        recorded = ", ".join(f"{accuracy:.2%}" for accuracy in LESSON_ACCURACIES)
        console.print(
            "NumPy computes as the notebook did; the others use the correct gradients. The notebook's accuracies on "
            f"MNIST: {recorded}."
        )
    if hint_at_torch:
        console.print("PyTorch is not installed, so it has no row. Install it with `pip install torch`.")


def make_table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, num_left: int = 1) -> Table:
    """Returns a table: the first columns aligned to the left, the others to the right. Long words wrap.

    Args:
        columns: The heads of the columns.
        rows: The texts of each row, in which brackets are brackets, not markup.
        num_left: How many columns are aligned to the left. Defaults to 1.
    """
    table = Table(header_style="bold", box=None, padding=(0, 2, 0, 0))
    for index, column in enumerate(columns):
        table.add_column(escape(column), justify="left" if index < num_left else "right", overflow="fold")
    for row in rows:
        table.add_row(*map(escape, row))
    return table


def format_bytes(size: int) -> str:
    """Returns a number of bytes with a unit.

    Example:
        >>> format_bytes(950), format_bytes(25_396), format_bytes(3_200_000)
        ('950 B', '25.4 kB', '3.2 MB')
    """
    for unit, factor in (("MB", 1_000_000), ("kB", 1_000)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size} B"
