"""Classification sets of TensorFlow Datasets: images, arrays of numbers, or dictionaries that become tables."""

from __future__ import annotations

import math
import socket
import urllib.parse
import urllib.request
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kerasmlp._system.memory import check_fits_memory
from kerasmlp.data.column_roles import TARGET_NAMES, find_roles
from kerasmlp.data.images import PIXEL_RANGE
from kerasmlp.data.in_memory_source import InMemorySource
from kerasmlp.data.raw_rows import FrameRows, PieceRows
from kerasmlp.data.readers.built_in_tables import BUILT_IN_TABLES
from kerasmlp.data.readers.decoded_arrays import scan_arrays
from kerasmlp.data.readers.table_in_pieces import disk_keep, table_use
from kerasmlp.data.source import Scan, Source, SourceOptions
from kerasmlp.data.split_cache import check_room
from kerasmlp.data.streamed_source import StreamedSource
from kerasmlp.data.table_parts import TableParts
from kerasmlp.data.table_scan import scan_table
from kerasmlp.data.table_source import TableSource
from kerasmlp.data.types import DataSpec
from kerasmlp.errors import InvalidValue, NotFound, WorkFailed, nearest
from kerasmlp.tasks.task_table import TaskOptions

if TYPE_CHECKING:
    from os import PathLike

    import pandas as pd

_BATCH = 1024  # examples read at a time


def read_tfds(name: str, options: SourceOptions, *, known_sources: str) -> Source:
    """Returns the examples of a set. It is downloaded and prepared if it is not in `options.data_dir` yet.

    If each example has exactly one image, or one array of numbers and nothing else but the label, the examples are
    arrays. Otherwise the features become columns of a table.

    Args:
        name: The set, optionally with a version, such as `mnist:3.0.1`.
        options: How to read it.
        known_sources: A sentence about all sources, for the message that there is no such set.

    Raises:
        NotFound: the set is not prepared on this machine and cannot be downloaded, because there is no network.
        InvalidValue: there is no such set, split or label, or its images have different sizes.
    """
    import tensorflow_datasets as tfds

    data_dir, target, group, time = options.data_dir, options.target, options.group, options.time
    base = name.split("/")[0].split(":")[0]
    if data_dir is not None and not Path(data_dir).is_dir():
        raise NotFound(f"There is no folder `{data_dir}`; `data_dir` needs a folder of TensorFlow Datasets.")
    known = tfds.list_builders(with_community_datasets=False)
    if base not in known and not (data_dir is not None and (Path(data_dir) / base).is_dir()):
        hint = nearest(base, ["digits", *BUILT_IN_TABLES, *known])
        raise InvalidValue(f"There is no data source `{name}`.{hint} {known_sources}")
    builder = _prepared_builder(tfds, name, data_dir)
    chosen = _Set(name, builder, *_find_splits(name, builder.info.splits, options.split, options.test_split))
    request = {
        "source": name,
        **options.request(),
        "data_dir": None if data_dir is None else str(Path(data_dir).resolve()),
    }
    columns = _flatten(builder.info.features)
    label = _find_label(tfds, builder.info, columns, target, name)
    array = _find_array(tfds, columns, label, name)
    if array is not None and (group or time):
        raise InvalidValue(f"The set `{name}` of TensorFlow Datasets is not a table; leave `group` and `time` out.")
    use = table_use(replace(options, target=label))
    if options.stream:
        if array is None:
            find_roles(name, _column_names(columns), label, group, time)  # refuses a wrong name before reading

        def look(folder: Path, spec: DataSpec | None) -> Scan:
            if array is not None:
                check_room(folder, chosen.num_bytes(columns, array))
                return _scan_arrays(tfds, chosen, columns, str(array), label, folder, options.task_options)
            names = tuple(_column_names(columns))
            rows = [PieceRows(names, partial(_frames, chosen, columns, [part])) for part in chosen.splits]
            return scan_table(
                base, TableParts(rows[0], test=dict(enumerate(rows)).get(1)), use, spec, keep=disk_keep(folder)
            )

        identity = [str(builder.data_dir), str(builder.info.version), chosen.splits]
        return StreamedSource(base, request, identity, chosen.num_test is not None, look)
    check_fits_memory(name, chosen.num_bytes(columns, array), can_stream=True)
    if array is None:
        import pandas as pd

        frames = [
            FrameRows(pd.concat(list(_frames(chosen, columns, [part])), ignore_index=True)) for part in chosen.splits
        ]
        return TableSource(base, TableParts(frames[0], test=dict(enumerate(frames)).get(1)), use, request=request)
    arrays: list[np.ndarray] = []
    for part in chosen.splits:
        batches = list(chosen.batches([part]))
        arrays += [np.concatenate([_pick(batch, key) for batch in batches]) for key in (array, label)]
    return InMemorySource(
        base,
        *arrays,
        class_names=_class_names(tfds, columns[label], arrays[1]),
        feature_range=_feature_range(tfds, columns[array]),
        request=request,
        task=options.task_options,
    )


