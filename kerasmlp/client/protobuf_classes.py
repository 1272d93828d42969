"""TF Serving's protobuf message classes, built when this module is imported.

They are defined here because the package that has them, `tensorflow-serving-api`, needs all of TensorFlow.

The classes have a descriptor pool of their own. Otherwise a program that also imports `tensorflow_serving.apis` would
register the same names twice, which protobuf refuses. Fields that kerasmlp does not read are left out; protobuf keeps
unknown fields. Field numbers and types are those of
https://github.com/tensorflow/serving/tree/master/tensorflow_serving/apis and
https://github.com/tensorflow/tensorflow/tree/master/tensorflow/core/{framework,protobuf}.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, message_factory, wrappers_pb2

SERVING, CORE = "tensorflow.serving", "tensorflow"

# The fields of each message, as `number name type`. A type with a capital letter is a message.
_CORE = {
    "TensorShapeProto": ("2 dim repeated Dim", "3 unknown_rank bool"),
    "Dim": ("1 size int64", "2 name string"),
    "TensorProto": (
        "1 dtype int32",  # an enum in TensorFlow, which is encoded in the same bytes
        "2 tensor_shape TensorShapeProto",
        "3 version_number int32",
        "4 tensor_content bytes",
        "13 half_val repeated int32",
        "5 float_val repeated float",
        "6 double_val repeated double",
        "7 int_val repeated int32",
        "8 string_val repeated bytes",
        "10 int64_val repeated int64",
        "11 bool_val repeated bool",
        "16 uint32_val repeated uint32",
        "17 uint64_val repeated uint64",
    ),
    "TensorInfo": ("1 name string", "2 dtype int32", "3 tensor_shape TensorShapeProto"),
    "SignatureDef": ("1 inputs map TensorInfo", "2 outputs map TensorInfo", "3 method_name string"),
}
_SERVING = {
    "ModelSpec": (
        "1 name string",
        "2 version google.protobuf.Int64Value",
        "4 version_label string",
        "3 signature_name string",
    ),
    "PredictRequest": (
        "1 model_spec ModelSpec",
        "2 inputs map tensorflow.TensorProto",
        "3 output_filter repeated string",
    ),
    "PredictResponse": ("2 model_spec ModelSpec", "1 outputs map tensorflow.TensorProto"),
    "PredictLog": ("1 request PredictRequest", "2 response PredictResponse"),
    "PredictionLog": ("6 predict_log PredictLog",),
    "SignatureDefMap": ("1 signature_def map tensorflow.SignatureDef",),
    "GetModelMetadataRequest": ("1 model_spec ModelSpec", "2 metadata_field repeated string"),
    "GetModelMetadataResponse": ("1 model_spec ModelSpec", "2 metadata map google.protobuf.Any"),
    "GetModelStatusRequest": ("1 model_spec ModelSpec",),
    "StatusProto": ("1 error_code int32", "2 error_message string"),
    "ModelVersionStatus": ("1 version int64", "2 state int32", "3 status StatusProto"),
    "GetModelStatusResponse": ("1 model_version_status repeated ModelVersionStatus",),
}

_FIELD = descriptor_pb2.FieldDescriptorProto


def _add_field(message: Any, package: str, text: str) -> None:
    number, name, *label, kind = text.split()
    field = message.field.add(name=name, number=int(number), label=_FIELD.LABEL_OPTIONAL)
    if label:
        field.label = _FIELD.LABEL_REPEATED
    if label == ["map"]:  # protobuf encodes a map as a repeated message of a key and a value
        entry_name = "".join(part.capitalize() for part in name.split("_")) + "Entry"
        entry = message.nested_type.add(name=entry_name, options=descriptor_pb2.MessageOptions(map_entry=True))
        _add_field(entry, package, "1 key string")
        _add_field(entry, package, f"2 value {kind}")
        kind = f"{message.name}.{entry_name}"
    if any(letter.isupper() for letter in kind):
        field.type = _FIELD.TYPE_MESSAGE
        is_full = kind.startswith(("google.", "tensorflow."))
        field.type_name = f".{kind}" if is_full else f".{package}.{kind}"
    else:
        field.type = _FIELD.Type.Value(f"TYPE_{kind.upper()}")


def _build_pool() -> descriptor_pool.DescriptorPool:
    pool = descriptor_pool.DescriptorPool()
    needed = [any_pb2.DESCRIPTOR, wrappers_pb2.DESCRIPTOR]
    for known in needed:
        pool.AddSerializedFile(known.serialized_pb)
    for package, messages in ((CORE, _CORE), (SERVING, _SERVING)):
        file = descriptor_pb2.FileDescriptorProto(
            name=f"kerasmlp/{package}.proto", package=package, syntax="proto3", dependency=[f.name for f in needed]
        )
        for name, fields in messages.items():
            message = file.message_type.add(name=name)
            for field in fields:
                _add_field(message, package, field)
        needed.append(pool.AddSerializedFile(file.SerializeToString()) or pool.FindFileByName(file.name))
    return pool


_POOL = _build_pool()


def _class(package: str, name: str) -> Any:
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(f"{package}.{name}"))


TensorProto = _class(CORE, "TensorProto")
PredictRequest = _class(SERVING, "PredictRequest")
PredictResponse = _class(SERVING, "PredictResponse")
PredictionLog = _class(SERVING, "PredictionLog")
SignatureDefMap = _class(SERVING, "SignatureDefMap")
GetModelMetadataRequest = _class(SERVING, "GetModelMetadataRequest")
GetModelMetadataResponse = _class(SERVING, "GetModelMetadataResponse")
GetModelStatusRequest = _class(SERVING, "GetModelStatusRequest")
GetModelStatusResponse = _class(SERVING, "GetModelStatusResponse")
