"""Export as a SavedModel for TF Serving: signatures, comparison with the Keras model, warm-up and serving files."""
