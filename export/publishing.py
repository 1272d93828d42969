"""`publish`: writes a file, measures it, compares it with the Keras model, and only then moves it into its place."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from kerasmlp._system.files import appearing
from kerasmlp.artefacts.opening import open_artefact
from kerasmlp.errors import InvalidValue, ParityError
from kerasmlp.tasks.scores import score_title

if TYPE_CHECKING:
    from kerasmlp.artefacts.protocol import Artefact
    from kerasmlp.data.types import Array
    from kerasmlp.export.artefact_report import ArtefactReport
    from kerasmlp.export.call_times import Latency
    from kerasmlp.export.export_display import StageDisplay
    from kerasmlp.export.parity import Reference


@dataclass(frozen=True)
class FileKind:
    """How files of one kind are checked.

    Attributes:
        format: As in `Artefact`.
        precision: As in `Artefact`.
        runtime: The name of the program that runs them.
        advice: What to do if the runtime cannot run a file.
        measure: Times a file at a path on raw examples.
        check: Checks more than the main output of an opened file, on raw examples. Returns what is wrong, as a sentence
            that goes on after the file's name, or None.
    """

    format: str
    precision: str
    runtime: str
    advice: str
    measure: Callable[[Path, Array], Latency]
    check: Callable[[Artefact, Array], str | None] | None = None


def publish(
    kind: FileKind,
    path: Path,
    content: bytes,
    reference: Reference,
    display: StageDisplay,
    *,
    name: str,
    companions: Sequence[Path] = (),
) -> ArtefactReport:
    """Writes a file if it passes the check. Returns its report.

    Args:
        kind: What kind of file it is.
        path: Where it appears.
        content: Its bytes.
        reference: The answers of the Keras model.
        display: Shows the stages.
        name: What the display calls the file.
        companions: Paths of what describes the content of a file at `path`. They are deleted before other content
            appears there, so that they never describe another file, even if the process is killed.
    """
    features = reference.data.test.features
    try:
        with appearing(path) as temporary, _naming_the_file(kind, path, len(content), reference):
            temporary.write_bytes(content)
            display.show(f"{name}: measuring latency")
            latency = kind.measure(temporary, features)
            display.show(f"{name}: checking on {len(features):,} test examples")
            artefact = open_artefact(temporary)
            report = reference.compare(artefact, published_as=path)
            wrong = kind.check(artefact, features) if kind.check else None
            if wrong is not None:
                reason = f"{kind.format} {kind.precision} ({path}) {wrong}. It is not published."
                raise ParityError(reason, [replace(report, published=False, reason=reason)])
            if not path.exists() or path.read_bytes() != content:
                for companion in companions:
                    companion.unlink(missing_ok=True)
    except ParityError as error:
        display.finish(f"{name}: not published")
        withheld: ArtefactReport = error.reports[0]
        return withheld
    score, shown = report.score_name, reference.task.shown
    assert report.score is not None, "the file was run"
    scores = f"{score_title(score)} {shown(score, report.score)} (Keras model {shown(score, report.keras_score)})"
    size = f"{report.size_bytes / 1000:,.1f} kB"
    display.finish(f"{name}: {size}, {scores}, {latency.latency_p50_us:.1f} µs per example")
    return replace(report, **asdict(latency))


@contextlib.contextmanager
def _naming_the_file(kind: FileKind, path: Path, size_bytes: int, reference: Reference) -> Iterator[None]:
    """Turns an error of a runtime, which does not name the file that it cannot run, into a `ParityError` that does."""
    try:
        yield
    except (RuntimeError, InvalidValue) as error:
        if isinstance(error, ParityError):
            raise
        reason = str(error).splitlines()[0].rstrip(".")
        message = (
            f"{kind.format} {kind.precision} ({path}) is not published, because {kind.runtime} cannot run it. "
            f"{kind.advice} ({kind.runtime} says: {reason}.)"
        )
        report = reference.report(str(path), kind.format, kind.precision, size_bytes, scores={}, reason=message)
        raise ParityError(message, [report]) from error
