"""The structures that a C header declares, for `Layout.from_c`.

This is no compiler. What could move a field and is not understood makes the
structure an error that says so, since a guess would be wrong bytes without a
word. Errors stay with what they concern: the rest of the header is read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

from winipc.memory.layout import Bits, Layout

__all__ = ["structures"]

#: What a name stands for: a `struct` code (P and N too), a structure, or why not.
_Type: TypeAlias = "str | Layout | ValueError"

# P stands for an unsigned and N for a signed number of a pointer's size.
_TYPES = {
    "b": "int8_t INT8 signed-char",
    "B": "uint8_t UINT8 unsigned-char BYTE UCHAR BOOLEAN",
    "c": "char CHAR CCHAR",
    "?": "bool _Bool",
    "h": "int16_t INT16 short SHORT short-int signed-short",
    "H": "uint16_t UINT16 unsigned-short unsigned-short-int WORD USHORT ATOM "
    "wchar_t WCHAR char16_t",
    "i": "int32_t INT32 int INT signed signed-int long LONG long-int signed-long "
    "LONG32 BOOL HRESULT NTSTATUS",
    "I": "uint32_t UINT32 unsigned unsigned-int UINT unsigned-long "
    "unsigned-long-int DWORD ULONG ULONG32 DWORD32 char32_t COLORREF",
    "q": "int64_t INT64 long-long long-long-int LONGLONG LONG64 __int64 "
    "signed-long-long LARGE_INTEGER",
    "Q": "uint64_t UINT64 unsigned-long-long unsigned-long-long-int ULONGLONG ULONG64 "
    "DWORD64 DWORDLONG unsigned-__int64 ULARGE_INTEGER",
    "f": "float FLOAT",
    "d": "double DOUBLE",
    "P": "size_t SIZE_T uintptr_t UINT_PTR ULONG_PTR DWORD_PTR WPARAM HANDLE HWND "
    "HINSTANCE HMODULE LPVOID PVOID LPSTR LPCSTR LPWSTR LPCWSTR HICON HMENU HKEY",
    "N": "ssize_t SSIZE_T ptrdiff_t intptr_t INT_PTR LONG_PTR LPARAM LRESULT",
}
_CODES = {
    spelled.replace("-", " "): code
    for code, names in _TYPES.items()
    for spelled in names.split()
}
_POINTER_CODES: dict[int, dict[str, str]] = {
    32: {"P": "I", "N": "i"},
    64: {"P": "Q", "N": "q"},
}
_KEYWORDS = {
    *("char", "short", "int", "long", "signed", "unsigned"),
    *("float", "double", "bool", "_Bool", "wchar_t", "__int64", "void"),
    *("const", "volatile", "struct", "union", "enum", "_Atomic"),
}
_RECORDS = ("struct", "union", "class", "enum")

_QUALIFIERS = {"const", "volatile", "__extension__"}
#: These may stand before a structure without a say in its layout.
_HARMLESS = {"typedef", "extern", "static"} | _QUALIFIERS

_COMMENT_OR_LITERAL = re.compile(
    r"""/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'""", re.DOTALL
)
_TOKEN = re.compile(
    # A directive, or the same as an operator; a word; a literal; a sign.
    r"^[ \t]*\#[^\n]*"
    r"|__pragma\s*\((?:[^()]|\([^()]*\))*\)"
    r'|_Pragma\s*\(\s*"[^"\n]*"\s*\)'
    r'|\w+|"[^"\n]*"|[^\s\w]',
    re.MULTILINE,
)
#: Pragmas that move fields.
_LAYOUT_PRAGMA = re.compile(
    r"(?:GCC\s+)?(?:pack|options|align|ms_struct|scalar_storage_order)\b"
)
#: What macros for attributes are called, where a name could stand.
_ATTRIBUTE_MACRO = re.compile(
    r"_*(?:ATTR(?:IBUTE)?_)?(?:PACK|ALIGN)(?:ED)?[\d_]*|__packed_*"
)
_PACKED = re.compile(r"\b__attribute__ \( \( (?:packed|__packed__) \) \)")
_ATTRIBUTE = re.compile(
    r"\b(?:__attribute__|__declspec|alignas|_Alignas) \( (?:[^()]|\([^()]*\)|"
    r"\( \([^()]*\) \))*\)|\[ \[.*?\] \]"
)
_MEMBER = re.compile(
    r"^([\w\s]+?)((?:\s*\*\s*(?:const\b)?)*)\s*\b(\w+)((?:\s*\[[^\]]*\])*)$"
)
#: A name that is declared, of a pointer or not.
_PLAIN = re.compile(r"(?:\* )*(?!\d)\w+")
_FUNCTION_POINTER = re.compile(r"\( [\w ]*\* (\w+) \) \(")


