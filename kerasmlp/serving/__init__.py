"""A small model server that speaks TF Serving's REST and gRPC interfaces and the Open Inference Protocol.

    from kerasmlp.serving import LocalServer

    with LocalServer(["models/digits"], port=0) as server:
        print(server.url)

It answers from TFLite files by LiteRT, from ONNX files by ONNX Runtime and from SavedModels by plain TensorFlow. Keras
is not loaded.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
