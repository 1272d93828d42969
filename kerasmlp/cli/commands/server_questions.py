"""What `evaluate` and `predict` send to a server, which has no card to say how files become features."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kerasmlp.cli.commands.requested_data import read, splitting
from kerasmlp.client.classifier import PICTURES
from kerasmlp.client.model_signature import COLUMNS
from kerasmlp.client.tensors import STRING
from kerasmlp.data.inputs import BRIGHTEST, IMAGE_SUFFIXES, read_inputs
from kerasmlp.data.readers.choosing import TABLE_SUFFIXES
from kerasmlp.errors import InvalidValue, NotFound

if TYPE_CHECKING:
    from argparse import Namespace

    import pandas as pd

    from kerasmlp.artefacts.protocol import Artefact
    from kerasmlp.client.classifier import Classifier
    from kerasmlp.data.in_memory import Examples
    from kerasmlp.data.table import Table
    from kerasmlp.data.types import Data


def read_question(served: Classifier, path: Path, *, invert: bool) -> Callable[[], np.ndarray]:
    """The examples in a file, read and checked, as a call that asks the server for their probabilities.

    Images go through the signature `image_bytes`, for the server alone knows which raw values its network takes; they
    are made small and grey here, as for every other artefact. Rows of a table go through `columns`, where the
    server has it. All else are raw features.

    Raises:
        NotFound: there is no such file.
        InvalidValue: the file cannot be read, or the server has no signature for it.
    """
    if not path.is_file():
        raise NotFound(f"There is no file `{path}`.")
    suffix = path.suffix.lower()
    if suffix in TABLE_SUFFIXES and COLUMNS in served.client.signatures:
        if invert:
            raise InvalidValue(f"`--invert` goes with images; `{path}` is none.")
        from kerasmlp.data.table import read_frame

        frame = read_frame(path)
        if frame.empty:
            raise InvalidValue(f"`{path}` has no row; examples were expected.")
        columns = raw_columns(served, frame, source=str(path))
        return lambda: served.probabilities(columns, signature=COLUMNS)
    pixels = (0.0, float(BRIGHTEST))
    features = read_inputs(path, served.feature_shape, pixels, invert=invert)
    if suffix not in IMAGE_SUFFIXES:
        return lambda: served.probabilities(features)
    if PICTURES not in served.client.signatures:
        raise InvalidValue(
            f"`{served.client.address.url}` has no signature `{PICTURES}`, so the range of its pixels is not known; "
            "ask it about raw features in a CSV or npz file, or ask the run."
        )
    picture = _as_png(features[0])
    return lambda: served.probabilities([picture], signature=PICTURES)


def raw_columns(served: Classifier, frame: pd.DataFrame, *, source: str) -> dict[str, np.ndarray]:
    """The rows of a table as inputs of the signature `columns`; other columns are left out.

    Args:
        served: The network.
        frame: A table with at least the columns that the network was trained on.
        source: What the table is called in messages.

    Raises:
        InvalidValue: the server has no such signature, a column is missing, or a number is none.
    """
    import pandas as pd

    from kerasmlp.export.saved_model.column_inputs import input_names, input_stem

    if COLUMNS not in served.client.signatures:
        raise InvalidValue(
            f"`{served.client.address.url}` has no signature `{COLUMNS}`, so how rows become features is not known; "
            "evaluate the run or the SavedModel folder instead."
        )
    column_of = {name: column for column, name in input_names(str(column) for column in frame.columns).items()}
    frame = frame.rename(columns=str)
    inputs = {}
    for name, spec in served.client.signature(COLUMNS).inputs.items():
        if name in column_of:
            alike = [c for c in map(str, frame.columns) if input_stem(c) == input_stem(column_of[name])]
            if len(alike) > 1:
                raise InvalidValue(
                    f"`{source}`: `{served.client.address.url}` could tell the columns `{'`, `'.join(alike)}` apart by "
                    "their order alone; leave out those that the network was not trained on, or ask the run or the "
                    "SavedModel folder, which know them by their names."
                )
        if name not in column_of:
            raise InvalidValue(
                f"`{source}` needs a column for the input `{name}` of `{served.client.address.url}`, as the network's "
                "training rows had."
            )
        values = frame[column_of[name]]
        missing = values.isna().to_numpy(bool)
        if spec.dtype == STRING:
            inputs[name] = np.array(["" if lacks else str(v) for v, lacks in zip(values, missing, strict=True)], object)
            continue
        numbers = pd.to_numeric(values, errors="coerce").to_numpy(np.float64, na_value=np.nan)
        wrong = np.flatnonzero(~np.isfinite(numbers) & ~missing)
        if len(wrong):
            raise InvalidValue(
                f"`{source}`, row {wrong[0] + 1}: the column `{column_of[name]}` needs finite numbers; got "
                f"`{values.iloc[wrong[0]]}`."
            )
        inputs[name] = numbers
    return inputs


def load_for_server(args: Namespace, artefact: Artefact, served: Classifier) -> tuple[Artefact, Data]:
    """A served network and the data to judge it by, fit for each other.

    Of a source without a test of its own and without `--test-share` the data are all its examples, for the server does
    not say what the network was trained on. The features of a table are the numbers of its rows, which the artefact
    then takes, for only the server knows how to encode the rows.
    """
    from kerasmlp.artefacts.served_model import ServedModel
    from kerasmlp.data.in_memory import Examples
    from kerasmlp.data.table import Table

    if args.stream:
        raise InvalidValue("A served network is asked about data in memory; leave `--stream` out.")
    source = read(args.data, args)
    if isinstance(source, Table):
        frame, name = source.frame, source.name
        examples = _numbered_rows(source)
        raw_columns(served, frame, source=name)  # all that is wrong with the table is said before anything is sent

        def ask_about_rows(numbers: np.ndarray) -> np.ndarray:
            columns = raw_columns(served, frame.iloc[numbers[:, 0]], source=name)
            return served.probabilities(columns, signature=COLUMNS)

        assert isinstance(artefact, ServedModel)
        artefact = artefact.with_question((1,), ask_about_rows)
    else:
        assert isinstance(source, Examples)  # what is not streamed is one or the other
        examples = source
    if not examples.has_test and args.test_share is None:
        return artefact, examples.whole()
    return artefact, examples.split(splitting(args))


def _numbered_rows(table: Table) -> Examples:
    """A table's rows as examples whose one feature is their number."""
    from kerasmlp.data.in_memory import Examples

    numbers = np.arange(len(table.frame))[:, np.newaxis]
    count = len(numbers) - (table.num_own_test or 0)
    tests = (numbers[count:], table.labels[count:]) if table.has_test else ()
    groups, times = (None if values is None else values[:count] for values in (table.groups, table.times))
    return Examples(table.name, numbers[:count], table.labels[:count], *tests, groups=groups, times=times)


def _as_png(pixels: np.ndarray) -> bytes:
    from PIL import Image

    levels = np.rint(pixels).astype(np.uint8)  # whole already: an 8-bit image was read
    stream = io.BytesIO()
    Image.fromarray(levels[:, :, 0] if levels.shape[2:] == (1,) else levels).save(stream, "PNG")
    return stream.getvalue()