def structures(header: str, bits: Bits) -> dict[str, Layout | ValueError]:
    """All structures of a header by name; for one that is not known, why."""
    reader = _Reader(_TOKEN.findall(_plain(header)), bits)
    result: dict[str, Layout | ValueError] = {}
    for name, made in [*reader.tags.items(), *reader.names.items()]:
        if isinstance(made, str):
            continue
        former = result.get(name, made)
        result[name] = made if _alike(former, made) else _twice(name)
    return result


def _plain(header: str) -> str:
    """One logical line each, without comments and the text of literals."""
    text = re.sub(r"\r\n?", "\n", header)
    text = re.sub(r"\\[ \t]*\n", "", text)

    def shortened(found: re.Match[str]) -> str:
        whole = found.group()
        if whole.startswith("/"):
            return " "
        # What _Pragma and #include say is needed; signs of others are in the way.
        return whole if re.fullmatch(r'"[^"{};]*"', whole) else '""'

    return _COMMENT_OR_LITERAL.sub(shortened, text)


def _alike(one: _Type, other: _Type) -> bool:
    if isinstance(one, Layout) and isinstance(other, Layout):
        return one == other and one.alignment == other.alignment
    return one is other or (isinstance(one, str) and one == other)


def _twice(name: str) -> ValueError:
    return ValueError(f"{name} is declared twice, and not alike")


# ------------------------------------------------------------------ directives


def _directive(token: str) -> tuple[str, str] | None:
    """The name and the rest of a directive; of `_Pragma` and `__pragma`, too."""
    if token.startswith(("_Pragma", "__pragma")):
        inside = token[token.index("(") + 1 : token.rindex(")")]
        return "pragma", inside.strip().strip('"').strip()
    if not token.lstrip().startswith("#"):
        return None
    found = re.match(r"\s*#\s*(\w*)\s*(.*)", token)
    assert found is not None
    return found.group(1), found.group(2).strip()


def _is_harmless(directive: tuple[str, str]) -> bool:
    """Whether a directive in the middle of a structure changes nothing of it."""
    word, rest = directive
    if word == "pragma":
        return not _LAYOUT_PRAGMA.match(rest)
    return word in ("", "define", "undef", "line") or word.isdigit()


class _Macros:
    """What the header defines."""

    def __init__(self, tokens: list[str]) -> None:
        self._objects: dict[str, set[str]] = {}
        self._functions: set[str] = set()
        for token in tokens:
            word, rest = _directive(token) or ("", "")
            found = re.match(r"(\w+)(\(?)(.*)", rest)
            if word != "define" or found is None:
                continue
            name, function, body = found.groups()
            if function:
                self._functions.add(name)
            else:
                self._objects.setdefault(name, set()).add(" ".join(body.split()))

    def check(self, title: str, words: list[str]) -> None:
        """Refuse words that stand for something else."""
        for word in words:
            is_other = self._objects.get(word, {word}) != {word}
            if is_other or (word == "__attribute__" and word in self._functions):
                raise ValueError(f"{title}: {word} is a macro")

    def number(self, text: str, depth: int = 0) -> int | None:
        """What a number is, or a macro that is one; None where that is not known."""
        text = text.strip()
        if found := re.fullmatch(r"\(([^()]*)\)", text):
            text = found.group(1).strip()
        if found := re.fullmatch(r"(0[xX][\da-fA-F]+|0|[1-9]\d*)[uUlL]*", text):
            return int(found.group(1), 0)
        bodies = self._objects.get(text, set())
        if len(bodies) != 1 or depth > len(self._objects):
            return None
        return self.number(next(iter(bodies)), depth + 1)


@dataclass(slots=True)
class _Packed:
    """One level of packing: the largest alignment, or why it is not known."""

    value: int | str | None
    label: str | None = None
    #: Under which `#if`s it was pushed.
    conditions: tuple[str, ...] = ()


