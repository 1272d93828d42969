"""The allocator's setting."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from kerasmlp._system.allocator import keep_freed_memory


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="this C library is not glibc, the only one that has them")
def test_glibc_takes_the_settings() -> None:
    assert keep_freed_memory()


def test_importing_the_package_sets_it_before_tensorflow_is_there() -> None:
    code = (
        "import sys, kerasmlp._system.allocator as a; from unittest import mock\n"
        "del sys.modules['kerasmlp']\n"
        "with mock.patch.object(a, 'keep_freed_memory') as setting:\n"
        "    import kerasmlp\n"
        "assert setting.called and 'tensorflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
