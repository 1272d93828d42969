"""`with_metadata`: adds metadata to a TFLite file, and labels and card as files that `unzip` can read.

The format is TensorFlow Lite Metadata (`metadata_schema.fbs` of TFLite Support), which Android Studio and MediaPipe
read. The metadata is a flatbuffer of its own inside the model's flatbuffer. The files are a zip archive at the end,
which TFLite runtimes ignore. We write it ourselves, because `tflite-support`, the library for it, does not install on
current versions of Python.
"""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from kerasmlp.contract import CARD_NAME, CLASS_ID, LABELS_NAME, PROBABILITIES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kerasmlp.artefacts.tflite_contents import Contents
    from kerasmlp.card import Card

METADATA_NAME = "TFLITE_METADATA"
_FILE_IDENTIFIER = b"M001"
_PARSER_VERSION = "1.0.0"  # the oldest version of a reader that understands everything used here

# Values of the schema's enumerations and kinds of its unions.
_IMAGE_PROPERTIES, _NORMALIZATION_OPTIONS = 2, 1
_RGB, _GRAYSCALE = 1, 2
_TENSOR_AXIS_LABELS = 2


@dataclass(frozen=True)
class _Byte:
    """The value of an enumeration, or the kind of a union."""

    value: int


@dataclass(frozen=True)
class _Number:
    """An unsigned 32-bit integer."""

    value: int


# A table of the schema: values by the position of their field in the definition. Fields without a value are left out.
_Table = dict[int, Any]


def with_metadata(content: bytes, contents: Contents, card: Card, *, author: str, version: str) -> bytes:
    """Returns a TFLite file with metadata, and with `labels.txt` and `card.json` in a zip archive at its end.

    Args:
        content: The bytes of the TFLite file.
        contents: What the file contains, as `read_contents` returns it.
        card: The card of the network.
        author: Author named in the metadata.
        version: Version of the network named in the metadata.
    """
    from ai_edge_litert import schema_py_generated as schema
    from ai_edge_litert.tools import flatbuffer_utils

    model = flatbuffer_utils.read_model_from_bytearray(bytearray(content))
    _drop_notes_of_the_converter(model)
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(_encode(_describe(contents, card, author, version)), np.uint8)
    model.buffers.append(buffer)
    entry = schema.MetadataT()
    entry.name, entry.buffer = METADATA_NAME, len(model.buffers) - 1
    model.metadata = [entry]
    for graph in model.subgraphs:
        _name_briefly(graph, contents)
    whole = io.BytesIO(bytes(flatbuffer_utils.convert_object_to_bytearray(model)))
    whole.seek(0, io.SEEK_END)
    with zipfile.ZipFile(whole, "a") as archive:
        for name, text in ((LABELS_NAME, card.labels_text()), (CARD_NAME, card.to_json(compact=True))):
            # A fixed time, so that the same network always gives the same bytes.
            archive.writestr(zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0)), text)
    return whole.getvalue()


def _drop_notes_of_the_converter(model: Any) -> None:
    """Removes how the converter was called, and the oldest runtime, which is that of the file before quantisation."""
    notes = {entry.buffer for entry in model.metadata or []}
    while len(model.buffers) - 1 in notes:  # from the end, so that all other buffers keep their numbers
        model.buffers.pop()
    model.description = None


def _name_briefly(graph: Any, contents: Contents) -> None:
    """Names the input and the output as the signature does, and nothing else.

    The converter's names are those of TensorFlow's operations, and make up 1 % of a file of 2 bits.
    """
    for tensor in graph.tensors:
        tensor.name = None
    graph.tensors[graph.inputs[0]].name = contents.source.name
    graph.tensors[graph.outputs[0]].name = contents.target.name


def pixels_to_raw(card: Card) -> tuple[float, float]:
    """Returns the mean and deviation that turn a pixel from 0 to 255 into a raw value: `(pixel - mean) / deviation`.

    Args:
        card: The card of the network. Without a `feature_range`, raw values are pixels from 0 to 255.

    Example:
        >>> from kerasmlp.card import Card
        >>> pixels_to_raw(Card("d", "", (64, 10), (8, 8), (0.0, 16.0), (), None, {}))
        (0.0, 15.9375)
    """
    low, high = card.feature_range or (0.0, 255.0)
    deviation = 255 / (high - low)
    return 0 - low * deviation, deviation


