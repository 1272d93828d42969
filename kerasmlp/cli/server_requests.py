"""What `evaluate` and `predict` send to a model server.

A server has no card that says how files become features, so it gets the images and rows themselves where it takes them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kerasmlp.cli.data_options import read, splitting
from kerasmlp.client.tensor_types import STRING
from kerasmlp.contract import COLUMNS, IMAGE_BYTES, column_input_names, column_input_stem
from kerasmlp.data.images import IMAGE_SUFFIXES, PIXEL_RANGE, encode_png
from kerasmlp.data.in_memory import InMemorySource
from kerasmlp.data.inputs import read_inputs
from kerasmlp.data.table_files import TABLE_SUFFIXES, read_frame
from kerasmlp.errors import InvalidValue, NotFound

if TYPE_CHECKING:
    from argparse import Namespace

    import pandas as pd

    from kerasmlp.artefacts.protocol import Artefact
    from kerasmlp.client.classifier import Classifier
    from kerasmlp.data.source import Scan, Source
    from kerasmlp.data.types import Data


def read_request(served: Classifier, path: Path, *, invert: bool) -> Callable[[], np.ndarray]:
    """Reads and checks the examples in a file. Returns a function that asks the server for their probabilities.

    Images go to the signature `image_bytes`, because only the server knows which raw values its network takes. They are
    resized and made grey here, as for every other artefact. Rows of a table go to `columns`, if the server has this
    signature. Everything else is sent as raw features.

    Args:
        served: The network.
        path: The file.
        invert: Whether to swap bright and dark in an image.

    Raises:
        NotFound: there is no such file.
        InvalidValue: the file cannot be read, or the server has no signature for it.
    """
    if not path.is_file():
        raise NotFound(f"There is no file `{path}`.")
    suffix = path.suffix.lower()
    if suffix in TABLE_SUFFIXES and COLUMNS in served.client.signatures:
        if invert:
            raise InvalidValue(f"`--invert` is for images; `{path}` is a table.")
        frame = read_frame(path)
        if frame.empty:
            raise InvalidValue(f"`{path}` has no rows; expected at least one example.")
        columns = raw_columns(served, frame, source=str(path))
        return lambda: served.probabilities(columns, signature=COLUMNS)
    features = read_inputs(path, served.feature_shape, PIXEL_RANGE, invert=invert)
    if suffix not in IMAGE_SUFFIXES:
        return lambda: served.probabilities(features)
    if IMAGE_BYTES not in served.client.signatures:
        raise InvalidValue(
            f"`{served.client.address.url}` has no signature `{IMAGE_BYTES}`, so the range of its pixels is unknown. "
            "Send raw features in a CSV or npz file, or use the run instead of the server."
        )
    picture = encode_png(np.rint(features[0]).astype(np.uint8))  # exact: an 8-bit image was read
    return lambda: served.probabilities([picture], signature=IMAGE_BYTES)


def raw_columns(served: Classifier, frame: pd.DataFrame, *, source: str) -> dict[str, np.ndarray]:
    """Returns the rows of a table as inputs of the signature `columns`, without columns that the network does not use.

    Args:
        served: The network.
        frame: A table with at least the columns that the network was trained on.
        source: What messages call the table.

    Returns:
        For each input an array `(rows,)`: float64, NaN where a number is missing; or strings, "" where one is missing.

    Raises:
        InvalidValue: the server has no such signature, a column is missing, or a value is not a number.
    """
    import pandas as pd

    if COLUMNS not in served.client.signatures:
        raise InvalidValue(
            f"`{served.client.address.url}` has no signature `{COLUMNS}`, so it is unknown how rows become features. "
            "Use the run or the SavedModel folder instead of the server."
        )
    column_of = {name: column for column, name in column_input_names(str(column) for column in frame.columns).items()}
    frame = frame.rename(columns=str)
    inputs = {}
    for name, spec in served.client.signature(COLUMNS).inputs.items():
        if name in column_of:
            alike = [c for c in map(str, frame.columns) if column_input_stem(c) == column_input_stem(column_of[name])]
            if len(alike) > 1:
                raise InvalidValue(
                    f"`{source}`: `{served.client.address.url}` cannot tell the columns `{'`, `'.join(alike)}` apart "
                    "except by their order. Remove those that the network was not trained on, or use the run or the "
                    "SavedModel folder, which know the columns by name."
                )
        if name not in column_of:
            raise InvalidValue(
                f"`{source}` needs a column for the input `{name}` of `{served.client.address.url}`, as the training "
                "rows had one."
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
    """Returns a served network and the data to judge it by, in a form that it takes.

    Data without test examples of their own and without `--test-share` are used completely, because the server does not
    say what its network was trained on. Only the server knows how to encode the rows of a table. So the features of a
    table are the numbers of its rows, and the artefact that is returned takes these.
    """
    from kerasmlp.artefacts.served_model import ServedModel

    if args.stream:
        raise InvalidValue("A served network can only be evaluated on data in memory, so leave out `--stream`.")
    source = read(args.data, args)
    with source.scanned() as scan:
        if scan.kinds is not None:
            (frame,), name = scan.pieces(), source.name
            source = _numbered_rows(name, scan)
            raw_columns(served, frame, source=name)  # so that an error in any row is reported before anything is sent

            def ask_about_rows(numbers: np.ndarray) -> np.ndarray:
                columns = raw_columns(served, frame.iloc[numbers[:, 0]], source=name)
                return served.probabilities(columns, signature=COLUMNS)

            assert isinstance(artefact, ServedModel)
            artefact = artefact.with_question((1,), ask_about_rows)
    if not source.has_test and args.test_share is None:
        return artefact, source.whole()
    return artefact, source.split(splitting(args))


def _numbered_rows(name: str, table: Scan) -> Source:
    """Returns the rows of a table as examples with a single feature, the number of the row."""
    numbers, labels = np.arange(len(table.labels))[:, np.newaxis], table.classes[table.labels]
    count = len(numbers) - (table.num_own_test or 0)
    tests = () if table.num_own_test is None else (numbers[count:], labels[count:])
    groups, times = (None if values is None else values[:count] for values in (table.groups, table.times))
    return InMemorySource(name, numbers[:count], labels[:count], *tests, groups=groups, times=times)
