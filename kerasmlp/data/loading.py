"""`load_data` and its siblings for arrays, frames and datasets: from a source to checked and split `Data`."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from kerasmlp.contract import VALIDATION_SHARE
from kerasmlp.data.splitting import Splitting

if TYPE_CHECKING:
    from collections.abc import Callable
    from os import PathLike

    import pandas as pd
    import tensorflow as tf

    from kerasmlp.data.encoding import Encoder
    from kerasmlp.data.types import Data


def load_data(
    source: str | PathLike[str],
    *,
    data_dir: str | PathLike[str] | None = None,
    target: str | None = None,
    group: str | None = None,
    time: str | None = None,
    split: str | None = None,
    test_split: str | None = None,
    stream: bool = False,
    validation_share: float = VALIDATION_SHARE,
    test_share: float | None = None,
    seed: int = 0,
    encoder: Encoder | None = None,
    progress: Callable[[int, int | None], None] | None = None,
) -> Data:
    """The data that `source` names, split into train, validation and test.

    Args:
        source: One of

            - `digits`: scikit-learn's 1,797 real 8x8 scans, embedded;
            - the path of a `.csv` or `.parquet` file with a column of labels;
            - the path of an `.npz` file in Keras's layout (`x_train`, `y_train`, `x_test`, `y_test`),
              without its test set, or with `x` and `y`;
            - the path of IDX files, gzipped or not: the folder of all four, or one of them;
            - the path of a folder with a sub-folder of images per class, or with `train` and `test` that have these;
            - `openml:NAME`, a set of openml.org such as `openml:mnist_784`;
            - the name of a TensorFlow Datasets classification set, such as `mnist` or `titanic:4.0.0`.
        data_dir: The folder in which TensorFlow Datasets keeps prepared sets, or scikit-learn those of openml.org.
        target: The column of labels in a table. Default: the one that is called `target`, `label` or `class`, or that
            TensorFlow Datasets says is the one.
        group: A column of a table, such as `patient`, whose equal values all go to training, validation or test. It is
            no feature. Shares are then of all rows, whatever their class.
        time: A column of a table, numbers or dates: validation is the latest share of training, the test the latest of
            all. It is no feature.
        split: Which examples of a TensorFlow Datasets set to use, in its own syntax: `train[:20%]`. Default: `train`.
        test_split: Which are the test. Default: `test`, where the set has it and `split` does not
            use it.
        stream: Read a table, a folder of images or a set of TensorFlow Datasets in pieces, in constant memory: see
            `kerasmlp.data.streamed`. The split is the same as without.
        validation_share: Share of each class's training examples that is set aside for validation, in (0, 1).
        test_share: Share of each class that is set aside for the test, of all examples pooled, in (0, 1). None: the
            source's own test. The choice does not depend on `seed`.
        seed: Seed of the choice of validation.
        encoder: How to encode a table, such as a trained network's. Default: what its training rows say; see
            `kerasmlp.data.encoding.Encoder` for the rules, missing values among them.
        progress: For a streamed source that is not in the cache yet: called with how many examples have been written,
            and of how many; with None before these are known.

    Raises:
        NotFound: the file or prepared data set does not exist.
        InvalidValue: the source is unknown, damaged, or holds examples that no network can learn from; or it has no
            test examples and `test_share` is None.

    Example:
        >>> data = load_data("digits")
        >>> data.feature_shape, data.num_classes, len(data.train), len(data.validation), len(data.test)
        ((8, 8), 10, 1295, 142, 360)
    """
    from kerasmlp.data.readers.choosing import read_source
    from kerasmlp.data.source import SourceOptions
    from kerasmlp.data.streamed import Stream

    splitting = Splitting(validation_share, test_share, seed, group=group, time=time)
    options = SourceOptions(data_dir, target, group, time, split, test_split, stream)
    examples = read_source(str(source), options)
    if isinstance(examples, Stream):
        examples = dataclasses.replace(examples, progress=progress)
    return examples.split(splitting, encoder=encoder)


def data_from_frame(
    frame: pd.DataFrame,
    target: str,
    *,
    test_share: float,
    name: str = "frame",
    group: str | None = None,
    time: str | None = None,
    validation_share: float = VALIDATION_SHARE,
    seed: int = 0,
) -> Data:
    """A pandas frame as `Data`: numbers, booleans and categories, encoded by what the training rows say.

    Args:
        frame: A row per example.
        target: The column of labels, whole numbers or strings.
        test_share: Share of each class that is set aside for the test, in (0, 1).
        name: What to call the data.
        group: A column whose equal values stay on one side; see `load_data`.
        time: A column by which the latest rows are set aside; see `load_data`.
        validation_share: Share of each class's training rows that is set aside for validation, in (0, 1).
        seed: Seed of the choice of validation.

    Raises:
        InvalidValue: see `load_data`.

    Example:
        >>> import pandas as pd
        >>> frame = pd.DataFrame({"size": range(40), "colour": ["red", "blue"] * 20, "kind": ["a", "a", "b", "b"] * 10})
        >>> data_from_frame(frame, "kind", test_share=0.2).encoder.feature_names
        ('size', 'colour=blue', 'colour=red')
    """
    from kerasmlp.data.table import Table

    table = Table(name, frame, target, group=group, time=time, request=None)
    return table.split(Splitting(validation_share, test_share, seed, group=group, time=time))


def data_from_dataset(
    dataset: tf.data.Dataset,
    test: tf.data.Dataset | None = None,
    *,
    name: str = "dataset",
    feature_range: tuple[float, float] | None = None,
    class_names: tuple[str, ...] | None = None,
    stream: bool = False,
    validation_share: float = VALIDATION_SHARE,
    test_share: float | None = None,
    seed: int = 0,
) -> Data:
    """A `tf.data.Dataset` as `Data`. It is read once, so what it decodes is decoded once.

    Args:
        dataset: Elements `(features, labels)`: single examples, or batches of them where labels have an axis. It ends.
        test: The same for the test. None: `test_share` takes it.
        name: What to call the data.
        feature_range: Lowest and highest possible value of a feature. Default: (0, 255) for uint8, none for others.
        class_names: Names for the classes, in the order of the sorted labels. Default: the labels themselves.
        stream: Keep the examples in a file instead of memory, as long as this process lives.
        validation_share: See `load_data`.
        test_share: See `load_data`.
        seed: See `load_data`.

    Raises:
        InvalidType: not a dataset, or not of pairs of dense tensors.
        InvalidValue: it never ends, or holds examples that no network can learn from.

    Example:
        >>> import tensorflow as tf
        >>> dataset = tf.data.Dataset.range(40).map(lambda i: (tf.cast([i, -i], tf.float32), i % 2))
        >>> data = data_from_dataset(dataset, test_share=0.2)
        >>> data.feature_shape, len(data.train), len(data.validation), len(data.test)
        ((2,), 28, 4, 8)
    """
    from kerasmlp.data.readers.tf_dataset import read_dataset

    source = read_dataset(name, dataset, test, feature_range=feature_range, class_names=class_names, stream=stream)
    return source.split(Splitting(validation_share, test_share, seed))


def data_from_arrays(
    x_train: Any,
    y_train: Any,
    x_test: Any = None,
    y_test: Any = None,
    *,
    name: str = "arrays",
    feature_range: tuple[float, float] | None = None,
    class_names: tuple[str, ...] | None = None,
    groups: Any = None,
    times: Any = None,
    validation_share: float = VALIDATION_SHARE,
    test_share: float | None = None,
    seed: int = 0,
) -> Data:
    """Arrays in memory as `Data`.

    Args:
        x_train: Features, numeric `(examples, ...)`. uint8 stays uint8, whole numbers and float16 stay what they
            are, float64 becomes float32.
        y_train: Labels, whole numbers or strings, `(examples,)`.
        x_test: Features of the test examples, shaped as those of `x_train`. None: `test_share` takes them.
        y_test: Their labels, each of which also occurs in `y_train`.
        name: What to call the data.
        feature_range: Lowest and highest possible value of a feature. Default: (0, 255) for uint8, none for others.
        class_names: Names for the classes, in the order of the sorted labels. Default: the labels themselves.
        groups: Group of each example of `x_train`, whole numbers or strings; examples of one group stay together.
        times: Time of each, numbers; validation is then later than training, the test later than both.
        validation_share: Share of each class's training examples set aside for validation, in (0, 1).
        test_share: Share of each class of all examples set aside for the test, in (0, 1). None: `x_test` is the test.
        seed: Seed of the choice of validation.

    Raises:
        InvalidType: an array is not numeric, or the labels are neither whole numbers nor strings.
        InvalidValue: lengths or shapes differ, a value is NaN or infinite, there is only one class, or a label
            occurs only in the test examples.

    Example:
        >>> x, y = np.arange(40.0).reshape(20, 2), np.arange(20) % 2
        >>> data_from_arrays(x, y, x, y).class_names
        ('0', '1')
    """
    from kerasmlp.data.in_memory import Examples

    examples = Examples(
        name,
        x_train,
        y_train,
        x_test,
        y_test,
        feature_range=feature_range,
        class_names=class_names,
        groups=groups,
        times=times,
    )
    return examples.split(Splitting(validation_share, test_share, seed))