def _describe(contents: Contents, card: Card, author: str, version: str) -> _Table:
    """Returns the table `ModelMetadata` of the schema."""
    source, target = contents.source, contents.target
    is_rgb = len(source.shape) == 4
    tensor: _Table = {0: source.name, 1: f"Raw values of shape {card.feature_shape}."}
    if len(card.feature_shape) in (2, 3):
        colours = _RGB if is_rgb or card.feature_shape[2:] == (3,) else _GRAYSCALE
        size = {0: _Number(card.feature_shape[1]), 1: _Number(card.feature_shape[0])}
        tensor[3] = {0: _Byte(_IMAGE_PROPERTIES), 1: {0: _Byte(colours), 1: size}}
    if is_rgb:  # other callers pass raw values; MediaPipe passes pixels from 0 to 255
        mean, deviation = pixels_to_raw(card)
        tensor[4] = [{0: _Byte(_NORMALIZATION_OPTIONS), 1: {0: [mean], 1: [deviation]}}]
    if card.feature_range is not None:
        tensor[5] = {0: [float(card.feature_range[1])], 1: [float(card.feature_range[0])]}
    task = card.learnt
    one = _singular(task.unit)
    labels: _Table = {0: LABELS_NAME, 2: _Byte(_TENSOR_AXIS_LABELS)}
    count = f"{len(task.names)} {task.unit if len(task.names) > 1 else one}"
    unit = ", in the unit that the training data have" if task.has_units else ""
    answer: _Table = {0: target.name, 1: f"{target.name.replace('_', ' ').capitalize()} for {count}{unit}."}
    if target.name == PROBABILITIES:
        answer[5] = {0: [1.0], 1: [0.0]}
    if target.name != CLASS_ID:
        answer[6] = [labels]
    network = "-".join(map(str, card.sizes))
    return {
        0: f"{card.dataset} {network}",
        1: f"Multi-layer perceptron; see {CARD_NAME}.",
        2: version,
        3: [{0: "main", 2: [tensor], 3: [answer]}],
        4: author,
        7: _PARSER_VERSION,
    }


def _singular(noun: str) -> str:
    """Returns the singular of a regular noun.

    Example:
        >>> _singular("classes"), _singular("targets")
        ('class', 'target')
    """
    return noun.removesuffix("es" if noun.endswith("sses") else "s")


def _encode(table: _Table) -> bytes:
    """Returns a table as a flatbuffer."""
    import flatbuffers

    builder = flatbuffers.Builder(1024)
    builder.Finish(_write_table(builder, table), file_identifier=_FILE_IDENTIFIER)
    return bytes(builder.Output())


def _write_table(builder: Any, table: Mapping[int, Any]) -> int:
    # Flatbuffers are written from the leaves up: first what a table refers to, then the table.
    written = {
        slot: _write_value(builder, value) for slot, value in table.items() if not isinstance(value, _Byte | _Number)
    }
    builder.StartObject(max(table) + 1)
    for slot, value in table.items():
        if isinstance(value, _Byte):
            builder.PrependUint8Slot(slot, value.value, 0)
        elif isinstance(value, _Number):
            builder.PrependUint32Slot(slot, value.value, 0)
        else:
            builder.PrependUOffsetTRelativeSlot(slot, written[slot], 0)
    return int(builder.EndObject())


def _write_value(builder: Any, value: Any) -> int:
    if isinstance(value, str):
        return int(builder.CreateString(value))
    if isinstance(value, dict):
        return _write_table(builder, value)
    if isinstance(value[0], float):
        builder.StartVector(4, len(value), 4)
        for number in reversed(value):
            builder.PrependFloat32(number)
    else:
        offsets = [_write_table(builder, table) for table in value]
        builder.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            builder.PrependUOffsetTRelative(offset)
    return int(builder.EndVector())
