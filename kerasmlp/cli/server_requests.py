"""What `evaluate` and `predict` send to a model server without a card: an earlier version exported the network.

Nothing says how files become features, so the server gets the images and rows themselves where it takes them.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kerasmlp.cli.data_options import read, splitting
from kerasmlp.client.tensor_types import STRING
from kerasmlp.contract import COLUMNS, IMAGE_BYTES, column_input_names, column_input_stem
from kerasmlp.data.columns import CATEGORY, NUMBER, Column
from kerasmlp.data.images import IMAGE_SUFFIXES, PIXEL_RANGE, encode_png
from kerasmlp.data.in_memory_source import InMemorySource
from kerasmlp.data.prediction_files import read_inputs
from kerasmlp.data.raw_tables import TABLE_SUFFIXES, TableOptions, open_table
from kerasmlp.data.readers.choosing import takes_option
from kerasmlp.data.table_encoding import Encoder
from kerasmlp.data.table_source import TableSource
from kerasmlp.data.types import DataSpec
from kerasmlp.errors import InvalidValue, NotFound
from kerasmlp.tasks.task_table import TaskOptions

if TYPE_CHECKING:
    import pyarrow as pa

    from kerasmlp.artefacts.protocol import Artefact
    from kerasmlp.client.classifier import Classifier
    from kerasmlp.data.source import Scan, Source
    from kerasmlp.data.types import Data


def read_request(
    served: Classifier, path: Path, options: TableOptions, *, invert: bool, max_image_pixels: int | None = None
) -> Callable[[], np.ndarray]:
    """Reads and checks the examples in a file. Returns a function that asks the server for its answers.

    Images go to the signature `image_bytes`, because only the server knows which raw values its network takes. They are
    resized and made grey here, as for every other artefact. Rows of a table go to `columns`, if the server has this
    signature. Everything else is sent as raw features.

    Args:
        served: The network.
        path: The file.
        options: How a text table is written.
        invert: Whether to swap bright and dark in an image.
        max_image_pixels: The largest image, in pixels. Defaults to 16,777,216 (4,096 x 4,096).

    Raises:
        NotFound: there is no such file.
        InvalidValue: the file cannot be read, or the server has no signature for it.
    """
    if not path.is_file():
        raise NotFound(f"There is no file `{path}`.")
    if path.name.lower().endswith(TABLE_SUFFIXES) and COLUMNS in served.client.signatures:
        if invert:
            raise InvalidValue(f"`--invert` is for images; `{path}` is a table.")
        rows = open_table(path, options)
        encoder = columns_for_server(served, rows.names, source=str(path))
        pieces = list(encoder.canonical_pieces(rows, source=str(path), any_unit=True))
        inputs = server_inputs(served, pieces)
        if not len(next(iter(inputs.values()))):
            raise InvalidValue(f"`{path}` has no rows; expected at least one example.")
        return lambda: served.answers(inputs, signature=COLUMNS)
    features = read_inputs(
        path, served.feature_shape, PIXEL_RANGE, invert=invert, options=options, max_image_pixels=max_image_pixels
    )
    if path.suffix.lower() not in IMAGE_SUFFIXES:
        return lambda: served.answers(features)
    if IMAGE_BYTES not in served.client.signatures:
        raise InvalidValue(
            f"`{served.client.address.url}` has no signature `{IMAGE_BYTES}`, so the range of its pixels is unknown. "
            "Send raw features in a CSV or npz file, or use the run instead of the server."
        )
    picture = encode_png(np.rint(features[0]).astype(np.uint8))  # exact: an 8-bit image was read
    return lambda: served.answers([picture], signature=IMAGE_BYTES)


def columns_for_server(served: Classifier, columns: Sequence[str], *, source: str) -> Encoder:
    """Returns how a table is read for the signature `columns`: numbers as numbers, everything else as text.

    The server knows which texts are dates, booleans or categories, and reads them as training did.

    Args:
        served: The network.
        columns: Names of the columns of the table.
        source: What messages call the table.

    Raises:
        InvalidValue: the server has no such signature, or a column is missing.
    """
    if COLUMNS not in served.client.signatures:
        raise InvalidValue(
            f"`{served.client.address.url}` has no signature `{COLUMNS}`, so it is unknown how rows become features. "
            "Use the run or the SavedModel folder instead of the server."
        )
    column_of = {name: column for column, name in column_input_names(columns).items()}
    found = []
    for name, spec in served.client.signature(COLUMNS).inputs.items():
        if name not in column_of:
            raise InvalidValue(
                f"`{source}` needs a column for the input `{name}` of `{served.client.address.url}`, as the training "
                "rows had one."
            )
        alike = [column for column in columns if column_input_stem(column) == column_input_stem(column_of[name])]
        if len(alike) > 1:
            raise InvalidValue(
                f"`{source}`: `{served.client.address.url}` cannot tell the columns `{'`, `'.join(alike)}` apart "
                "except by their order. Remove those that the network was not trained on, or use the run or the "
                "SavedModel folder, which know the columns by name."
            )
        found.append(Column(column_of[name], CATEGORY if spec.dtype == STRING else NUMBER))
    return Encoder(tuple(found))


def server_inputs(served: Classifier, pieces: Sequence[pa.Table]) -> dict[str, np.ndarray]:
    """Returns canonical rows as inputs of the signature `columns`.

    Args:
        served: The network.
        pieces: Canonical rows, whose columns are in the order of the signature's inputs.

    Returns:
        For each input an array `(rows,)`: float64, NaN where a number is missing; or strings, "" where one is missing.
    """
    import pyarrow as pa

    table = pa.concat_tables(pieces)
    inputs: dict[str, np.ndarray] = {}
    for name, values in zip(served.client.signature(COLUMNS).inputs, table.columns, strict=True):
        filled = values.fill_null("" if pa.types.is_string(values.type) else np.nan)
        inputs[name] = np.asarray(filled.to_numpy())
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
    if args.task is None and takes_option(args.data, "task"):  # what the targets look like does not matter
        args = Namespace(**{**vars(args), "task": artefact.task.kind})
    source = read(args.data, args)
    if isinstance(source, TableSource):
        encoder = columns_for_server(served, source.columns, source=source.name)
        with source.scanned(DataSpec(None, encoder=encoder)) as scan:
            inputs = server_inputs(served, list(scan.pieces()))  # every row is checked before anything is sent
            source = _numbered_rows(source.name, scan, TaskOptions(args.task))

        def ask_about_rows(numbers: np.ndarray) -> np.ndarray:
            rows = {name: values[numbers[:, 0]] for name, values in inputs.items()}
            return served.answers(rows, signature=COLUMNS)

        assert isinstance(artefact, ServedModel)
        artefact = artefact.with_question((1,), ask_about_rows)
    if not source.has_test and args.test_share is None:
        return artefact, source.whole()
    return artefact, source.split(splitting(args))


def _numbered_rows(name: str, table: Scan, task: TaskOptions) -> Source:
    """Returns the rows of a table as examples with a single feature, the number of the row."""
    numbers = np.arange(len(table.labels))[:, np.newaxis]
    labels = table.classes[table.labels] if len(table.classes) else table.labels
    count = len(numbers) - (table.num_own_test or 0)
    tests = () if table.num_own_test is None else (numbers[count:], labels[count:])
    groups, times = (None if values is None else values[:count] for values in (table.groups, table.times))
    return InMemorySource(name, numbers[:count], labels[:count], *tests, groups=groups, times=times, task=task)