@dataclass(frozen=True)
class _Set:
    """A prepared set, and the names of the splits to read: the one to train on and, if there is one, the test."""

    name: str
    builder: Any
    splits: tuple[str, ...]
    has_test: bool

    @property
    def num_test(self) -> int | None:
        return int(self.builder.info.splits[self.splits[-1]].num_examples) if self.has_test else None

    def batches(self, splits: Sequence[str] | None = None) -> Iterator[Mapping[str, Any]]:
        """The examples in batches, decoded on all cores, always in the same order."""
        import tensorflow_datasets as tfds

        for split in splits or self.splits:
            yield from tfds.as_numpy(self.builder.as_dataset(split=split, batch_size=_BATCH, shuffle_files=False))

    def num_bytes(self, columns: Mapping[str, Any], array: str | None) -> int:
        splits = [self.builder.info.splits[split] for split in self.splits]
        if array is None:
            return sum(int(split.num_bytes) for split in splits)
        each = math.prod(columns[array].shape) * np.dtype(columns[array].np_dtype).itemsize
        return int(each * sum(split.num_examples for split in splits))


def _find_splits(name: str, splits: Any, split: str | None, test_split: str | None) -> tuple[tuple[str, ...], bool]:
    """The split to train on and, if there is one, the split to test on; and whether there is a split to test on."""
    chosen = [split or "train"]
    if test_split is not None or "test" in splits:
        chosen.append(test_split or "test")
    intervals = []
    for text in chosen:
        try:
            found = splits[text]
        except (KeyError, ValueError, AssertionError) as error:
            raise InvalidValue(
                f"The set `{name}` of TensorFlow Datasets has no split `{text}`. Its splits are {', '.join(splits)}; a "
                "part of one is written like `train[:20%]`."
            ) from error
        if found.num_examples <= 0:
            raise InvalidValue(f"The split `{text}` of the set `{name}` of TensorFlow Datasets has no examples.")
        intervals.append([_interval(shard) for shard in found.file_instructions])
    for file, start, stop in intervals[0]:
        for other, first, last in intervals[1] if len(chosen) > 1 else []:
            if file == other and max(start, first) < min(stop, last):
                if test_split is None:
                    return (chosen[0],), False
                raise InvalidValue(
                    f"`split` `{chosen[0]}` and `test_split` `{chosen[1]}` of the set `{name}` share examples, so the "
                    "test would be trained on. Choose parts that do not overlap."
                )
    return tuple(chosen), len(chosen) > 1


def _interval(shard: Any) -> tuple[str, int, int]:
    """The file of a shard, the position of the first example to read, and the position after the last."""
    return shard.filename, shard.skip, shard.examples_in_shard if shard.take < 0 else shard.skip + shard.take


def _flatten(features: Any, prefix: str = "") -> dict[str, Any]:
    """The features of an example by name. The features of a nested dictionary are named `dictionary/feature`.

    They are sorted, because the order in which TensorFlow Datasets lists them differs between reads.
    """
    import tensorflow_datasets as tfds

    flat: dict[str, Any] = {}
    for key, feature in sorted(features.items()):
        if isinstance(feature, tfds.features.FeaturesDict):
            flat |= _flatten(feature, f"{prefix}{key}/")
        else:
            flat[prefix + key] = feature
    return flat


def _pick(example: Mapping[str, Any], name: str) -> Any:
    value: Any = example
    for key in name.split("/"):
        value = value[key]
    return value


def _find_label(tfds: Any, info: Any, columns: Mapping[str, Any], target: str | Sequence[str] | None, name: str) -> str:
    if target is not None:
        if not isinstance(target, str):
            if len(target) != 1:
                raise InvalidValue(f"The set `{name}` needs one feature as `target`; got {', '.join(target)}.")
            (target,) = target
        if target not in columns:
            raise InvalidValue(
                f"The set `{name}` of TensorFlow Datasets has no feature `{target}`.{nearest(target, columns)} Its "
                f"features are {', '.join(columns)}."
            )
        return target
    # The label is found by its type, because sets that are read without their code have no `supervised_keys`.
    supervised = info.supervised_keys[1] if info.supervised_keys else None
    if isinstance(supervised, str) and supervised in columns:
        return supervised
    labels = [key for key, feature in columns.items() if isinstance(feature, tfds.features.ClassLabel)]
    if len(labels) != 1:
        labels = [key for key in labels or columns if key.rpartition("/")[2].lower() in TARGET_NAMES]
    if len(labels) != 1:
        raise InvalidValue(
            f"The set `{name}` of TensorFlow Datasets needs `target`, the feature to predict; its features are "
            f"{', '.join(columns)}."
        )
    return labels[0]


