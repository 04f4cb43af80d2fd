"""What may be asked of a host, where the user said more than its name: methods, and the beginning of a path. Pure.

`HOST:GET` is reading, which includes a git fetch; `HOST:GET,PUSH/team/app.git` is reading and pushing of one
repository. A rule makes the proxy look into the host's TLS, and speak HTTP/1.1 with it and nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import parse_qs, unquote

READING = frozenset({"GET", "HEAD", "OPTIONS"})
PUSH = "PUSH"
"""Not a method of HTTP, but what a git push needs (git-http-backend(1)): the refs for it, and git-receive-pack."""
OVERRIDES = frozenset({b"x-http-method-override", b"x-http-method", b"x-method-override"})
"""Headers by which some servers take another method than the request has."""
_METHODS = re.compile(r"(\*|[A-Z]{3,20}(,[A-Z]{3,20})*)\Z")
_PATH = re.compile(r"/[A-Za-z0-9._~!$&'()*+,;=:@/-]{0,500}\Z")


@dataclass(frozen=True)
class Rule:
    """Some methods, below some path."""

    methods: frozenset[str]
    path: str = "/"

    @classmethod
    def parse(cls, text: str) -> Rule:
        """From `METHOD,METHOD/path`.

        Raises:
            ValueError: it is not of that form.
        """
        words, slash, path = text.partition("/")
        words, path = words.strip().upper(), slash + path
        if not _METHODS.match(words) or (path and not _PATH.match(path)) or ".." in path:
            raise ValueError(f"{text!r} is not a rule; a rule looks like GET, or GET,POST/below/here")
        return cls(frozenset(words.split(",")), path or "/")

    def __str__(self) -> str:
        return ",".join(sorted(self.methods)) + (self.path if self.path != "/" else "")

    def allows(self, action: str, path: str) -> bool:
        below = path == self.path or path.startswith(self.path.rstrip("/") + "/")
        return below and ("*" in self.methods or action in self.methods)


def split(pattern: str) -> tuple[str, str]:
    """A pattern's host and its rule, which may be empty; an IPv6 address has none."""
    host, colon, rule = pattern.partition(":")
    return (pattern, "") if not colon or ":" in rule.partition("/")[0] else (host, rule)


def action_of(method: str, target: str) -> tuple[str, str]:
    """What a request does, in the words of a rule, and the path it does it to.

    Raises:
        ValueError: servers may understand the path in several ways.
    """
    raw, _, query = target.partition("?")
    path = unquote(raw)
    if re.search(r"%2f|%5c|%00", raw, re.I) or "\\" in path or "//" in path or "%" in path:
        raise ValueError("a path with encoded or doubled separators")
    if any(part in (".", "..") or part.startswith(("..;", ".;")) for part in path.split("/")):
        raise ValueError("a path with dots")
    if method == "POST" and path.endswith("/git-receive-pack"):
        return PUSH, path
    if path.endswith("/info/refs") and "git-receive-pack" in parse_qs(query).get("service", []):
        return PUSH, path
    if method == "POST" and path.endswith("/git-upload-pack"):
        return "GET", path
    return ("GET" if method in READING else method), path


def forbidden(
    rules: Iterable[Rule], method: str, target: str, header_names: Iterable[bytes] = ()
) -> tuple[str, str] | None:
    """Why none of the rules allows a request, and the rule that would; None when one does."""
    rules, names = list(rules), set(header_names)
    if any("*" in rule.methods and rule.path == "/" for rule in rules):
        return None
    try:
        action, path = action_of(method, target)
    except ValueError as error:
        return f"{error} cannot be checked against a rule", ""
    for name in (OVERRIDES | {b"upgrade"}) & names:
        return f"the header {name.decode()} would turn it into another request", ""
    if any(rule.allows(action, path) for rule in rules):
        return None
    shown = f"{method} {path}"[:200]
    wanted = ""
    if action == PUSH:
        place = re.sub(r"/(info/refs|git-receive-pack)\Z", "", path)
        shown = f"a git push to {place}"[:200]
        wanted = f"{PUSH}{place}" if _PATH.match(place) else PUSH
    elif re.fullmatch(r"[A-Z]{3,20}", action) and _PATH.match(path):
        wanted = f"{action}{path}"
    return f"{shown} is not allowed here", wanted
