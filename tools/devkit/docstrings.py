"""Print the docstrings of winipc._core as JSON; runs on the Windows Python."""

import importlib
import json
import sys


def docstrings() -> dict[str, str]:
    """The docstrings of all objects that have one of their own, by qualified name."""
    # Imported by name, so that type checkers on Linux do not look into winipc.
    core = importlib.import_module("winipc._core")
    found: dict[str, str] = {}
    for name, item in vars(core).items():
        members = vars(item).items() if isinstance(item, type) else ()
        for path, value in [(name, item), *((f"{name}.{k}", v) for k, v in members)]:
            text = getattr(value, "__doc__", None)
            if isinstance(text, str) and text != type(value).__doc__:
                found[path] = text
    return found


if __name__ == "__main__":
    json.dump(docstrings(), sys.stdout)
