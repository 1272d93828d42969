"""One module per format, and `choosing`, which finds the reader of a source by its name or path."""
