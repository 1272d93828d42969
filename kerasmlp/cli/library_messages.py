"""Messages of the library as the command line shows them: parameters become flags, and warnings become notes."""

from __future__ import annotations

import contextlib
import re
import shlex
import sys
import warnings
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from kerasmlp.errors import KerasMLPWarning

# A parameter in backticks, with or without a value: `epochs`, `test_share=0.15`, `overwrite=True`, `out=`.
_PARAMETER = re.compile(r"`([a-z][a-z0-9_]*)(?:=([^`]*))?`")
# What is in backticks after one of these is not a parameter, even if an option has the same name: the hyper-parameter
# `dropout`, the column `time`, the classes `a` and `test`, there is no oracle `seed`, got `out`, did you mean `group`.
_NOT_A_PARAMETER = re.compile(
    r"\b(?:columns?|class(?:es)?|categor(?:y|ies)|labels?|values?|inputs?|outputs?|signatures?|layers?|files?|folders?"
    r"|hyper-parameters?|no \w+|got|mean)(?: are| is| named| called)?(?: `[^`]*`(?:,| and| or)*)* $",
    re.IGNORECASE,
)


class Flag(NamedTuple):
    """An option of a command, as the command line writes a parameter of the library.

    Attributes:
        text: Such as `--test-share`.
        sets: The value that a switch sets, such as True for `--overwrite`; None for an option that takes a value.
    """

    text: str
    sets: bool | None = None


def named_by_flags(message: str, flags: Mapping[str, Flag]) -> str:
    """Returns a message of the library with flags in place of the names of parameters.

    Args:
        message: Text in which parameters are in backticks, with or without a value.
        flags: The flag of each parameter that is an option of the command. Other names are left as they are.

    Example:
        >>> flags = {"test_share": Flag("--test-share"), "overwrite": Flag("--overwrite", True), "out": Flag("--out")}
        >>> named_by_flags("Set `test_share=0.15` to take 15 %.", flags)
        'Set `--test-share 0.15` to take 15 %.'
        >>> named_by_flags("Choose another `out`, or set `overwrite=True`.", flags)
        'Choose another `--out`, or set `--overwrite`.'
        >>> named_by_flags('Or `columns={"row number": "number"}`.', {"columns": Flag("--column")})
        "Or `--column 'row number=number'`."
        >>> named_by_flags("The column `out` has two values.", flags)
        'The column `out` has two values.'
    """

    def translated(match: re.Match[str]) -> str:
        name, value = match.groups()
        if name not in flags or (value is None and _NOT_A_PARAMETER.search(message[: match.start()])):
            return match.group()
        return _typed(flags[name], value)

    return _PARAMETER.sub(translated, message)


def _typed(flag: Flag, value: str | None) -> str:
    if not value:  # the name alone, or `name=`
        return f"`{flag.text}`"
    import ast

    try:
        literal: Any = ast.literal_eval(value)
    except (ValueError, SyntaxError):
        literal = value  # a word without quotes, or a placeholder such as `...`
    if literal is None or (flag.sets is not None and literal is not flag.sets):
        return f"no `{flag.text}`"
    if flag.sets is not None:
        return f"`{flag.text}`"
    if isinstance(literal, dict):
        literal = [f"{key}={value}" for key, value in literal.items()]
    if isinstance(literal, list | tuple):
        literal = ",".join(map(str, literal))
    return f"`{flag.text} {shlex.quote(literal) if isinstance(literal, str) else value}`"


@contextlib.contextmanager
def notes_on_stderr(flags: Mapping[str, Flag], *, show_others: bool) -> Iterator[None]:
    """Shows each warning of kerasmlp once as a note on stderr, for as long as the block runs.

    Args:
        flags: See `named_by_flags`.
        show_others: Whether the warnings of other libraries are shown, in Python's own form.
    """
    shown: set[str] = set()
    with warnings.catch_warnings():
        show_as_python_does = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *place: Any, **options: Any) -> None:
            if issubclass(category, KerasMLPWarning):
                note = f"Note: {named_by_flags(str(message), flags)}"
                if note not in shown:
                    shown.add(note)
                    print(note, file=sys.stderr)
            elif show_others:
                show_as_python_does(message, category, *place, **options)

        warnings.showwarning = show
        warnings.simplefilter("always", KerasMLPWarning)
        yield
