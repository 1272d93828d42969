"""SavedModels for TF Serving: signatures, parity, warm-up and serving files."""
