"""Tests of `kerasmlp.artefacts`."""
