"""A client of TF Serving: one interface for REST and gRPC, NumPy in and out, without TensorFlow."""
