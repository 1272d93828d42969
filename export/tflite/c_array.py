"""`write_c_array`: writes a file as a C array, for programs on devices without a file system."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from kerasmlp._system.files import write_text

if TYPE_CHECKING:
    from pathlib import Path

_BYTES_PER_LINE = 16


def c_array_paths(path: Path) -> tuple[Path, Path]:
    """Returns the paths of the header and the source that `write_c_array` writes beside `path`."""
    return path.with_suffix(".h"), path.with_suffix(".c")


def write_c_array(path: Path) -> tuple[Path, Path]:
    """Writes the bytes of a file as C code beside it, and returns the paths of the header and the source.

    `NAME.h` declares the array `NAME` and its length `NAME_size`, and `NAME.c` defines them. `NAME` is the file's name
    without its suffix; characters that C does not allow in names become underscores. The array is aligned to 16 bytes,
    as TFLite Micro requires of models. Both files are valid C and C++.

    Args:
        path: The file. Its header and source are replaced if they exist.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> model = Path(tempfile.mkdtemp()) / "digits-1.tflite"
        >>> _ = model.write_bytes(b"TFL3")
        >>> header, source = write_c_array(model)
        >>> header.name, "0x54, 0x46, 0x4c, 0x33," in source.read_text()
        ('digits-1.h', True)
        >>> "extern const unsigned char digits_1[];" in header.read_text()
        True
    """
    name = re.sub(r"\W", "_", path.stem, flags=re.ASCII)
    name = f"_{name}" if name[0].isdigit() else name
    header, source = c_array_paths(path)
    content = path.read_bytes()
    guard = f"{name.upper()}_H"
    write_text(
        header,
        f"""#ifndef {guard}
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
""",
    )
    lines = (content[i : i + _BYTES_PER_LINE] for i in range(0, len(content), _BYTES_PER_LINE))
    rows = "\n".join("    " + " ".join(f"0x{byte:02x}," for byte in line) for line in lines)
    write_text(
        source,
        f"""#include "{header.name}"

#if defined(_MSC_VER)
__declspec(align(16))
#else
__attribute__((aligned(16)))
#endif
const unsigned char {name}[] = {{
{rows}
}};

const size_t {name}_size = sizeof({name});
""",
    )
    return header, source
