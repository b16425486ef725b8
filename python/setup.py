# SPDX-License-Identifier: BSD-3-Clause
"""Builds the compiled part with the project's own build, from the checkout that this directory lies in.

VMUX_BUILD_DIR: a build directory to use, of a build that exists or not; else python/build/cmake. It takes CMake, Ninja, a C++20
compiler, and the development files of Python, pybind11 and tl::expected.
"""
import os
import shutil
import subprocess
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parent


class BuildWithCMake(build_ext):
    def build_extension(self, ext):
        build = Path(os.environ.get("VMUX_BUILD_DIR") or HERE / "build" / "cmake").resolve()
        if not (CHECKOUT / "CMakeLists.txt").exists():
            raise SystemExit(f"{CHECKOUT} is no checkout of vMux: the package is built from one")
        if not (build / "CMakeCache.txt").exists():
            subprocess.check_call(["cmake", "-S", CHECKOUT, "-B", build, "-G", "Ninja", "-DVMUX_TESTS=OFF",
                                   "-DVMUX_LIBRARY_ONLY=ON", f"-DPython3_EXECUTABLE={sys.executable}", "-DCMAKE_BUILD_TYPE=RelWithDebInfo"])
        subprocess.check_call(["cmake", "--build", build, "--target", "vmux-python"])
        made = next((build / "python" / "vmux").glob("_vmux.*.so"))
        target = Path(self.get_ext_fullpath(ext.name))
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(made, target)


setup(ext_modules=[Extension("vmux._vmux", sources=[])], cmdclass={"build_ext": BuildWithCMake})
