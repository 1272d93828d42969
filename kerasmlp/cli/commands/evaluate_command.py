"""`kerasmlp evaluate`: measures how good the answers of an artefact are on the test examples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kerasmlp._system.wording import percent
from kerasmlp.cli.common_options import ARTEFACT_HELP, add_timeout
from kerasmlp.cli.data_options import add_data_options, load_for_test, show_reading_notes

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from kerasmlp.artefacts.protocol import Artefact
    from kerasmlp.cli.command_outcome import Outcome
    from kerasmlp.data.types import Data
    from kerasmlp.tasks.scores import Scores
    from kerasmlp.tasks.task import Task

USUAL_COVERAGE = 0.9

EXAMPLES = (
    "kerasmlp evaluate mobile/digits_int8.tflite digits",
    "kerasmlp evaluate http://localhost:8501/v1/models/flowers june.csv --target kind",
)


def add_arguments(parser: ArgumentParser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument("artefact", metavar="ARTEFACT", help=ARTEFACT_HELP)
    add_data_options(parser)
    parser.add_argument(
        "--coverage",
        type=float,
        metavar="S",
        help="share of the examples whose truth the sets or intervals should hold (default: "
        f"{USUAL_COVERAGE:g}, if the network knows limits)",
    )
    add_timeout(parser)


def run(args: Namespace) -> Outcome:
    """Evaluates an artefact."""
    import kerasmlp
    from kerasmlp.cli.command_outcome import Outcome
    from kerasmlp.cli.server_requests import load_for_server

    artefact = kerasmlp.open_artefact(args.artefact, timeout_s=args.timeout_s)
    if artefact.served is not None and artefact.card is None:
        artefact, data = load_for_server(args, artefact, artefact.served)
    else:
        data = load_for_test(args, artefact.card)
    show_reading_notes(data.cautions, args.flags)
    scores = kerasmlp.evaluate(artefact, data)
    result = {
        "artefact": args.artefact,
        "format": artefact.format,
        "precision": artefact.precision,
        "dataset": data.name,
        "same_data": None if artefact.card is None else artefact.card.fingerprint == data.fingerprint,
        "task": data.task.kind,
        "examples": scores.examples,
        **scores.numbers,
        **scores.details(),
        **({} if artefact.has_probabilities else {"loss": None}),
        **_coverage(artefact, scores, args.coverage),
    }
    return Outcome(result, lambda: _show(result, artefact, scores, data))


def _coverage(artefact: Artefact, scores: Scores, coverage: float | None) -> dict[str, Any]:
    """What sets or intervals reach: of the coverage that was asked for, or of the usual one if the network can."""
    from kerasmlp.errors import InvalidValue

    asked = USUAL_COVERAGE if coverage is None else coverage
    try:
        if not artefact.has_probabilities:
            raise InvalidValue(f"`coverage={asked}` needs probabilities; `{artefact.path}` answers only the class.")
        reached = artefact.task.coverage_scores(scores.answers, scores.targets, asked)
    except InvalidValue:
        if coverage is not None:
            raise
        return {}
    return {"conformal": {"nominal_coverage": asked, **reached}}


def _show(result: dict[str, Any], artefact: Artefact, scores: Scores, data: Data) -> None:
    from kerasmlp._system.terminal import results_console
    from kerasmlp.cli.result_tables import make_table
    from kerasmlp.evaluation import judging_task

    task = judging_task(artefact, data)
    loss = result.get("loss")
    rows = [
        ("format", f"{artefact.format}, {artefact.precision}"),
        ("examples", f"{scores.examples:,} ({data.name}, {_which_examples(result['same_data'], data)})"),
        *task.rows(scores.numbers),
        *([] if loss is None else [("loss", f"{loss:.4f}")]),
        *scores.rows(),
        *_coverage_rows(result.get("conformal"), task),
    ]
    results_console().print(make_table((result["artefact"], ""), rows))


def _coverage_rows(reached: dict[str, float] | None, task: Task) -> list[tuple[str, str]]:
    from kerasmlp.tasks.scores import number

    if reached is None:
        return []
    if "mean_size" in reached:
        empty = f", {percent(reached['empty'])} empty" if reached["empty"] else ""
        kind, size = "sets", f"mean size {reached['mean_size']:.2f}{empty}"
    else:
        unit = " standard deviations" if len(task.names) > 1 else ""
        kind, size = "intervals", f"mean width {number(reached['mean_width'])}{unit}"
    name = f"{kind} for {percent(reached['nominal_coverage'])}"
    return [(name, f"hold the truth in {reached['coverage']:.2%} of the examples; {size}")]


def _which_examples(same_data: bool | None, data: Data) -> str:
    if same_data is False:
        return "not the data it was trained on"
    if same_data is None and not len(data.train):
        return "all of them; the server does not say which ones it was trained on"
    return "test"
