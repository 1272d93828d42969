"""`data_from_arrays`, `data_from_frame` and `data_from_dataset`: from examples in memory to split `Data`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from kerasmlp._system.terminal import shows_progress
from kerasmlp.contract import VALIDATION_SHARE
from kerasmlp.data.splitting import Origin, Splitting
from kerasmlp.errors import InvalidType, InvalidValue
from kerasmlp.tasks.task_table import TaskOptions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd
    import tensorflow as tf

    from kerasmlp.data.source import Source
    from kerasmlp.data.types import Data


def data_from_frame(
    frame: pd.DataFrame,
    target: str | Sequence[str],
    *,
    task: str | None = None,
    log_target: bool = False,
    quantiles: Sequence[float] = (),
    test: pd.DataFrame | None = None,
    validation: pd.DataFrame | None = None,
    test_share: float | None = None,
    name: str = "frame",
    group: str | None = None,
    time: str | None = None,
    columns: Mapping[str, str] | None = None,
    drop: Sequence[str] = (),
    keep_duplicates_together: bool = False,
    validation_share: float = VALIDATION_SHARE,
    seed: int = 0,
) -> Data:
    """Returns the rows of a pandas frame, split and encoded. The encoding is learnt from the training rows.

    The kind of each column is inferred from its values; see `kerasmlp.data.table_encoding.Encoder` for what each kind
    becomes. `data.encoder.columns` says how each column was read.

    Args:
        frame: One row per example.
        target: Name of the column of labels, whole numbers or strings, or of numbers to predict. For several numbers a
            list of names.
        task: What to learn: `classification`, `regression` or `multi_label`. Defaults to what the targets look like:
            numbers that are not whole, several numbers per example, or more than 20 different numbers that do not count
            from 0 or 1 on are quantities; several booleans per example are labels; everything else are classes.
        log_target: Whether a network learns the logarithm of the targets, which must be positive and may span orders of
            magnitude. Its answers are in the targets' own units. Defaults to `False`.
        quantiles: The quantiles of numbers that a network learns, ascending, such as `(0.05, 0.5, 0.95)`. Defaults to
            none: it learns the mean.
        test: The test rows, if they are a frame of their own. Defaults to `None`: `test_share` of `frame`.
        validation: The validation rows, if they are a frame of their own. Defaults to `None`: `validation_share`.
        test_share: Share of the rows that becomes the test, between 0 and 1, both excluded. It is taken from each
            class, except with `group` or `time`. The same rows are chosen whatever `seed` is. Defaults to `None`: 0.2.
        name: Name of the data. Defaults to `"frame"`.
        group: Name of a column such as `patient`. Rows with the same value in it go to the same split. The column is
            not a feature. `test_share` is then a share of all rows, and `validation_share` a share of the rows outside
            the test, whatever their class.
        time: Name of a column of numbers or dates. The latest rows become the test and the latest of the others
            validation. The column is not a feature. The shares are counted as for `group`, whatever the class of a
            row. Use either `group` or `time`, not both.
        columns: The kind of columns by name, such as `{"zip": "category", "born": "date:dmy"}`, where the inferred kind
            is wrong.
        drop: Names of columns that are not used.
        keep_duplicates_together: Whether rows with equal features stay in one split. The shares are then counted over
            all rows. Defaults to `False`.
        validation_share: Share of the rows outside the test that becomes validation, between 0 and 1, both excluded. It
            is taken from each class, except with `group` or `time`. Defaults to `0.1`.
        seed: Seed of the random choice of validation rows. Defaults to `0`.

    Raises:
        InvalidValue: a column is missing, a row has no label, or the rows are unusable, for example all of one class.

    Example:
        >>> import pandas as pd
        >>> columns = {"size": [3, 5, 4, 6] * 10, "colour": ["red", "blue"] * 20, "kind": ["a", "a", "b", "b"] * 10}
        >>> frame = pd.DataFrame(columns)
        >>> data_from_frame(frame, "kind", test_share=0.2).encoder.feature_names
        ('size', 'colour=blue', 'colour=red')

    See Also:
        `load_data`, for tables in `.csv` and `.parquet` files.
    """
    import pandas as pd

    from kerasmlp.data.raw_rows import FrameRows
    from kerasmlp.data.table_parts import TableParts, TableUse
    from kerasmlp.data.table_source import TableSource

    for key, rows in (("frame", frame), ("test", test), ("validation", validation)):
        if rows is not None and not isinstance(rows, pd.DataFrame):
            raise InvalidType(f"`{key}` needs a pandas frame; got {type(rows).__name__}. `load_data` reads files.")
    if test is not None and test_share is not None:
        raise InvalidValue("`test` is the test; leave `test_share` out.")
    parts = TableParts(
        FrameRows(frame, drop),
        None if validation is None else FrameRows(validation, drop, source="validation"),
        None if test is None else FrameRows(test, drop, source="test"),
    )
    target = target if isinstance(target, str | list | tuple) else str(target)  # columns may have numbers as names
    use = TableUse(
        target,
        group,
        time,
        columns or {},
        drop,
        keep_duplicates_together,
        task=TaskOptions(task, log_target, quantiles),
    )
    splitting = Splitting(validation_share, test_share, seed, group=group, time=time)
    return _split(partial(TableSource, name, parts, use), splitting)


def data_from_dataset(
    dataset: tf.data.Dataset,
    test: tf.data.Dataset | None = None,
    *,
    name: str = "dataset",
    feature_range: tuple[float, float] | None = None,
    class_names: tuple[str, ...] | None = None,
    task: str | None = None,
    log_target: bool = False,
    quantiles: Sequence[float] = (),
    stream: bool = False,
    validation_share: float = VALIDATION_SHARE,
    test_share: float | None = None,
    seed: int = 0,
    verbose: str | int = "auto",
) -> Data:
    """Returns the examples of a `tf.data.Dataset`, split. The dataset is read once, so it decodes each example once.

    Args:
        dataset: Pairs `(features, labels)` of single examples, or of batches whose labels have the shape `(batch,)`. It
            must be finite, so leave out `repeat`.
        test: The test examples in the same form. Defaults to `None`: they are taken from `dataset`.
        name: Name of the data. Defaults to `"dataset"`.
        feature_range: Lowest and highest possible value of a feature. Defaults to the range that the dtype and the
            values of images show, such as `(0, 255)` or `(-1, 1)`, and to `None` for other features.
        class_names: Name of each class, in the order of the sorted labels. Defaults to the labels.
        task: What to learn: `classification`, `regression` or `multi_label`. Defaults to what the targets look like:
            numbers that are not whole, several numbers per example, or more than 20 different numbers that do not count
            from 0 or 1 on are quantities; several booleans per example are labels; everything else are classes.
        log_target: Whether a network learns the logarithm of the targets, which must be positive and may span orders of
            magnitude. Its answers are in the targets' own units. Defaults to `False`.
        quantiles: The quantiles of numbers that a network learns, ascending, such as `(0.05, 0.5, 0.95)`. Defaults to
            none: it learns the mean.
        stream: Whether to keep the examples in a file instead of memory. The file is deleted when this process ends.
            Defaults to `False`.
        validation_share: Share of each class's training examples that becomes validation, between 0 and 1, both
            excluded. Defaults to `0.1`.
        test_share: Share of each class that becomes the test, between 0 and 1, both excluded. It is taken from all
            examples together, those of `test` included. Defaults to `None`: `test` is the test; without it, 0.2. The
            same examples are chosen whatever `seed` is.
        seed: Seed of the random choice of validation examples. Defaults to `0`.
        verbose: Whether to display progress while examples are written to a file: 1 or 2 for yes, 0 for no. Defaults to
            `"auto"`: yes in a terminal or a notebook.

    Raises:
        InvalidType: `dataset` is not a `tf.data.Dataset`, or its elements are not pairs of dense tensors.
        InvalidValue: `dataset` never ends, or its examples are unusable, for example all of one class.

    Example:
        >>> import tensorflow as tf
        >>> dataset = tf.data.Dataset.range(40).map(lambda i: (tf.cast([i, -i], tf.float32), i % 2))
        >>> data = data_from_dataset(dataset, test_share=0.2)
        >>> data.feature_shape, len(data.train), len(data.validation), len(data.test)
        ((2,), 28, 4, 8)

    See Also:
        `load_data`, for TensorFlow Datasets by name.
    """
    from kerasmlp.data.readers.tf_dataset import read_dataset

    show_progress = shows_progress(verbose)
    read = partial(
        read_dataset,
        name,
        dataset,
        test,
        feature_range=feature_range,
        class_names=class_names,
        stream=stream,
        task=TaskOptions(task, log_target, quantiles),
    )
    return _split(read, Splitting(validation_share, test_share, seed), keep=stream, show_progress=show_progress)


def data_from_arrays(
    x_train: Any,
    y_train: Any,
    x_test: Any = None,
    y_test: Any = None,
    *,
    x_validation: Any = None,
    y_validation: Any = None,
    name: str = "arrays",
    feature_range: tuple[float, float] | None = None,
    class_names: tuple[str, ...] | None = None,
    task: str | None = None,
    log_target: bool = False,
    quantiles: Sequence[float] = (),
    groups: Any = None,
    times: Any = None,
    validation_share: float = VALIDATION_SHARE,
    test_share: float | None = None,
    seed: int = 0,
) -> Data:
    """Returns the examples in arrays, split.

    Args:
        x_train: Features, numeric `(examples, ...)`. float64 becomes float32; other types stay as they are.
        y_train: Labels, whole numbers, strings or booleans, `(examples,)` or `(examples, 1)`; or one-hot rows
            `(examples, classes)`, which become the numbers of their columns; or numbers to predict, `(examples,)` or
            `(examples, targets)`.
        x_test: Features of the test examples, of the same shape per example. Defaults to `None`: the test is taken
            from `x_train`.
        y_test: Labels of the test examples. Each label must also occur in `y_train`.
        x_validation: Features of the validation examples. Defaults to `None`: `validation_share` takes them from
            `x_train`.
        y_validation: Labels of the validation examples. Each label must also occur in `y_train`.
        name: Name of the data. Defaults to `"arrays"`.
        feature_range: Lowest and highest possible value of a feature. Defaults to the range that the dtype and the
            values of images show, such as `(0, 255)` or `(-1, 1)`, and to `None` for other features.
        class_names: Name of each class, in the order of the sorted labels. Defaults to the labels.
        task: What to learn: `classification`, `regression` or `multi_label`. Defaults to what the targets look like:
            numbers that are not whole, several numbers per example, or more than 20 different numbers that do not count
            from 0 or 1 on are quantities; several booleans per example are labels; everything else are classes.
        log_target: Whether a network learns the logarithm of the targets, which must be positive and may span orders of
            magnitude. Its answers are in the targets' own units. Defaults to `False`.
        quantiles: The quantiles of numbers that a network learns, ascending, such as `(0.05, 0.5, 0.95)`. Defaults to
            none: it learns the mean.
        groups: Group of each example of `x_train`, whole numbers or strings, `(examples,)`. Examples of one group go to
            the same split. `test_share` is then a share of all examples, and `validation_share` a share of the examples
            outside the test, whatever their class. Defaults to `None`: examples are independent.
        times: Time of each example of `x_train`, numbers `(examples,)`. The latest examples become the test and the
            latest of the others validation. The shares are counted as for `groups`, whatever the class of an example.
            Defaults to `None`: examples are drawn at random.
        validation_share: Share of the examples outside the test that becomes validation, between 0 and 1, both
            excluded. It is taken from each class, except with `groups` or `times`. Defaults to `0.1`.
        test_share: Share of all examples, those of `x_test` included, that becomes the test, between 0 and 1, both
            excluded. It is taken from each class, except with `groups` or `times`. Defaults to `None`: `x_test` is the
            test; without it, 0.2. The same examples are chosen whatever `seed` is.
        seed: Seed of the random choice of validation examples. Defaults to `0`.

    Raises:
        InvalidType: an array is not numeric, or the labels are neither whole numbers nor strings.
        InvalidValue: lengths or shapes differ, a value is NaN or infinite, there is only one class, or a label occurs
            only in the test examples.

    Example:
        >>> import numpy as np
        >>> x, y = np.arange(40.0).reshape(20, 2), np.arange(20) % 2
        >>> data_from_arrays(x, y, x, y).class_names
        ('0', '1')

    See Also:
        `load_data`, for arrays in `.npz` and IDX files.
    """
    from kerasmlp.data.in_memory_source import InMemorySource

    read = partial(
        InMemorySource,
        name,
        x_train,
        y_train,
        x_test,
        y_test,
        x_validation=x_validation,
        y_validation=y_validation,
        feature_range=feature_range,
        class_names=class_names,
        groups=groups,
        times=times,
        task=TaskOptions(task, log_target, quantiles),
    )
    return _split(read, Splitting(validation_share, test_share, seed))


def _split(
    read: Callable[[], Source], splitting: Splitting, *, keep: bool = False, show_progress: bool = False
) -> Data:
    """The examples, split, with a way to split them again.

    Args:
        read: Makes the source. What the source computes is not kept in memory, but made again when it is needed.
        splitting: Which examples go where.
        keep: Whether to keep the source instead, because it is small.
        show_progress: As in `Source.split`.
    """
    source = read()
    data = source.split(splitting, show_progress=show_progress)
    return replace(data, origin=Origin((lambda: source) if keep else read, splitting))
