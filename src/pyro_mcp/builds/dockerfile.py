"""Reads a Dockerfile as far as it takes to know which images it needs, and names them as the builder finds them.

Pure. No text, however it is written, takes long. The builder reads the whole of it, inside a machine without a
registry: where the two understand a file differently, it finds no image of that name, and nothing else happens.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from pyro_mcp.errors import InvalidInput
from pyro_mcp.visible import shortened, visible

MAX_BYTES = 1024 * 1024
MAX_IMAGES = 32
MAX_NAME = 512
MAX_VALUE = 4096
"""Characters of a variable's value, before and after others are put into it; a longer one names no image."""
_DIRECTIVE = re.compile(r"#\s*([a-zA-Z]+)\s*=\s*(\S.*)")
_HEREDOC = re.compile(r"""(?<![<\w"'])[0-9]*<<(-?)(["']?)([A-Za-z_][A-Za-z0-9_]*)\2(?![\w"'])""")
_ARG = re.compile(r"""(?<!\S)([A-Za-z_][A-Za-z0-9_]*)(?:=("[^"]*"|'[^']*'|[^\s"']*))?(?:\s+|$)""")
_VARIABLE = re.compile(r"\$(?:([A-Za-z_][A-Za-z0-9_]*)|\{([A-Za-z_][A-Za-z0-9_]*)(?:(:?[-+])([^{}$]*))?\})")
_FROM_FLAG = re.compile(r"(?<!\S)--from=(\S+)")
_MOUNT_FROM = re.compile(r"(?<!\S)--mount=\S*?(?<=[=,])from=([^\s,]+)")


@dataclass(frozen=True)
class _Instruction:
    word: str
    text: str
    """With its continuations joined, without the word."""
    raw: str
    """As it stands in the file, comments within and heredocs included."""
    line: int


@dataclass(frozen=True)
class Dockerfile:
    """A file with the images that it needs, in their order."""

    images: tuple[str, ...]
    stages: tuple[str, ...]
    """The names of its stages; empty where one has none."""
    _pieces: tuple[tuple[str, str], ...] = field(repr=False)
    """Text, and the image that it names at the mark in it."""

    def named(self, names: Mapping[str, str]) -> str:
        """The file with these names in the place of its images."""
        return "".join(text.replace(_MARK, names[image]) if image else text for text, image in self._pieces)


_MARK = "\0"


def read(data: bytes, build_args: Mapping[str, str], architecture: str) -> Dockerfile:
    """What a Dockerfile needs.

    Raises:
        InvalidInput: it is none, or over the bounds: 1 MiB, 32 images.
    """
    if len(data) > MAX_BYTES:
        raise bad(f"is larger than {MAX_BYTES} bytes")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise bad("is not UTF-8") from error
    if _MARK in text:
        raise bad("holds a NUL")
    platform = {
        name + what: value
        for name in ("BUILD", "TARGET")
        for what, value in (("PLATFORM", f"linux/{architecture}"), ("OS", "linux"), ("ARCH", architecture))
    }
    known = {**platform, **{name: value for name, value in build_args.items() if name in platform}}
    images: dict[str, None] = {}
    stages: list[str] = []
    aliases: set[str] = set()
    pieces: list[tuple[str, str]] = []

    def image_at(raw: str, found: str, image: str) -> None:
        images[image] = None
        if len(images) > MAX_IMAGES:
            raise bad(f"names more than {MAX_IMAGES} images")
        pieces.append((raw.replace(found, _MARK, 1), image))

    begun = False
    for each in _instructions(text):
        if each.word == "ARG" and not begun:
            for said in _ARG.finditer(each.text):
                given = build_args.get(said[1])
                default = _expanded(_unquoted(said[2]), known) if said[2] is not None else None
                if given is not None or default is not None:
                    known[said[1]] = given if given is not None else str(default)
            pieces.append((each.raw, ""))
        elif each.word == "FROM":
            begun = True
            words = [word for word in each.text.split() if not word.startswith("--")]
            if len(words) not in (1, 3) or (len(words) == 3 and words[1].upper() != "AS"):
                raise bad(f"says in line {each.line} FROM {shown(each.text)}, which is not FROM IMAGE [AS NAME]")
            name = _expanded(_unquoted(words[0]), known)
            if not name or len(name) > MAX_NAME or not name.isprintable() or re.search(r"[\s$]", name):
                raise bad(
                    f"names no image in line {each.line} (FROM {shown(each.text)})",
                    "Give its variable a value with --build-arg, or in an ARG above it.",
                )
            alias = words[2] if len(words) == 3 else ""
            again = f" AS {alias}" if alias else ""
            if name.lower() == "scratch" or name.lower() in aliases:
                pieces.append((f"FROM {name}{again}\n", ""))
            else:
                image_at(f"FROM {_MARK}{again}\n", _MARK, name)
            stages.append(alias)
            aliases |= {alias.lower()} - {""}
        elif each.word in ("COPY", "ADD", "RUN"):
            found = (_MOUNT_FROM if each.word == "RUN" else _FROM_FLAG).search(each.text)
            name = found[1] if found is not None else ""
            earlier = name.lower() in aliases
            if not name or earlier or name.isdigit() or "$" in name or name not in each.raw or len(name) > MAX_NAME:
                pieces.append((each.raw, ""))
            else:
                image_at(each.raw, f"from={name}", name)
                pieces[-1] = (pieces[-1][0].replace(_MARK, f"from={_MARK}"), name)
        else:
            pieces.append((each.raw, ""))
    if not begun:
        raise bad("has no FROM")
    return Dockerfile(tuple(images), tuple(stages), tuple(pieces))


