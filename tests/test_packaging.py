"""What is installed, what is public, and what is loaded by an import."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def test_the_wheel_holds_the_package_and_no_module_beside_it(tmp_path: Path) -> None:
    sources = tmp_path / "source"
    # A clone has no build folders and no caches.
    subprocess.run(["git", "clone", "-q", "--no-hardlinks", str(ROOT), str(sources)], check=True)
    command = [sys.executable, "-m", "build", "--wheel", "--outdir", str(tmp_path), str(sources)]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr + built.stdout
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    tracked = subprocess.run(["git", "ls-files"], cwd=sources, capture_output=True, text=True, check=True)
    expected = {
        path if path.startswith("kerasmlp/") else f"kerasmlp/{path}"
        for path in tracked.stdout.split()
        if path.startswith(("kerasmlp/", "tuning/", "export/")) and path not in ("kerasmlp/tuning", "kerasmlp/export")
    }
    assert names == expected


def test_no_package_is_required_twice() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    required = [
        *project["dependencies"],
        *(each for extra in project["optional-dependencies"].values() for each in extra),
    ]
    names = [re.split(r"[\[<>=]", each)[0] for each in required]
    assert sorted(names) == sorted(set(names))


def test_source_and_import_paths_agree() -> None:
    for package in ("tuning", "export"):
        link = ROOT / "kerasmlp" / package
        assert link.is_symlink()
        assert link.resolve() == ROOT / package


@pytest.mark.parametrize(
    "name",
    [
        "kerasmlp",
        "kerasmlp.artefacts",
        "kerasmlp.client",
        "kerasmlp.data",
        "kerasmlp.engine",
        "kerasmlp.export",
        "kerasmlp.lesson",
        "kerasmlp.model",
        "kerasmlp.training",
        "kerasmlp.tuning",
    ],
)
def test_every_public_name_exists_and_is_documented(name: str) -> None:
    module = importlib.import_module(name)
    assert module.__all__ == sorted(module.__all__)
    for public in module.__all__:
        assert getattr(module, public).__doc__, public
    with pytest.raises(AttributeError, match="nonsense"):
        _ = module.nonsense


def test_importing_the_package_and_asking_for_help_do_not_load_tensorflow() -> None:
    code = (
        "import sys, kerasmlp, kerasmlp.tuning, kerasmlp.export\n"
        "from kerasmlp.cli.parser import build_parser\n"
        "build_parser().format_help()\n"
        "heavy = {'tensorflow', 'keras', 'keras_tuner', 'sklearn', 'numpy', 'matplotlib', 'ai_edge_litert'}\n"
        "sys.exit(f'loaded {heavy & set(sys.modules)}' if heavy & set(sys.modules) else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
