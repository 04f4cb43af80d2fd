"""What the name of an environment means: one of pyro's own, a saved one, or an image."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass

from pyro_mcp.environments.cache import EnvironmentCache, Manifest
from pyro_mcp.environments.catalog import CATALOG, DEFAULT, Definition
from pyro_mcp.environments.oci import reference as references
from pyro_mcp.environments.oci.reference import Reference
from pyro_mcp.environments.prepared import PREFIX
from pyro_mcp.errors import InvalidInput, NotFound


@dataclass(frozen=True)
class Saved:
    """An environment that was saved from a workspace under this name."""

    name: str


Wanted = Definition | Reference | Saved
SAVED_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def meaning(name: str, cache: EnvironmentCache) -> Wanted:
    """What an environment's name means. Reads the disk, but nothing large.

    Raises:
        NotFound: nothing has this plain name; the nearest is named.
        InvalidInput: it is neither a name nor a reference.
    """
    found = CATALOG.get(name)
    if found is not None:
        return found
    if name.startswith(PREFIX) and (made := cache.current(name)) is not None:
        raise InvalidInput(
            f"{name} is what the set-up of {made.source} made; it is not an environment.",
            hint="A workspace that is seeded from that directory begins with it by itself.",
            code="prepared_not_environment",
        )
    if SAVED_NAME.fullmatch(name):
        if cache.current(name) is not None:
            return Saved(name)
        if not references.looks_like_one(name):
            raise unknown(name, cache)
    return references.parse(name)


def unknown(name: str, cache: EnvironmentCache) -> NotFound:
    known = [*CATALOG, *(each for each in cache.names() if SAVED_NAME.fullmatch(each))]
    near = difflib.get_close_matches(name, known, 1, 0.5)
    hint = f"Did you mean {near[0]!r}? " if near else f"The default is {DEFAULT}. "
    return NotFound(
        f"There is no environment {name!r}. Known environments: {', '.join(known)}.",
        hint=hint + "Name an image with its tag, such as docker.io/library/node:22.",
        code="unknown_environment",
    )


def own_near(name: str) -> str:
    """Words that name the environment of pyro's own which was likely meant by an image that is not there."""
    near = difflib.get_close_matches(name, CATALOG, 1, 0.6)
    return f" pyro's own environment is called {near[0]!r}." if near else ""


def installed(wanted: Wanted, cache: EnvironmentCache) -> Manifest | None:
    """The build that is there for it."""
    return cache.installed(wanted) if isinstance(wanted, Definition) else cache.current(wanted.name)