class _Packing:
    """The packing that holds where the reader is."""

    def __init__(self) -> None:
        self._levels = [_Packed(None)]
        self._lost: str | None = None
        self._conditions: list[str] = []
        self._last = ("", "")

    @property
    def value(self) -> int | str | None:
        return self._lost or self._levels[-1].value

    def see(self, directive: tuple[str, str]) -> None:
        word, rest = directive
        if word in ("if", "ifdef", "ifndef"):
            self._conditions.append(f"{word} {rest}")
        elif word.startswith("el") and self._conditions:  # else, elif, elifdef
            self._conditions[-1] += f" {word} {rest}"
        elif word == "endif" and self._conditions:
            self._conditions.pop()
        elif word == "define" and self._is_guard(rest):
            self._conditions[-1] = ""
        elif word == "include":
            self._include(rest)
        elif word == "pragma" and _LAYOUT_PRAGMA.match(rest):
            self._pragma(rest)
        self._last = directive

    def _is_guard(self, defined: str) -> bool:
        """Whether the whole header is in this `#ifndef`: it says nothing then."""
        word, rest = self._last
        if word == "if":
            rest = re.sub(r"^!\s*defined\s*\(?\s*(\w+)\s*\)?$", r"\1", rest)
        return word in ("if", "ifndef") and rest == defined

    def _include(self, rest: str) -> None:
        name = rest.lower()
        if found := re.search(r"\bpshpack(\d+)\.h\b", name):
            self._apply(["push", found.group(1)], f"#include {rest}")
        elif re.search(r"\bpoppack\.h\b", name):
            self._apply(["pop"], f"#include {rest}")
        elif re.search("pack(?!et|age)", name):
            self._lost = f"#include {rest} may change the packing"

    def _pragma(self, rest: str) -> None:
        what = f"#pragma {rest}"
        found = re.fullmatch(r"pack\s*\(([^()]*)\)", rest)
        if found is None:
            self._lost = f"{what} is not known"
        else:
            self._apply([word.strip() for word in found.group(1).split(",")], what)

    def _apply(self, words: list[str], what: str) -> None:
        first, *more = words
        if first == "push":
            self._push(more, what)
        elif first == "pop" and (not more or _is_name(*more)):
            self._pop(more[0] if more else None, what)
        elif more:
            self._lost = f"{what} is not known"
        elif first != "show":
            self._set(first, what)

    def _here(self) -> tuple[str, ...]:
        return tuple(condition for condition in self._conditions if condition)

    def _set(self, word: str, what: str) -> None:
        value: int | str | None
        if word in ("1", "2", "4", "8", "16"):
            value = int(word)
        else:
            value = f"{what} is not known" if word else None
        if self._here():
            value = f"{what} depends on an #if"
        self._levels[-1].value = value

    def _push(self, words: list[str], what: str) -> None:
        level = _Packed(self._levels[-1].value, None, self._here())
        self._levels.append(level)
        if words and _is_name(words[0]):
            level.label = words[0]
            # Alone, it may as well be a macro for a number.
            words = words[1:] or words
        if words:
            self._set(words[0] if len(words) == 1 else ",".join(words), what)

    def _pop(self, label: str | None, what: str) -> None:
        labels = [level.label for level in self._levels[1:]]
        if label is not None and label not in labels:
            self._lost = f"{what} without its push"
            return
        while len(self._levels) > 1:
            level = self._levels.pop()
            if level.conditions != self._here():
                self._lost = f"{what} depends on an #if"
            if label in (None, level.label):
                return


def _is_name(*words: str) -> bool:
    return len(words) == 1 and re.fullmatch(r"[A-Za-z_]\w*", words[0]) is not None


# ---------------------------------------------------------------- declarations


