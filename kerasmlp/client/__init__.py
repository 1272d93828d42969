"""A client of TF Serving: one interface for REST and gRPC, NumPy arrays in and out, without TensorFlow.

    from kerasmlp.client import connect

    with connect("http://localhost:8501/v1/models/digits") as client:
        client.predict(images)["label"]

Public names are imported on first use, so that importing this package takes no time and REST never imports gRPC.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
