"""`export_onnx`: writes a run as an ONNX file and checks it with ONNX Runtime."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kerasmlp import __version__
from kerasmlp._system.optional_packages import require_extra
from kerasmlp._system.terminal import shows_progress
from kerasmlp.artefacts.onnx_file import EXTRA, RUNTIME, OnnxFile, naming_the_runtime, open_session, read_contents_of
from kerasmlp.contract import EVALUATION_BATCH_SIZE
from kerasmlp.errors import InvalidValue, ParityError
from kerasmlp.export.call_times import MOST_EXAMPLES, Latency, Prepared, time_calls
from kerasmlp.export.existing_files import check_free, check_identical
from kerasmlp.export.export_display import stage_display
from kerasmlp.export.onnx.network_graph import build_onnx
from kerasmlp.export.parity import Reference
from kerasmlp.export.publishing import FileKind, publish
from kerasmlp.export.tflite.folding import embedding, fold, folding_is_precise, front, units_are_precise
from kerasmlp.export.tflite.quantizing import calibration_examples
from kerasmlp.run import Run, as_run

if TYPE_CHECKING:
    from os import PathLike

    from kerasmlp.artefacts.protocol import Artefact
    from kerasmlp.data.types import Array, Data
    from kerasmlp.export.artefact_report import ArtefactReport


def export_onnx(
    run: Run | str | PathLike[str],
    directory: str | PathLike[str],
    *,
    data: Data | None = None,
    overwrite: bool = False,
    author: str | None = None,
    version: str = "1",
    verbose: str | int = "auto",
) -> ArtefactReport:
    """Writes a run as an ONNX file, and returns how it compares with the Keras model.

    The file contains the whole network, its preprocessing included, so it takes raw examples. The names are those of a
    SavedModel:

    - The input is `image` if examples have two or three axes, otherwise `features`: float32 `(batch, *feature_shape)`
      with a batch of any size. It has no checks: NaN is answered with NaN.
    - For classes, the outputs are `probabilities`, float32 `(batch, classes)`, and `class_id`, int32 `(batch,)`, which
      follows the threshold of the network if it has one. For several labels, they are `probabilities` and `labels`,
      int32 `(batch, labels)` of 0 and 1. Numbers have `values`, float32 `(batch, targets)`, or `quantiles`, float32
      `(batch, targets, quantiles)`.

    The file uses opset 17 and IR 8, which ONNX Runtime 1.15 and later run. Rescaling of pixels, batch
    normalisation, the temperature of a calibration and the units of numbers are multiplied into the weights, as in a
    TFLite file, unless that would lose digits. All weights are float32. The metadata has `author`, `version`,
    `labels.txt` with a name per line, and `card.json`.

    The file appears in `directory` only after `onnx.checker` has accepted it and ONNX Runtime has answered all test
    examples with it.

    Args:
        run: The run, or its directory.
        directory: Folder for the file `DATASET.onnx`. It is made if it does not exist.
        data: The run's data, for the check. Defaults to loading them again from where the run got them.
        overwrite: Whether an existing file may be replaced. Defaults to `False`. A file that an earlier export with the
            same settings wrote is checked again instead.
        author: Author named in the metadata. Defaults to `kerasmlp` and its version.
        version: Version of the network named in the metadata. Defaults to `"1"`.
        verbose: `"auto"` shows progress in a terminal or a notebook, 0 never, and 1 and 2 always. With 2, you also see
            what TensorFlow and ONNX print. Defaults to `"auto"`.

    Returns:
        The report of the file, with size, score and latency.

    Raises:
        InvalidValue: the extra `onnx` is not installed, `directory` is not writable, the data cannot be loaded again,
            or there are no operations for a layer or an activation. Nothing is written.
        OutputExists: the file exists already with other content, or `directory` is a file. Nothing is written.
        ParityError: the file does not run, or it differs from the Keras model: in the class of an example, or by more
            than 1e-5 in a probability; for numbers, by more than 1e-5 standard deviations of the target, beside the
            rounding of numbers much larger than that. It is not published.

    See Also:
        `kerasmlp.export.export_tflite`: exports for phones, browsers and microcontrollers, also in fewer bits.

    Example:
        >>> import tempfile, kerasmlp
        >>> from pathlib import Path
        >>> from kerasmlp.export import export_onnx
        >>> data = kerasmlp.load_data("digits")
        >>> model = kerasmlp.build_mlp([64, 10], input_shape=data.feature_shape, preprocessing=data.preprocessing())
        >>> folder = tempfile.mkdtemp()
        >>> run = kerasmlp.train(model, data, epochs=1, out=f"{folder}/run")
        >>> report = export_onnx(run, f"{folder}/onnx", data=data)
        >>> Path(report.path).name, report.agreement
        ('digits.onnx', 1.0)
    """
    run = as_run(run)
    path = check_onnx_request(run, Path(directory), overwrite=overwrite)
    shows_progress(verbose)  # refuses other values before any work
    data = run.load_data() if data is None else data
    with stage_display(verbose) as display:
        display.show(f"Keras model: answering {len(data.test):,} test examples")
        reference = Reference(run, data)
        display.show("Folding the network into dense layers")
        author = f"kerasmlp {__version__}" if author is None else author
        content = onnx_bytes(run, data, author=author, version=version)
        if not overwrite:
            check_identical({path: content})
        advice = f"Install another version of `{RUNTIME}`."
        kind = FileKind("onnx", "float32", "ONNX Runtime", advice, _measure_latency, _wrong_output)
        report = publish(kind, path, content, reference, display, name="onnx")
    if report.reason is not None:
        raise ParityError(report.reason, [report])
    return report


def check_onnx_request(run: Run, directory: Path, *, overwrite: bool = False) -> Path:
    """Returns the path of the file, after checking everything that can be checked without work.

    Args:
        run: The run.
        directory: Folder for the file.
        overwrite: Whether an existing file may be replaced.

    Raises:
        InvalidValue: the extra `onnx` is not installed, or the folder is not writable.
        OutputExists: a file of another network exists already, or `directory` is a file.
    """
    require_extra(EXTRA, "onnx", RUNTIME, what="The export to ONNX")
    path = directory / f"{run.card.dataset}.onnx"

    def is_of_same_network(file: Path) -> bool:
        try:
            return read_contents_of(file).card == run.card
        except (InvalidValue, OSError):
            return False

    check_free([path], "ONNX", is_of_same_network, overwrite)
    return path


def onnx_bytes(run: Run, data: Data, *, author: str, version: str) -> bytes:
    """Returns the bytes of the ONNX file of a run.

    Args:
        run: The run.
        data: Its data. Some training examples tell where folding would lose digits.
        author: Author named in the metadata.
        version: Version named in the metadata.

    Raises:
        InvalidValue: there are no operations for a layer or an activation.
    """
    model, card = run.load_model(), run.card
    table = embedding(model)
    keep_front = table is None and not folding_is_precise(model, calibration_examples(data.train, card.learnt))
    layers = fold(model, keep_front=keep_front, keep_back=card.learnt.has_units and not units_are_precise(model))
    kept = front(model) if keep_front else None
    return build_onnx(layers, card, front=kept, table=table, author=author, version=version)


def _wrong_output(artefact: Artefact, features: Array) -> str | None:
    """Returns which of the outputs besides the main one does not follow from it; None if all do."""
    assert isinstance(artefact, OnnxFile), "it has just been written"
    names = [value.name for value in artefact.contents.outputs]
    for start in range(0, len(features), EVALUATION_BATCH_SIZE):
        batch = np.asarray(features[start : start + EVALUATION_BATCH_SIZE]).reshape(-1, *artefact.feature_shape)
        answers = dict(zip(names, artefact.run_outputs(batch, *names), strict=True))
        expected = artefact.task.complete(answers[names[0]])
        for name, values in answers.items():
            if not np.array_equal(values, expected[name]):
                return f"answers `{name}` that do not follow from its `{names[0]}`"
    return None


def _measure_latency(path: Path, features: Array) -> Latency:
    """Times single examples and large batches, with their input in place and the outputs left where they are."""
    session = open_session(path.read_bytes())
    source, outputs = session.get_inputs()[0], session.get_outputs()
    examples = np.asarray(features[:MOST_EXAMPLES], np.float32).reshape(-1, *source.shape[1:])

    def prepare(batch_size: int) -> Prepared:
        binding = session.io_binding()
        for output in outputs:
            binding.bind_output(output.name)

        def set_input(batch: np.ndarray) -> None:
            binding.bind_cpu_input(source.name, batch)

        return Prepared(set_input, lambda: session.run_with_iobinding(binding))

    with naming_the_runtime():
        return time_calls(prepare, examples)
