"""Makes the files in `litert/` again from the npm packages of LiteRT.js.

Run `python -m kerasmlp.export.browser.building_runtime`. It needs `npm`. The packages are named by version and SHA-256,
and are refused if they differ. Two files come out:

- `litert.wasm.gz`: the WebAssembly of the compatible build, as it is in the package.
- `litert.js.gz`: both libraries and the program that loads the WebAssembly, in one script for pages that cannot load
  modules, such as those opened from a disk. It defines `LiteRT`.

`checksums.json` has the SHA-256 of both, unpacked: gzip may write other bytes on another machine.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from kerasmlp.errors import InvalidValue
from kerasmlp.export.browser.runtime_files import CHECKSUMS, FOLDER, SCRIPT, VERSION, WASM

CORE, WASM_UTILS = f"@litertjs/core@{VERSION}", f"@litertjs/wasm-utils@{VERSION}"
PACKAGES = {
    CORE: "a97660833e9e7e1063c95e12016718881240b14f7438728a2f62785e912d30fd",
    WASM_UTILS: "ce2a1f8379c067be49e59752e5a7f40db6be09f6e497f0f11e59f17b515366a7",
}
# The build without relaxed SIMD runs in Safari and in browsers of 2023, with the same digits in all of them.
BUILD = "litert_wasm_compat_internal"
# The libraries are modules. Their functions for starting take a URL, which a page from a disk has not.
_MODULE_LINES = re.compile(r"^(import .*;|//# sourceMappingURL=.*)$|^export \{[^}]*\};?$", re.MULTILINE)
_SCRIPT = """\
/* LiteRT.js {version}, Copyright Google LLC, Apache License 2.0 (https://www.apache.org/licenses/LICENSE-2.0).
   Changed: the packages @litertjs/core and @litertjs/wasm-utils and {build}.js are joined into one script. */
var LiteRT = (() => {{
{glue}
{utils}
{core}
async function start(options) {{
  self.ModuleFactory = ModuleFactory;
  self.Module = options;
  const liteRt = await createWasmLib(LiteRt);
  setGlobalLiteRt(liteRt);
  liteRt.setDefaultEnvironment(await Environment.create({{ webGpuDevice: null }}));
  return liteRt;
}}
return {{ start, loadAndCompile, Tensor }};
}})();
"""


def build(folder: Path = FOLDER) -> dict[str, str]:
    """Writes the files of the runtime.

    Args:
        folder: Where to.

    Returns:
        The SHA-256 of each file, unpacked, by name.

    Raises:
        InvalidValue: a package is not the one that is expected.
    """
    with tempfile.TemporaryDirectory() as temporary:
        core, utils = (_unpacked(package, Path(temporary)) for package in PACKAGES)
        texts = {
            "glue": (core / "wasm" / f"{BUILD}.js").read_text(encoding="utf-8"),
            "utils": _without_module_lines(utils / "dist" / "index.js"),
            "core": _without_module_lines(core / "dist" / "index.js"),
        }
        contents = {
            SCRIPT: _SCRIPT.format(version=VERSION, build=BUILD, **texts).encode(),
            WASM: (core / "wasm" / f"{BUILD}.wasm").read_bytes(),
        }
    for name, content in contents.items():
        (folder / name).write_bytes(gzip.compress(content, 9, mtime=0))
    checksums = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    about = {"packages": PACKAGES, "unpacked": checksums}
    (folder / CHECKSUMS).write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
    return checksums


def _unpacked(package: str, folder: Path) -> Path:
    """Downloads a package and returns its folder."""
    command = ["npm", "pack", "--silent", "--pack-destination", str(folder), package]
    name = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1]
    archive = folder / name
    found = hashlib.sha256(archive.read_bytes()).hexdigest()
    if found != PACKAGES[package]:
        raise InvalidValue(f"`{package}` has the SHA-256 {found}; expected {PACKAGES[package]}.")
    with tarfile.open(archive) as members:
        members.extractall(folder / archive.stem, filter="data")
    return folder / archive.stem / "package"


def _without_module_lines(path: Path) -> str:
    return _MODULE_LINES.sub("", path.read_text(encoding="utf-8"))


if __name__ == "__main__":
    for file, checksum in build().items():
        sys.stdout.write(f"{checksum}  {file}\n")
