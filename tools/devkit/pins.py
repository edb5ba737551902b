"""What is fetched, exactly: the one place to change a version.

A new Windows CPython: put its Maven version here, and its checksum as
`sha256sum` prints it for the jar that `./dev` then complains about.
"""

from dataclasses import dataclass

DEFAULT_PYTHON = "3.13"

# The oldest one: its headers and import library make the abi3 wheel.
BUILD_PYTHON = "3.11"

MAVEN_DEPENDENCY_PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1"


@dataclass(frozen=True, slots=True)
class Jar:
    """A Windows CPython (the MSVC build) as published on Maven Central."""

    version: str
    sha256: str

    @property
    def filename(self) -> str:
        return f"cpython-{self.version}-windows-x86_64.jar"


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
}