class _Reader:
    """Goes through the declarations of a header, one after the other."""

    def __init__(self, tokens: list[str], bits: Bits) -> None:
        self.tags: dict[str, _Type] = {}
        self.names: dict[str, _Type] = {}
        self._bits: Bits = bits
        self._macros = _Macros(tokens)
        self._packing = _Packing()
        #: By a tag that is not declared yet, the names that a typedef gave it.
        self._aliases: dict[str, list[str]] = {}
        self._scope(tokens, inner=False)

    def _scope(self, tokens: list[str], *, inner: bool) -> None:
        head: list[str] = []
        at = 0
        while at < len(tokens):
            token = tokens[at]
            at += 1
            if (directive := _directive(token)) is not None:
                self._packing.see(directive)
                head += [token] if head else []
            elif token == "{":
                if not _opens_scope(head):
                    at = self._block(head, tokens, at, inner)
                head = []
            elif token in (";", "}"):
                if token == ";":
                    self._declaration(head)
                head = []
            else:
                head.append(token)

    def _block(self, head: list[str], tokens: list[str], at: int, inner: bool) -> int:
        """What is in braces, which open before `at`; where to go on."""
        record = _Record.of(head)
        end = _closing(tokens, at)
        if end is None:  # an #if with two beginnings, most likely
            if record is not None:
                self._put(record, [], ValueError(f"{record.tag} has no end"))
            return at
        body = tokens[at:end]
        pack = self._packing.value
        self._scope(body, inner=True)
        if record is None:  # a function, or the value of a variable
            return end + 1
        tail = _until_semicolon(tokens, end + 1)
        record.body, record.tail, record.pack = body, tail, pack
        names, pointers = record.typedef_names()
        made: Layout | ValueError
        try:
            made = self._layout(record, names, inner)
        except ValueError as error:
            made = error
        self._put(record, names, made)
        for name in pointers:
            self._name(self.names, name, "P")
        if "{" in tail:
            return end + 1
        for directive in filter(None, map(_directive, tail)):
            self._packing.see(directive)
        return end + 1 + len(tail) + 1

    def _put(
        self, record: _Record, names: list[str], made: Layout | ValueError
    ) -> None:
        if record.tag is not None:
            self._name(self.tags, record.tag, made)
            names = names + self._aliases.pop(record.tag, [])
        for name in names:
            self._name(self.names, name, made)

    def _name(self, where: dict[str, _Type], name: str, made: _Type) -> None:
        former = where.get(name)
        if isinstance(former, ValueError):
            return  # the first one tells most
        is_new = former is None or _alike(former, made)
        where[name] = made if is_new else _twice(name)

    def _declaration(self, head: list[str]) -> None:
        """One without braces: only typedefs matter."""
        if head[:1] == ["using"] and len(head) > 1:
            self.names[head[1]] = ValueError(f"{head[1]} is declared by using")
        words = [word for word in head if word != "__extension__"]
        if words[:1] != ["typedef"]:
            return
        words = words[1:]
        if self._is_of_later(words):
            return
        if found := _FUNCTION_POINTER.search(" ".join(words)):
            self._name(self.names, found.group(1), "P")
            return
        try:
            self._macros.check("typedef", words)
            for name, kind, count in self._declared("typedef", words):
                array = ValueError(f"{name} is an array type, which is not known")
                self._name(self.names, name, kind if count is None else array)
        except ValueError as error:
            for name in _names_of_unknown(words):
                self._name(self.names, name, error)

    def _is_of_later(self, words: list[str]) -> bool:
        """Keep the names of a structure that is yet to be declared."""
        if words[:1] != ["struct"] or len(words) < 3 or words[1] in self.tags:
            return False
        declarators = [" ".join(part) for part in _split(words[2:], ",")]
        if not all(map(_PLAIN.fullmatch, declarators)):
            return False
        for declarator in declarators:
            if "*" in declarator:
                self._name(self.names, declarator.strip("* "), "P")
            else:
                self._aliases.setdefault(words[1], []).append(declarator)
        return True

    # ------------------------------------------------------------- structures

    def _layout(self, record: _Record, names: list[str], inner: bool) -> Layout:
        title = names[-1] if names else record.tag or "struct"
        record.check(title, inner)
        everything = [*record.before, *record.after, *record.tail, *record.body]
        self._macros.check(title, list(_outside_brackets(everything)))
        members: dict[str, str | Layout | tuple[str | Layout, int]] = {}
        words = [token for token in record.body if _directive(token) is None]
        for declaration in _split(words, ";"):
            for name, kind, count in self._declared(title, declaration):
                if name in members:
                    raise ValueError(f"{title}: two members are called {name}")
                if isinstance(kind, str):
                    kind = _POINTER_CODES[self._bits].get(kind, kind)
                members[name] = kind if count is None else (kind, count)
        if not members:
            raise ValueError(f"{title} has no members")
        if isinstance(record.pack, str):
            raise ValueError(f"{title}: {record.pack}")
        return Layout.of(title, members, pack=1 if record.is_packed else record.pack)

    def _declared(
        self, title: str, words: list[str]
    ) -> Iterator[tuple[str, str | Layout, int | None]]:
        """Name, type and number of elements of each that is declared here."""
        declaration = " ".join(words)
        if ":" in declaration:
            raise ValueError(f"{title}: bit field in {declaration!r}")
        first, *more = declaration.split(",")
        found = _MEMBER.match(first.strip())
        if found is None:
            raise ValueError(f"{title}: cannot read {declaration!r}")
        base = found.group(1)
        for declarator in [first.strip()[len(base) :], *more]:
            whole = _MEMBER.match(f"int {declarator.strip()}")
            if whole is None or whole.group(3) in _KEYWORDS:
                raise ValueError(f"{title}: cannot read {declaration!r}")
            is_pointer = bool(whole.group(2).strip())
            kind = self._kind(title, base, is_pointer=is_pointer)
            yield whole.group(3), kind, self._elements(title, whole.group(4))

    def _kind(self, title: str, base: str, *, is_pointer: bool) -> str | Layout:
        words = [word for word in base.split() if word not in _QUALIFIERS]
        is_atomic = "_Atomic" in words
        words = [word for word in words if word != "_Atomic"]
        spelled = " ".join(words)
        ordered = " ".join(sorted(words, key=_word_order))
        has_tag = len(words) == 2 and words[0] in _RECORDS
        if is_pointer and (has_tag or len(words) == 1 or ordered in _CODES):
            return "P"
        if ordered == "long double":
            raise ValueError(
                f"{title}: the size of long double depends on the compiler"
            )
        found = self._declared_before(title, words, has_tag)
        found = found or _CODES.get(spelled) or _CODES.get(ordered)
        if found is None:
            raise ValueError(f"{title}: unknown type {spelled!r}")
        if isinstance(found, ValueError):
            raise found
        if is_atomic and isinstance(found, Layout):
            raise ValueError(f"{title}: _Atomic of a structure")
        return found

    def _declared_before(
        self, title: str, words: list[str], has_tag: bool
    ) -> _Type | None:
        if has_tag:
            return self.tags.get(words[1])
        name = " ".join(words)
        tagged = self.tags.get(name)
        if name in self.names:
            return self.names[name]
        if tagged is not None and name in _CODES:
            return ValueError(f"{title}: {name} is a structure's tag and a known type")
        return tagged

    def _elements(self, title: str, text: str) -> int | None:
        count = None
        for inside in re.findall(r"\[([^\]]*)\]", text):
            number = self._macros.number(inside)
            if number is None or number < 1:
                raise ValueError(
                    f"{title}: unknown number of elements [{inside.strip()}]"
                )
            count = number * (count or 1)
        return count


