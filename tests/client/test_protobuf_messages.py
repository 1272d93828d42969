"""TF Serving's protobuf messages: bytes worked out by hand, comparison with TensorFlow's tensors, damaged bytes."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import message
from tensorflow.core.framework import tensor_pb2, tensor_shape_pb2
from tensorflow.core.protobuf import meta_graph_pb2

from kerasmlp.client import protobuf_classes
from kerasmlp.client.message_conversion import (
    predict_request,
    predict_response,
    prediction_log,
    read_predict_request,
    read_predict_response,
    read_prediction_log,
)
from kerasmlp.client.tensor_protos import from_proto, to_proto
from kerasmlp.errors import InvalidType

# Worked out by hand from predict.proto, model.proto, tensor.proto and tensor_shape.proto: tag = number * 8 + wire type.
SPEC = "0a01 6d 1202 0803 1a01 73".replace(" ", "")  # name "m"; version {value 3}; signature_name "s"
TENSOR = "0801 1204 1202 0801 2204 0000803f".replace(" ", "")  # dtype 1; shape {dim {size 1}}; content 1.0
REQUEST = bytes.fromhex(
    f"0a0a {SPEC} 1213 0a01 78 120e {TENSOR} 1a01 70"  # model_spec; inputs {key "x", value}; output_filter "p"
)


def test_a_request_has_the_bytes_of_its_definition() -> None:
    request = predict_request("m", {"x": np.array([1.0], np.float32)}, signature="s", version=3, outputs=["p"])
    assert request.SerializeToString() == REQUEST
    asked = read_predict_request(REQUEST)
    assert (asked.model, asked.signature, asked.version, asked.label) == ("m", "s", 3, None)
    np.testing.assert_array_equal(asked.inputs["x"], np.array([1.0], np.float32))


def test_a_version_label_has_its_own_field() -> None:
    assert predict_request("m", {}, signature="s", label="new").SerializeToString() == bytes.fromhex(
        "0a0b 0a016d 1a0173 2203 6e6577"
    )
    assert read_predict_request(bytes.fromhex("0a0b 0a016d 1a0173 2203 6e6577")).label == "new"


def test_a_log_and_a_response_have_the_bytes_of_their_definitions() -> None:
    log = prediction_log(
        predict_request("m", {"x": np.array([1.0], np.float32)}, signature="s", version=3, outputs="p")
    )
    length = bytes([len(REQUEST)])
    expected = b"\x32" + bytes([len(REQUEST) + 2]) + b"\x0a" + length + REQUEST  # predict_log = 6, request = 1
    assert log.SerializeToString() == expected
    assert read_prediction_log(expected).signature == "s"
    # outputs {key "x", value}, as a server writes them: one value after the other, in float_val = 5, packed
    response = bytes.fromhex("0a13 0a0178 120e 0801 1204 12020801 2a04 0000803f")
    np.testing.assert_array_equal(read_predict_response(response)["x"], np.array([1.0], np.float32))


ARRAYS = {
    **{name: np.arange(6).reshape(2, 3).astype(name) for name in ("float16", "float32", "float64", "int8", "int64")},
    **{name: np.arange(4).astype(name) for name in ("uint8", "int16", "uint16", "int32", "uint32", "uint64", "bool")},
    "a single number": np.array(2.5, np.float32),
    "no example": np.zeros((0, 8), np.float32),
    "big-endian": np.arange(3, dtype=">f4"),
    "transposed": np.arange(6, dtype=np.float32).reshape(2, 3).T,
}


@pytest.mark.parametrize("name", ARRAYS)
def test_tensors_equal_those_of_tensorflow(name: str) -> None:
    array = ARRAYS[name]
    ours = tensor_pb2.TensorProto.FromString(to_proto(array).SerializeToString())
    np.testing.assert_array_equal(tf.make_ndarray(ours), array)
    native = array.astype(array.dtype.newbyteorder("="))  # TensorFlow does not reverse the bytes
    for packed in (tf.make_tensor_proto(native), _one_by_one(native)):
        read = from_proto(protobuf_classes.TensorProto.FromString(packed.SerializeToString()))
        np.testing.assert_array_equal(read, array)
        assert read.dtype == native.dtype


def _one_by_one(array: np.ndarray) -> tensor_pb2.TensorProto:
    """Returns a tensor as TF Serving answers it: with its values in a repeated field."""
    proto = tensor_pb2.TensorProto(dtype=tf.as_dtype(array.dtype).as_datatype_enum)
    proto.tensor_shape.CopyFrom(tf.TensorShape(array.shape).as_proto())
    kinds = {"float16": "half_val", "float32": "float_val", "float64": "double_val", "int64": "int64_val"}
    kinds |= {"bool": "bool_val", "uint32": "uint32_val", "uint64": "uint64_val"}
    values = array.view(np.uint16) if array.dtype == np.float16 else array
    getattr(proto, kinds.get(array.dtype.name, "int_val")).extend(values.ravel().tolist())
    return proto


def test_strings_are_sent_as_utf_8_and_come_back_as_bytes() -> None:
    for array in (np.array([["a", "é"]]), np.array([["a", "é".encode()]], object)):
        ours = tensor_pb2.TensorProto.FromString(to_proto(array).SerializeToString())
        assert tf.make_ndarray(ours).tolist() == [[b"a", "é".encode()]]
        assert from_proto(to_proto(array)).tolist() == [[b"a", "é".encode()]]


def test_a_repeated_last_value_is_filled_in() -> None:
    proto = tf.make_tensor_proto(np.full((2, 3), 7, np.int64))
    proto.tensor_content = b""
    proto.int64_val.append(7)
    read = from_proto(protobuf_classes.TensorProto.FromString(proto.SerializeToString()))
    np.testing.assert_array_equal(read, np.full((2, 3), 7))


def test_arrays_and_bytes_that_are_not_tensors_are_refused() -> None:
    with pytest.raises(InvalidType, match="datetime64"):
        to_proto(np.array(["2020-01-01"], "datetime64[D]"))
    with pytest.raises(InvalidType, match="strings.*`None`"):
        to_proto(np.array(["a", None], object))
    tensor = to_proto(np.zeros(2, np.float32))
    tensor.tensor_shape.dim[0].size = 3
    with pytest.raises(ValueError, match=r"shape \(3,\) with 2 values"):
        from_proto(tensor)
    with pytest.raises(ValueError, match="type 20"):
        from_proto(protobuf_classes.TensorProto(dtype=20))
    with pytest.raises(message.DecodeError):
        read_predict_response(b"<html>")
    with pytest.raises(ValueError, match="without a PredictLog"):
        read_prediction_log(b"")


def test_the_fields_of_the_tensor_messages_are_those_of_tensorflow() -> None:
    pairs = [
        (protobuf_classes.TensorProto, tensor_pb2.TensorProto),
        (protobuf_classes.TensorProto().tensor_shape, tensor_shape_pb2.TensorShapeProto),
        (protobuf_classes.TensorProto().tensor_shape.dim.add(), tensor_shape_pb2.TensorShapeProto.Dim),
        (protobuf_classes.SignatureDefMap().signature_def["a"], meta_graph_pb2.SignatureDef),
        (protobuf_classes.SignatureDefMap().signature_def["a"].inputs["b"], meta_graph_pb2.TensorInfo),
    ]
    for ours, theirs in pairs:
        for field in ours.DESCRIPTOR.fields:
            other = theirs.DESCRIPTOR.fields_by_name[field.name]
            enum_as_int = (field.TYPE_INT32, field.TYPE_ENUM)
            assert field.number == other.number, field.full_name
            assert field.type == other.type or (field.type, other.type) == enum_as_int, field.full_name
            assert field.is_repeated == other.is_repeated, field.full_name


def test_outputs_survive_a_response() -> None:
    outputs = {"class_id": np.array([7], np.int32), "label": np.array([b"seven"], object)}
    read = read_predict_response(
        predict_response("m", outputs, signature="serving_default", version=2).SerializeToString()
    )
    assert {name: array.tolist() for name, array in read.items()} == {"class_id": [7], "label": [b"seven"]}


def test_the_messages_do_not_import_tensorflow_or_occupy_its_names() -> None:
    code = (
        "import sys\n"
        "import kerasmlp.client.message_conversion\n"
        "assert 'tensorflow' not in sys.modules\n"
        # What importing tensorflow_serving.apis does: it adds the same full names to the default pool.
        "from google.protobuf import descriptor_pb2, descriptor_pool\n"
        "file = descriptor_pb2.FileDescriptorProto(name='tensorflow_serving/apis/model.proto',\n"
        "    package='tensorflow.serving')\n"
        "file.message_type.add(name='ModelSpec')\n"
        "descriptor_pool.Default().AddSerializedFile(file.SerializeToString())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("shape", [(150_000_000,), (2**62, 2**62), (2**62, 0), (-1,), (-1, -1), (1,) * 70])
def test_a_small_message_cannot_fill_the_memory(shape: tuple[int, ...]) -> None:
    tensor = protobuf_classes.TensorProto(dtype=1, float_val=[1.0])
    for size in shape:
        tensor.tensor_shape.dim.add(size=size)
    with pytest.raises(ValueError, match=r"shape \(|dimension"):
        from_proto(tensor)


def test_repeated_values_are_limited_by_the_caller() -> None:
    tensor = protobuf_classes.TensorProto(dtype=1, float_val=[1.0])
    tensor.tensor_shape.dim.add(size=9)
    assert from_proto(tensor, most_values=9).tolist() == [1.0] * 9
    with pytest.raises(ValueError, match="at most 8 values"):
        from_proto(tensor, most_values=8)
