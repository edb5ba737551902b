"""Check the binaries of a wheel: check_wheel.py WHEEL

Runs in the host's virtual environment, which has `pefile` (abi3audit needs it).
"""

import re
import sys
import zipfile

import pefile

SHARED = 0x10000000  # IMAGE_SCN_MEM_SHARED


def imports(data: bytes) -> set[str]:
    """The DLLs in the import table of a PE file, in lower case."""
    with pefile.PE(data=data) as image:
        entries = getattr(image, "DIRECTORY_ENTRY_IMPORT", [])
        return {entry.dll.decode().lower() for entry in entries}


def shared_sections(data: bytes) -> set[str]:
    """The names of the sections that all processes share."""
    with pefile.PE(data=data) as image:
        return {
            section.Name.rstrip(b"\0").decode()
            for section in image.sections
            if section.Characteristics & SHARED
        }


def problems(wheel: str) -> list[str]:
    """What is wrong with the wheel, one line for each."""
    found: list[str] = []
    with zipfile.ZipFile(wheel) as archive:
        core = imports(archive.read("winipc/_core.pyd"))
        if "python3.dll" not in core:
            found.append("_core.pyd does not import python3.dll")
        if versioned := [dll for dll in core if re.fullmatch(r"python3\d+\.dll", dll)]:
            found.append(f"_core.pyd imports {', '.join(versioned)}")
        shared = shared_sections(archive.read("winipc/shared_section.dll"))
        if shared != {".MYSEC"}:
            found.append(f"shared_section.dll shares {sorted(shared)}, not .MYSEC")
    if not wheel.endswith(("-cp311-abi3-win_amd64.whl", "-cp311-abi3-win32.whl")):
        found.append(f"{wheel} is no cp311-abi3 wheel for Windows")
    return found


if __name__ == "__main__":
    sys.exit("\n".join(problems(sys.argv[1])) or None)
