"""Sections of DLLs that processes share."""

from winipc.section.section import SectionError, SharedSection

__all__ = ["SectionError", "SharedSection"]
