"""Check the binaries of a wheel: check_wheel.py WHEEL

Runs in the host's virtual environment, which has `pefile` (abi3audit needs it).
"""

import re
import sys
import zipfile

import pefile

SHARED = 0x10000000  # IMAGE_SCN_MEM_SHARED

# FILE_HEADER.Machine of the binaries of each wheel.
MACHINES = {"win_amd64": 0x8664, "win32": 0x014C, "win_arm64": 0xAA64}


def imports(data: bytes) -> set[str]:
    """The DLLs in the import table of a PE file, in lower case."""
    with pefile.PE(data=data) as image:
        entries = getattr(image, "DIRECTORY_ENTRY_IMPORT", [])
        return {entry.dll.decode().lower() for entry in entries}


def machine(data: bytes) -> int:
    """The machine that a PE file is for."""
    with pefile.PE(data=data, fast_load=True) as image:
        return int(image.FILE_HEADER.Machine)


def shared_sections(data: bytes) -> set[str]:
    """The names of the sections that all processes share."""
    with pefile.PE(data=data) as image:
        return {
            section.Name.rstrip(b"\0").decode()
            for section in image.sections
            if section.Characteristics & SHARED
        }


def problems(wheel: str) -> list[str]:
    """The faults of a wheel, a line for each."""
    found: list[str] = []
    *_, tags = wheel.removesuffix(".whl").partition("-cp311-abi3-")
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if name.endswith(".lib"):
                found.append(f"{name} is in the wheel")
            if name.endswith((".pyd", ".dll")):
                kind = machine(archive.read(name))
                if kind != MACHINES.get(tags):
                    found.append(f"{name} is for machine {kind:#x}")
        core = imports(archive.read("winipc/_core.pyd"))
        if "python3.dll" not in core:
            found.append("_core.pyd does not import python3.dll")
        if versioned := [dll for dll in core if re.fullmatch(r"python3\d+\.dll", dll)]:
            found.append(f"_core.pyd imports {', '.join(versioned)}")
        shared = shared_sections(archive.read("winipc/shared_section.dll"))
        if shared != {".MYSEC"}:
            found.append(f"shared_section.dll shares {sorted(shared)}, not .MYSEC")
    if tags not in MACHINES:
        found.append(f"{wheel} is no cp311-abi3 wheel for Windows")
    return found


if __name__ == "__main__":
    sys.exit("\n".join(problems(sys.argv[1])) or None)
