"""Tests of kerasmlp's own server. What clients of TF Serving rely on is in `tests/export/test_serving_contract.py`."""
