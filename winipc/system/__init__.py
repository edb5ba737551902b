"""The system: kernel objects that have names, and who holds them."""

from winipc.system.catalog import (
    Holders,
    NamedObject,
    ObjectKind,
    holders,
    holders_of,
    named_objects,
)

__all__ = [
    "Holders",
    "NamedObject",
    "ObjectKind",
    "holders",
    "holders_of",
    "named_objects",
]