def bad(what: str, hint: str = "") -> InvalidInput:
    return InvalidInput(f"The Dockerfile {what}; nothing was built.", hint=hint, code="bad_dockerfile")


def shown(text: str) -> str:
    return shortened(visible(text[:400]), 100)


def _instructions(text: str) -> list[_Instruction]:
    lines = text.splitlines(keepends=True)
    escape, at = "\\", 0
    found: list[_Instruction] = []
    while at < len(lines):
        said = _DIRECTIVE.fullmatch(lines[at].strip())
        if said is None:
            break
        if said[1].lower() == "escape" and said[2] in ("\\", "`"):
            escape = said[2]
        at += 1
    if at:
        found.append(_Instruction("#", "", "".join(lines[:at]), 1))
    while at < len(lines):
        begin = at
        if not lines[at].strip() or lines[at].lstrip().startswith("#"):
            at += 1
            found.append(_Instruction("#", "", lines[begin], begin + 1))
            continue
        joined: list[str] = []
        while at < len(lines):
            line = lines[at]
            at += 1
            if joined and (not line.strip() or line.lstrip().startswith("#")):
                continue  # within a continued instruction
            bare = line.rstrip()
            if not bare.endswith(escape):
                joined.append(bare)
                break
            joined.append(bare[:-1])
        word, _, rest = "".join(joined).strip().replace("\t", " ").partition(" ")
        if word.upper() in ("RUN", "COPY", "ADD"):
            for heredoc in _HEREDOC.finditer(rest):
                while at < len(lines):
                    line = lines[at].rstrip("\r\n")
                    at += 1
                    if (line.lstrip("\t") if heredoc[1] else line) == heredoc[3]:
                        break
        raw = "".join(lines[begin:at])
        found.append(_Instruction(word.upper(), rest.strip(), raw if raw.endswith("\n") else raw + "\n", begin + 1))
    return found


def _unquoted(text: str) -> str:
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" else text


def _expanded(text: str, known: Mapping[str, str]) -> str:
    def value(found: re.Match[str]) -> str:
        name = found[1] or found[2]
        there, how, word = known.get(name), found[3] or "", found[4] or ""
        given = there is not None and (there != "" or not how.startswith(":"))
        if how.endswith("+"):
            return word if given else ""
        return str(there) if given else (word if how else there or "")

    found = _VARIABLE.sub(value, text) if len(text) <= MAX_VALUE else ""
    return found if len(found) <= MAX_VALUE else ""
