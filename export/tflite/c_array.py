"""`c_array_files`: a file as C code, for programs on devices without a file system."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_BYTES_PER_LINE = 16


def c_array_paths(path: Path) -> tuple[Path, Path]:
    """Returns the paths of the header and the source that belong to the file `path`."""
    return path.with_suffix(".h"), path.with_suffix(".c")


def c_name(path: Path) -> str:
    """Returns what the file `path` is called in C: its name without its suffix, with `_` for what C does not allow.

    Example:
        >>> from pathlib import Path
        >>> c_name(Path("mobile/digits-1.tflite")), c_name(Path("2.tflite"))
        ('digits_1', '_2')
    """
    name = re.sub(r"\W", "_", path.stem, flags=re.ASCII)
    return f"_{name}" if name[0].isdigit() else name


def c_array_files(path: Path, content: bytes) -> dict[Path, str]:
    """Returns the header and the source that define a file's content as a C array, by the paths where they belong.

    `NAME.h` declares the array `NAME` and its length `NAME_size`, and `NAME.c` defines them; see `c_name`. The array is
    aligned to 16 bytes, as TFLite Micro requires of models. Both files are valid C and C++.

    Args:
        path: The file.
        content: Its bytes.

    Example:
        >>> from pathlib import Path
        >>> files = c_array_files(Path("mobile/digits-1.tflite"), b"TFL3")
        >>> [path.as_posix() for path in files]
        ['mobile/digits-1.h', 'mobile/digits-1.c']
        >>> "extern const unsigned char digits_1[];" in files[Path("mobile/digits-1.h")]
        True
        >>> "0x54, 0x46, 0x4c, 0x33," in files[Path("mobile/digits-1.c")]
        True
    """
    name = c_name(path)
    header, source = c_array_paths(path)
    guard = f"{name.upper()}_H"
    declaration = f"""#ifndef {guard}
#define {guard}

#include <stddef.h>

#ifdef __cplusplus
extern "C" {{
#endif

extern const unsigned char {name}[];
extern const size_t {name}_size;

#ifdef __cplusplus
}}
#endif

#endif
"""
    lines = (content[i : i + _BYTES_PER_LINE] for i in range(0, len(content), _BYTES_PER_LINE))
    rows = "\n".join("    " + " ".join(f"0x{byte:02x}," for byte in line) for line in lines)
    definition = f"""#include "{header.name}"

#if defined(_MSC_VER)
__declspec(align(16))
#else
__attribute__((aligned(16)))
#endif
const unsigned char {name}[] = {{
{rows}
}};

const size_t {name}_size = sizeof({name});
"""
    return {header: declaration, source: definition}
