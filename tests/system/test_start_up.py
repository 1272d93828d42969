"""The garbage collector while TensorFlow is imported."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

START = "import gc\nfrom kerasmlp._system.start_up import spare_collections\nspare_collections()\n"


def _run(code: str, folder: Path) -> str:
    """Returns what the program prints; the modules in `folder` replace the real ones."""
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


@pytest.mark.parametrize("first", ["keras", "tensorflow"])
def test_the_collector_is_off_while_the_large_packages_are_imported_and_on_before_and_after(
    tmp_path: Path, first: str
) -> None:
    other = {"keras": "tensorflow", "tensorflow": "keras"}[first]
    (tmp_path / f"{first}.py").write_text(f"import gc, {other}\nenabled = gc.isenabled()\n")
    (tmp_path / f"{other}.py").write_text("import gc\nenabled = gc.isenabled()\n")
    (tmp_path / "small.py").write_text("import gc\nenabled = gc.isenabled()\n")
    code = (
        START + f"import small, {first} as large, {other} as inner\n"
        "print(small.enabled, large.enabled, inner.enabled, gc.isenabled(), gc.get_freeze_count() > 0)"
    )
    assert _run(code, tmp_path).split() == ["True", "False", "False", "True", "True"]


def test_the_collector_is_on_again_after_an_import_that_failed(tmp_path: Path) -> None:
    (tmp_path / "keras.py").write_text("raise ImportError('no such processor')\n")
    code = START + "try:\n    import keras\nexcept ImportError as error:\n    print(error, gc.isenabled())"
    assert _run(code, tmp_path).strip() == "no such processor True"


def test_a_collector_that_was_off_before_stays_off(tmp_path: Path) -> None:
    (tmp_path / "keras.py").write_text("")
    code = START + "gc.disable()\nimport keras\nprint(gc.isenabled())"
    assert _run(code, tmp_path).strip() == "False"


def test_objects_that_exist_at_exit_are_not_collected(tmp_path: Path) -> None:
    code = (
        START + "class Loud:\n"
        "    def __init__(self): self.own = self\n"
        "    def __del__(self): print('collected')\n"
        "spare_collections()\n"
        "Loud()\n"
        "print('end')"
    )
    assert _run(code, tmp_path).split() == ["end"]


def test_importing_the_package_does_not_change_the_collector_of_a_program(tmp_path: Path) -> None:
    (tmp_path / "keras.py").write_text("import gc, tensorflow\nenabled = gc.isenabled()\n")
    (tmp_path / "tensorflow.py").write_text("import gc\nenabled = gc.isenabled()\n")
    code = "import kerasmlp, keras, tensorflow, gc; print(keras.enabled, tensorflow.enabled, gc.get_freeze_count())"
    assert _run(code, tmp_path).split() == ["True", "True", "0"]
