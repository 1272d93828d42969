"""Tests of `kerasmlp._system`."""
