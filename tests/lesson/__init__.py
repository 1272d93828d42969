"""Tests of `lesson`."""