def _find_array(tfds: Any, columns: Mapping[str, Any], label: str, name: str) -> str | None:
    """The image of an example, or the array of numbers that is its only feature; None if the set becomes a table."""
    found = [key for key, feature in columns.items() if isinstance(feature, tfds.features.Image) and key != label]
    if not found and len(columns) == 2:
        found = [key for key in columns if key != label and columns[key].shape and _is_numeric(columns[key])]
    if len(found) > 1:
        raise InvalidValue(f"The set `{name}` of TensorFlow Datasets has {len(found)} images per example; expected 1.")
    if found and None in columns[found[0]].shape:
        raise InvalidValue(f"The images of the set `{name}` of TensorFlow Datasets have different sizes; expected one.")
    return found[0] if found else None


def _is_numeric(feature: Any) -> bool:
    return np.dtype(feature.np_dtype).kind in "biuf"


def _column_names(columns: Mapping[str, Any]) -> list[str]:
    return [column for name, feature in columns.items() for column in _names_of(name, feature)]


def _names_of(name: str, feature: Any) -> list[str]:
    """The columns that a feature becomes: none unless it is a number, a text, or a fixed number of numbers."""
    shape = feature.shape if isinstance(feature.shape, tuple) else (None,)
    if None in shape or (shape and not _is_numeric(feature)):
        return []
    return [name] if not shape else [f"{name}_{index}" for index in range(math.prod(shape))]


def _frames(chosen: _Set, columns: Mapping[str, Any], splits: Sequence[str]) -> Iterator[pd.DataFrame]:
    """The rows of a table, batch by batch."""
    import pandas as pd

    for batch in chosen.batches(splits):
        values: dict[str, Any] = {}
        for name, feature in columns.items():
            names = _names_of(name, feature)
            if names:
                flat = np.asarray(_pick(batch, name)).reshape(-1, len(names))
                values |= {column: _column(feature, flat[:, i]) for i, column in enumerate(names)}
        yield pd.DataFrame(values)


def _column(feature: Any, values: np.ndarray) -> Any:
    names = getattr(feature, "names", None)
    if names:  # the class of an example is -1 if it is not known
        return np.array([*names, None], object)[values]
    return [value.decode("utf-8", "replace") for value in values] if values.dtype.kind in "OS" else values


def _scan_arrays(
    tfds: Any, chosen: _Set, columns: Mapping[str, Any], array: str, label: str, folder: Path, task: TaskOptions
) -> Scan:
    """Decodes all examples to a file in one pass, because reading only the labels takes nearly as long."""
    parts = [
        ((_pick(batch, array), _pick(batch, label)) for batch in chosen.batches([split])) for split in chosen.splits
    ]
    return scan_arrays(
        chosen.name,
        parts,
        folder,
        class_names=lambda labels: _class_names(tfds, columns[label], labels),
        feature_range=_feature_range(tfds, columns[array]),
        task=task,
    )


def _class_names(tfds: Any, feature: Any, labels: np.ndarray) -> tuple[str, ...] | None:
    if not isinstance(feature, tfds.features.ClassLabel):
        return None
    present = np.unique(labels)
    if present[0] < 0:
        raise InvalidValue(
            "TensorFlow Datasets marks some of the examples as unlabelled (-1); choose a `split` with labels."
        )
    return tuple(feature.names[index] for index in present)


def _feature_range(tfds: Any, feature: Any) -> tuple[float, float] | None:
    return PIXEL_RANGE if np.dtype(feature.np_dtype) == np.uint8 else None


def _prepared_builder(tfds: Any, name: str, data_dir: str | PathLike[str] | None) -> Any:
    """TensorFlow Datasets' builder of a prepared set. The set is downloaded and prepared first if necessary."""
    where = f"`{data_dir}`" if data_dir is not None else "TensorFlow Datasets' own folder"
    remedy = "Set `data_dir` to the folder that contains it, or run this once with a network to download it."
    try:
        builder = tfds.builder(name, data_dir=data_dir, try_gcs=False)
    except Exception as error:
        raise InvalidValue(f"TensorFlow Datasets does not accept the name `{name}`: {error}") from error
    if Path(builder.data_dir).is_dir():
        return builder
    host = _unreachable_host(builder.url_infos)
    if host:
        raise NotFound(
            f"The set `{name}` of TensorFlow Datasets is not prepared in {where}, and {host} cannot be reached. "
            f"{remedy}"
        )
    try:
        builder.download_and_prepare()
    except Exception as error:
        raise WorkFailed(
            f"The set `{name}` of TensorFlow Datasets could not be downloaded to {where} "
            f"({type(error).__name__}). {remedy}"
        ) from error
    return builder


def _unreachable_host(urls: Iterable[str]) -> str | None:
    """The first host whose name cannot be resolved. Checked before a download, which would retry for minutes."""
    if urllib.request.getproxies():
        return None  # a proxy resolves the names
    for host in sorted({urllib.parse.urlsplit(url).hostname or "" for url in urls} - {""}):
        try:
            socket.getaddrinfo(host, 443)
        except OSError:
            return host
    return None
