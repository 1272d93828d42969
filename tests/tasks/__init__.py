"""Tests of the statistics that tasks use, against scikit-learn, SciPy, simulation and hand-worked numbers."""
