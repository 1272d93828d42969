"""`load_data`: from the name of a source or a path to split `Data`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from os import PathLike
from typing import TYPE_CHECKING, Any

from kerasmlp._system.terminal import shows_progress
from kerasmlp.contract import VALIDATION_SHARE
from kerasmlp.data.fold_choice import fold_of
from kerasmlp.data.source import SourceOptions
from kerasmlp.data.splitting import Origin, Splitting
from kerasmlp.errors import InvalidType
from kerasmlp.settings_base import accepts

if TYPE_CHECKING:
    from kerasmlp.data.types import Data, DataSpec


@accepts(SourceOptions)
def load_data(
    source: str | PathLike[str],
    *,
    validation_share: float = VALIDATION_SHARE,
    test_share: float | None = None,
    seed: int = 0,
    fold: Sequence[Any] | None = None,
    spec: DataSpec | None = None,
    verbose: str | int = "auto",
    **options: Any,
) -> Data:
    """Loads a data set and returns it split into train, validation and test.

    Args:
        source: What to load, one of

            - `digits`: 1,797 scans of digits, 8x8 pixels, which come with scikit-learn;
            - `iris`, `wine`, `breast_cancer` or `diabetes`: tables that come with scikit-learn;
            - the path of a table with a column of labels: a text file (`.csv`, `.tsv`, `.data`, `.txt`, gzipped or not)
              or a `.parquet`, `.feather` or `.jsonl` file;
            - the path of an `.npz` file with the arrays `x_train`, `y_train`, `x_test` and `y_test` (Keras's layout),
              with only the first two, or with `x` and `y`;
            - the path of a folder with the four IDX files of MNIST, gzipped or not, or of one of these files;
            - the path of a folder with one sub-folder of images per class, or with folders `train`, `val` and `test`
              that contain such sub-folders (`val` and `test` may be missing);
            - `openml:NAME`: a data set of openml.org, such as `openml:mnist_784`;
            - the name of a classification set of TensorFlow Datasets, such as `mnist` or `titanic:4.0.0`.

        data_dir: Folder where TensorFlow Datasets looks for prepared sets and puts new ones. For `openml:NAME`, the
            folder where scikit-learn keeps its downloads. Defaults to the folder that each library uses by itself.
        target: Name of the column of labels or numbers to predict in a table. For several numbers a list of names, or
            one text with commas between them. Defaults to the column called `target`, `label` or `class`; if
            there is not exactly one, `target` is required. The built-in tables have a default of their own. In a set of
            TensorFlow Datasets it names the feature that holds the labels, and defaults to the set's own label.
        task: What to learn: `classification`, `regression` or `multi_label`. Defaults to what the targets look like:
            numbers that are not whole, several numbers per example, or more than 20 different numbers that do not count
            from 0 or 1 on are quantities; several booleans per example are labels; everything else are classes.
        log_target: Whether a network learns the logarithm of the targets, which must be positive and may span orders of
            magnitude. Its answers are in the targets' own units. Defaults to `False`.
        quantiles: The quantiles of numbers that a network learns, ascending, such as `(0.05, 0.5, 0.95)`. Defaults to
            none: it learns the mean.
        group: Name of a column such as `patient`. Rows with the same value in it go to the same split, so that the
            test has only patients that training has not seen. The column is not a feature. The shares are then
            counted over all rows (for `validation_share`, all rows outside the test), not within each class.
        time: Name of a column of numbers or dates. The latest rows become the test split, and the latest of the
            remaining rows the validation split. The column is not a feature. The shares are counted as for `group`. Use
            either `group` or `time`, not both.
        split: Which examples of a TensorFlow Datasets set to train on, in the syntax of TensorFlow Datasets, such as
            `train[:20%]`. Defaults to `train`.
        test_split: Which examples of a TensorFlow Datasets set are the test, in the same syntax. Defaults to `test` if
            the set has such a split and `split` does not use it.
        stream: Whether to read the source in pieces and keep its examples on disk, so that the data may be larger than
            memory. Training then reads from disk. Works for tables, folders of images and TensorFlow Datasets. The
            first call writes the encoded examples to `~/.cache/kerasmlp`, or to the folder that the environment
            variable `KERASMLP_CACHE` names; later calls find them there. Defaults to `False`. The split is the same
            either way.
        image_size: Height and width that the images of a folder are resized to. Defaults to `None`: all images need the
            same size.
        max_image_pixels: The largest image of a folder, in pixels; a folder with a larger one is refused before any is
            decoded. Defaults to 16,777,216 (4,096 x 4,096).
        test: Path of a table with the test rows, if they have a file of their own.
        validation: Path of a table with the validation rows, if they have a file of their own.
        columns: The kind of columns by name, such as `{"zip": "category", "born": "date"}`, where the inferred kind is
            wrong: `number`, `boolean`, `date` (`date:dmy` and `date:mdy` also say what comes first), `category`, or
            `text`, `key` and `dropped` for columns that are not used.
        drop: Names of columns of a table that are not used.
        keep_duplicates_together: Whether rows with equal features stay in one split. The shares are then counted over
            all rows. Defaults to `False`.
        separator: Character between the values of a text table, or `"tab"`. Detected by default, as the next three.
        decimal: Decimal mark of the numbers in a text table, `"."` or `","`.
        encoding: Name of the Python codec of a text table, such as `"cp1252"`.
        header: `"first"` if the first line of a text table names the columns, `"none"` if no line does.
        validation_share: Share of the examples outside the test that becomes validation, between 0 and 1, both
            excluded. It is taken from each class, except with `group` or `time`. Defaults to `0.1`.
        test_share: Share of all examples that becomes the test, between 0 and 1, both excluded. It is taken from each
            class, except with `group` or `time`. The source's own test examples are then treated like all others.
            Defaults to `None`: the source's own test, or 0.2 if it has none. The same examples are chosen whatever
            `seed` is.
        seed: Seed of the random choice of validation examples, and of folds. Defaults to `0`.
        fold: Which fold is the test, such as `(2, 5)` for the second of five. The source's own test examples, and those
            of a given `test_share`, are then in no split. Defaults to `None`: there are no folds. See
            `kerasmlp.cross_validate`, which trains on every fold.
        spec: What a trained network knows about its data, such as `run.card.spec`. It then decides the classes and how
            the columns of a table are read. By default the training examples decide; see
            `kerasmlp.data.table_encoding.Encoder` for what columns become.
        verbose: Whether to display progress while a streamed source is read for the first time: 1 or 2 for yes, 0 for
            no. Defaults to `"auto"`: yes in a terminal or a notebook.

    Returns:
        The splits, with the names of the classes, the feature range, a fingerprint of the examples, and the encoder of
        a table.

    Raises:
        InvalidType: `source` is neither a string nor a path, such as arrays.
        NotFound: the file does not exist, or the data set is not on this machine and cannot be downloaded.
        InvalidValue: the source is unknown or damaged, an argument does not apply to it, or its examples are unusable,
            for example all of one class.
        WorkFailed: the download of a set of TensorFlow Datasets failed.

    Example:
        >>> data = load_data("digits")
        >>> data.feature_shape, data.num_classes, len(data.train), len(data.validation), len(data.test)
        ((8, 8), 10, 1295, 142, 360)

    See Also:
        `data_from_arrays`, `data_from_frame` and `data_from_dataset`, for examples that are in memory already.
    """
    from kerasmlp.data.readers.choosing import read_source

    if not isinstance(source, str | PathLike):
        raise InvalidType(
            f"`source` needs a name or a path; got {type(source).__name__}. Examples that are in memory already are "
            "for `data_from_arrays`, `data_from_frame` or `data_from_dataset`."
        )
    asked = SourceOptions.of(None, options)
    splitting = Splitting(
        validation_share,
        test_share,
        seed,
        group=asked.group,
        time=asked.time,
        fold=None if fold is None else fold_of(fold),
    )
    read = partial(read_source, str(source), asked)
    found = read()
    data = found.split(splitting, spec=spec, show_progress=shows_progress(verbose))
    if spec is not None:
        return data
    # Who asks for a fold will ask for others. Otherwise, the source does not stay in memory.
    return replace(data, origin=Origin(read if fold is None else lambda: found, splitting))
