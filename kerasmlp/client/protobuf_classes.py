"""TF Serving's protobuf message classes, built when this module is imported.

They are defined here because the package that has them, `tensorflow-serving-api`, needs all of TensorFlow.

A program can import `tensorflow_serving.apis` as well, because they have a pool of their own. Fields that kerasmlp does
not read are left out. Field numbers and types are those of
https://github.com/tensorflow/serving/tree/master/tensorflow_serving/apis and
https://github.com/tensorflow/tensorflow/tree/master/tensorflow/core/{framework,protobuf}.
"""

from __future__ import annotations

from google.protobuf import any_pb2, wrappers_pb2

from kerasmlp._system.protobuf_messages import message_class, message_pool

SERVING, CORE = "tensorflow.serving", "tensorflow"

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

_POOL = message_pool({CORE: _CORE, SERVING: _SERVING}, known=[any_pb2.DESCRIPTOR, wrappers_pb2.DESCRIPTOR])

TensorProto = message_class(_POOL, f"{CORE}.TensorProto")
PredictRequest = message_class(_POOL, f"{SERVING}.PredictRequest")
PredictResponse = message_class(_POOL, f"{SERVING}.PredictResponse")
PredictionLog = message_class(_POOL, f"{SERVING}.PredictionLog")
SignatureDefMap = message_class(_POOL, f"{SERVING}.SignatureDefMap")
GetModelMetadataRequest = message_class(_POOL, f"{SERVING}.GetModelMetadataRequest")
GetModelMetadataResponse = message_class(_POOL, f"{SERVING}.GetModelMetadataResponse")
GetModelStatusRequest = message_class(_POOL, f"{SERVING}.GetModelStatusRequest")
GetModelStatusResponse = message_class(_POOL, f"{SERVING}.GetModelStatusResponse")
