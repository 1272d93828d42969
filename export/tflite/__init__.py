"""TFLite files: folding, conversion, quantisation, metadata and latency."""