@dataclass(slots=True)
class _Record:
    """A structure, union, class or enum, in pieces."""

    kind: str
    before: list[str]
    #: Between its kind and the brace.
    after: list[str]
    tag: str | None
    body: list[str] = field(default_factory=list)
    #: Between the brace and the semicolon.
    tail: list[str] = field(default_factory=list)
    pack: int | str | None = None

    @classmethod
    def of(cls, head: list[str]) -> _Record | None:
        """From what stands before a brace; None for functions and initialisers."""
        at = next((at for at, word in enumerate(head) if word in _RECORDS), None)
        if at is None:
            return None
        rest = _ATTRIBUTE.sub("", " ".join(head[at + 1 :])).strip()
        is_parameter = rest.count(")") > rest.count("(")
        if "=" in rest or rest.endswith(")") or is_parameter:
            return None
        own_name = re.split("(?<!:) : (?!:)", rest)[0]  # what follows are bases
        words = re.findall(r"\w+", own_name)
        return cls(head[at], head[:at], head[at + 1 :], words[-1] if words else None)

    @property
    def is_packed(self) -> bool:
        behind = " ".join(self.tail)
        return bool(_PACKED.match(behind) or _PACKED.search(" ".join(self.after)))

    def typedef_names(self) -> tuple[list[str], list[str]]:
        """The names that a typedef gives it, and those of pointers to it."""
        if "typedef" not in self.before:
            return [], []
        names: list[str] = []
        pointers: list[str] = []
        for declarator in self._declarators():
            found = re.search(r"[A-Za-z_]\w*", declarator)
            if found is not None:
                (pointers if "*" in declarator else names).append(found.group())
                # Where there are several, any may be the name.
                names += re.findall(r"[A-Za-z_]\w*", declarator[found.end() :])
        return names, pointers

    def _declarators(self) -> list[str]:
        behind = " ".join(self.tail)
        if packed := _PACKED.match(behind):  # further on, it is of a typedef alone
            behind = behind[packed.end() :].strip()
        return [part.strip() for part in behind.split(",")] if behind else []

    def check(self, title: str, inner: bool) -> None:
        """Refuse what may have a say in the layout and is not known."""
        if self.kind != "struct":
            raise ValueError(f"{title} is declared as {self.kind}, not as struct")
        for word in self.before:
            if word not in _HARMLESS and not word.startswith('"'):  # extern "C"
                raise ValueError(f"{title}: {word!r} in front of it is not known")
        for token in (*self.after, *self.body, *self.tail):
            directive = _directive(token)
            if directive is not None and not _is_harmless(directive):
                raise ValueError(
                    f"{title}: #{' '.join(directive)} inside it; give what the "
                    "preprocessor makes of the header"
                )
        self._check_head(title)
        self._check_tail(title, inner)
        if "{" in self.body:
            raise ValueError(f"{title}: a structure, union or function inside it")

    def _check_head(self, title: str) -> None:
        words = " ".join(word for word in self.after if _directive(word) is None)
        name = _PACKED.sub("", words, count=1).strip()
        if name not in ("", self.tag) or _ATTRIBUTE_MACRO.fullmatch(name):
            raise ValueError(f"{title}: {name!r} before its brace is not known")

    def _check_tail(self, title: str, inner: bool) -> None:
        # Variables are no different from macros; members are named after it.
        may_be_plain = "typedef" in self.before or inner
        for declarator in self._declarators():
            is_plain = may_be_plain and _PLAIN.fullmatch(declarator) is not None
            if not is_plain or _ATTRIBUTE_MACRO.fullmatch(declarator):
                raise ValueError(
                    f"{title}: {declarator!r} behind it is not known, and may change "
                    "the layout"
                )


