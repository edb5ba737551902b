"""Searches in memory: this process's and others'."""

from winipc.scan.candidates import (
    CandidateSet,
    ValueChange,
)
from winipc.scan.scan import (
    Pattern,
    Scan,
    ScanMatch,
    ValueType,
    scan_bytes,
)

__all__ = [
    "CandidateSet",
    "Pattern",
    "Scan",
    "ScanMatch",
    "ValueChange",
    "ValueType",
    "scan_bytes",
]
