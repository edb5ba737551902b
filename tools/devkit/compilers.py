"""The compilers for Linux: tests of C without Python or Windows use them."""

import shutil
from glob import glob

# clang's sanitizers and libFuzzer, which are a package of their own in Debian.
RUNTIMES = "/usr/lib/llvm-*/lib/clang/*/lib/linux/libclang_rt.fuzzer-*.a"


def missing_clang() -> list[str]:
    """The package to install before clang can check a source."""
    return [] if shutil.which("clang") else ["clang"]


def missing_compilers() -> list[str]:
    """The packages to install before native tests can be built and fuzzed."""
    return [
        # libFuzzer is C++, and clang links the library of GCC.
        *([] if shutil.which("g++") else ["g++"]),
        *missing_clang(),
        *([] if glob(RUNTIMES) else ["libclang-rt-dev"]),
    ]
