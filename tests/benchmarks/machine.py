"""`describe_machine`: describes the computer that a benchmark ran on, for its JSON file."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from typing import Any


def describe_machine(*packages: str) -> dict[str, Any]:
    """Returns the cores, memory in bytes, Python version, current load and package versions of this machine.

    Args:
        *packages: Names of installed packages whose versions matter for the benchmark.
    """
    versions = {}
    for package in packages:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return {
        "cpus": os.cpu_count(),
        "architecture": platform.machine(),
        "memory_bytes": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        "python": platform.python_version(),
        "load_before": os.getloadavg(),
        "versions": versions,
    }
