"""The setting of the memory allocator."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from kerasmlp._system.allocator import keep_freed_memory


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has these settings")
def test_glibc_takes_the_settings() -> None:
    assert keep_freed_memory()


def test_importing_the_package_makes_the_setting_before_tensorflow_is_imported() -> None:
    code = (
        "import sys, kerasmlp._system.allocator as a; from unittest import mock\n"
        "del sys.modules['kerasmlp']\n"
        "with mock.patch.object(a, 'keep_freed_memory') as setting:\n"
        "    import kerasmlp\n"
        "assert setting.called and 'tensorflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
