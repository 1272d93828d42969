"""Rules that keep the code base easy to find your way around in. Import directions are in `pyproject.toml`."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MOST_LINES, FEWEST_LINES = 350, 15

# Modules may share a file name if they are the same thing for different formats or packages.
SHARED_NAMES = {
    "__init__.py": "every package has one",
    "__main__.py": "`python -m kerasmlp` and `python -m kerasmlp.tuning`",
    "settings.py": "the base class of settings, and the settings of one function in each package",
    "exporting.py": "the export to each format",
    "augmentation.py": "`kerasmlp.augmentation` is an alias, because users' programs and files contain this name",
}

PRIVATE_API = {
    "kerasmlp/engine/_keras_internals.py": (
        r"\bkeras\.src\b",
        r"\btensorflow\.python\b",
        r"\._(distribute_strategy|distribution_strategy|symbolic_build|variant_tensor|compile_metrics)\b",
        r"\._(loss_tracker|epoch_iterator|eval_epoch_iterator|trainable_variables_indices)\b",
    ),
    "kerasmlp/tuning/_tuner_internals.py": (
        r"\bkeras_tuner\.src\b",
        r"\b_(observations|retry_queue|max_collisions|populate_space|run_and_update_trial|build_and_fit_model)\b",
        r"\b_(get_oracle_fname|get_trial_dir|set_project_dir|tried_so_far|score_trial)\b",
    ),
}
FLAGS_OF_OTHER_PROGRAMS = {"--logdir", "--model_name"}  # TensorBoard's and TF Serving's
# These pass flags to Chromium and npm.
STARTING_PROGRAMS = {f"kerasmlp/export/browser/{name}.py" for name in ("chromium", "building_runtime")}


def product_files() -> list[Path]:
    """All Python files that are installed, by the path under which they are imported."""
    folders = {"kerasmlp": ROOT / "kerasmlp", "kerasmlp/tuning": ROOT / "tuning", "kerasmlp/export": ROOT / "export"}
    return sorted(
        Path(name) / file.relative_to(folder)
        for name, folder in folders.items()
        for file in folder.rglob("*.py")
        if not {"tuning", "export"} & set(file.relative_to(folder).parts[:1]) or name != "kerasmlp"
    )


@cache
def text_of(path: Path) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(text_of(path))


def test_modules_are_neither_too_long_nor_too_short() -> None:
    for path in product_files():
        lines = text_of(path).count("\n")
        docstring = ast.get_docstring(tree_of(path)) or ""
        assert docstring, f"{path} has no docstring"
        assert lines <= MOST_LINES or "lines" in docstring, (
            f"{path} has {lines} lines, at most {MOST_LINES} are allowed. Split it, or state in its docstring why it "
            "has so many lines."
        )
        assert lines >= FEWEST_LINES or path.name in ("__init__.py", "__main__.py"), f"{path} has only {lines} lines"


def test_no_two_modules_share_a_name_without_a_reason() -> None:
    paths = defaultdict(list)
    for path in product_files():
        paths[path.name].append(str(path))
    shared = {name: found for name, found in paths.items() if len(found) > 1}
    assert not {name: found for name, found in shared.items() if name not in SHARED_NAMES}
    assert not SHARED_NAMES.keys() - shared.keys(), "these entries of the table are no longer needed"


def test_no_two_classes_share_a_name() -> None:
    classes = defaultdict(list)
    for path in product_files():
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                classes[node.name].append(str(path))
    assert not {name: found for name, found in classes.items() if len(found) > 1}


def test_no_module_has_the_name_of_something_it_defines() -> None:
    for path in product_files():
        for node in tree_of(path).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                assert node.name != path.stem, path


@pytest.mark.parametrize("home", PRIVATE_API)
def test_private_api_of_a_framework_is_used_in_one_module(home: str) -> None:
    found = [
        f"{path}:{number}: {line.strip()}"
        for path in product_files()
        if str(path) != home
        for number, line in enumerate(text_of(path).splitlines(), start=1)
        for pattern in PRIVATE_API[home]
        if re.search(pattern, line)
    ]
    assert not found, "\n".join(found)


def test_messages_and_docstrings_of_the_library_name_no_flags_of_the_command_line() -> None:
    found = [
        f"{path}:{number}: {flag}"
        for path in product_files()
        if path.parts[1] != "cli" and path.name != "__main__.py" and str(path) not in STARTING_PROGRAMS
        for number, text in strings_of(tree_of(path))
        for flag in re.findall(r"(?<![\w-])--[a-z][a-z_-]+", text)
        if flag not in FLAGS_OF_OTHER_PROGRAMS
    ]
    assert not found, "\n".join(found)


def strings_of(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and text of every string, also of the constant parts of f-strings."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value


def test_the_library_imports_from_the_defining_module() -> None:
    # Otherwise the import contracts do not see what is imported. The command line stands above all packages, and may
    # use them as a user's program does.
    packages = {dotted(path.parent) for path in product_files() if path.name == "__init__.py"}
    modules = {dotted(path.with_suffix("")) for path in product_files()} | packages
    found = [
        f"{path}:{node.lineno}: from {'.' * node.level}{node.module} import {alias.name}"
        for path in product_files()
        if path.name not in ("__init__.py", "__main__.py") and path.parts[1] != "cli"
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.ImportFrom) and (node.level or node.module in packages)
        for alias in node.names
        if node.level or (f"{node.module}.{alias.name}" not in modules and alias.name != "__version__")
    ]
    assert not found, "\n".join(found)


def dotted(path: Path) -> str:
    return ".".join(path.parts)
