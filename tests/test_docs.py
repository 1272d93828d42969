"""README and docs: links lead somewhere, and every command in them is one that the command line accepts."""

from __future__ import annotations

import importlib
import re
import shlex
from pathlib import Path

import pytest

from kerasmlp.cli.parser import build_parser

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


def commands() -> list[str]:
    """Every line in a shell block that calls `kerasmlp`."""
    blocks = [block for page in PAGES for block in re.findall(r"```sh\n(.*?)```", page.read_text("utf-8"), re.DOTALL)]
    lines = [line for block in blocks for line in block.splitlines()]
    return sorted({line for line in lines if line.startswith("kerasmlp ") and "--help" not in line})


def anchor(heading: str) -> str:
    """The anchor that GitHub and Sphinx give a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_relative_link_leads_to_a_file_and_its_section(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8")):
        if link.startswith(("http://", "https://")):
            continue
        name, _, section = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), f"{page.name} links to {link}"
        if section:
            headings = re.findall(r"^#+ (.*)$", target.read_text("utf-8"), re.MULTILINE)
            assert section in map(anchor, headings), f"{page.name} links to {link}"


@pytest.mark.parametrize("line", commands())
def test_every_command_in_the_docs_is_accepted(line: str) -> None:
    words = shlex.split(line, comments=True)[1:]
    assert build_parser().parse_args(words).command == words[0]


def test_the_reference_lists_every_public_function() -> None:
    listed = (ROOT / "docs" / "api" / "index.md").read_text("utf-8")
    for package in ("", ".client", ".export", ".serving", ".tuning"):
        module = importlib.import_module(f"kerasmlp{package}")
        functions = [name for name in module.__all__ if name.islower()]
        assert [name for name in functions if f"`{name}`" not in listed] == []


def test_readme_is_short() -> None:
    assert 100 <= len((ROOT / "README.md").read_text("utf-8").splitlines()) <= 150