def _opens_scope(head: list[str]) -> bool:
    """`extern "C" {` and `namespace name {`: declarations follow."""
    return (head[:1] == ["extern"] and head[-1][0] == '"') or "namespace" in head


def _closing(tokens: list[str], at: int) -> int | None:
    """Where the brace that opens before `at` closes."""
    depth = 1
    for index in range(at, len(tokens)):
        depth += (tokens[index] == "{") - (tokens[index] == "}")
        if depth == 0:
            return index
    return None


def _until_semicolon(tokens: list[str], at: int) -> list[str]:
    """Up to the semicolon, or to a brace that opens before it, inclusive."""
    for index in range(at, len(tokens)):
        if tokens[index] in (";", "}"):
            return tokens[at:index]
        if tokens[index] == "{":
            return tokens[at : index + 1]
    return tokens[at:]


def _split(words: list[str], separator: str) -> Iterator[list[str]]:
    part: list[str] = []
    for word in [*words, separator]:
        if word != separator:
            part.append(word)
        elif part:
            yield part
            part = []


def _outside_brackets(tokens: list[str]) -> Iterator[str]:
    depth = 0
    for token in tokens:
        depth += (token == "[") - (token == "]")
        if depth == 0:
            yield token


def _names_of_unknown(words: list[str]) -> list[str]:
    """What a typedef that cannot be read may have declared."""
    text = _ATTRIBUTE.sub("", " ".join(words))
    text = re.sub(r"[(\[][^()\[\]]*[)\]]", "", text)
    # The first word is of its type.
    last = re.findall(r"[A-Za-z_]\w*", text)[1:][-1:]
    return [name for name in last if name not in _KEYWORDS]


def _word_order(word: str) -> int:
    order = ("unsigned", "signed", "long", "short", "char", "int")
    return order.index(word) if word in order else len(order)
