"""Tests of kerasmlp: a file per module."""
