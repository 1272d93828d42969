"""ONNX files: a graph of the folded network with metadata, written by `onnx.helper`."""
