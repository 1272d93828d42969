"""A client of TF Serving: one interface for REST and gRPC, NumPy in and out, without TensorFlow.

with connect("http://localhost:8501/v1/models/digits") as client:
    client.predict(images)["label"]
"""

from kerasmlp.client.connection import ServingClient, connect
from kerasmlp.client.model_signature import Signature, TensorSpec, VersionStatus
from kerasmlp.errors import ServerError

__all__ = ["ServerError", "ServingClient", "Signature", "TensorSpec", "VersionStatus", "connect"]
