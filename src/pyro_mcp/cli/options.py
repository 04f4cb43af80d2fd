"""The reader of options that every command has: argparse that raises, and prints its help when asked.

Words that are no options are left to the command, so the order of options and words never matters, on any version of
Python.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence

from pyro_mcp.cli.words import option_hint, our_option
from pyro_mcp.errors import InvalidInput

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

vars(argparse)["_"] = str
"""argparse would look for a translation of a few of its words, with a module that is slow to import."""


def usage_error(message: str, hint: str = "", *, missing: str = "") -> InvalidInput:
    """The words of the command line do not fit; exit status 2. `missing` is the parameter that there is no word for."""
    return InvalidInput(message, hint=hint, code="bad_usage", details={"missing": missing} if missing else None)


def too_many(word: str, prog: str) -> InvalidInput:
    """A word for which there is no place."""
    return usage_error(f"Unexpected argument: {word!r}.", hint=f"See `{prog} --help`.")


class HelpShown(SystemExit):
    """A command's help was printed, as asked, and nothing else is to be done: exit status 0."""


class _Filled(argparse.RawDescriptionHelpFormatter):
    """Paragraphs fill the width that there is; those with indented lines stay as they are."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        import textwrap

        parts = text.split("\n\n")
        return "\n\n".join(
            part if "\n " in f"\n{part}" else textwrap.fill(" ".join(part.split()), max(width, 20)) for part in parts
        )


class Parser(argparse.ArgumentParser):
    """argparse that raises instead of exiting, and knows no abbreviations."""

    def __init__(self, **words: Any) -> None:
        self._help = bool(words.get("add_help", True))
        super().__init__(allow_abbrev=False, formatter_class=_Filled, **words)

    def _get_formatter(self) -> argparse.HelpFormatter:
        """argparse asks for one with each option, and looks at the terminal for it, which is slow to import."""
        return super()._get_formatter() if self._help else argparse.HelpFormatter(self.prog, width=80)

    def error(self, message: str) -> NoReturn:
        raise usage_error(message[:1].upper() + message[1:] + ".", hint=f"See `{self.prog} --help`.")

    def take(self, words: list[str]) -> tuple[argparse.Namespace, list[str]]:
        """Options, and the words that are none.

        Raises:
            InvalidInput: an option that there is not; the nearest is offered.
        """
        found, rest = self.parse_known_args([self._ours(word) for word in words])
        for word in rest:
            if word.startswith("-") and word != "-":
                raise self.no_option(word)
        return found, rest

    def taken(self, words: Sequence[str], after: Sequence[str] | None = None) -> tuple[Any, list[str]]:
        """Options and words of a command that is no operation, those after `--` too.

        Raises:
            HelpShown: --help was among them, and is printed.
            InvalidInput: an option that there is not.
        """
        if "--help" in words or "-h" in words:
            print(self.format_help(), end="")
            raise HelpShown(0)
        found, rest = self.take(list(words))
        return found, [*rest, *(after or [])]

    def none_left(self, words: Sequence[str], after: Sequence[str] | None = None) -> Any:
        """Options, where a command takes no words; errors as of `taken`, and for a word."""
        found, rest = self.taken(words, after)
        if rest:
            raise too_many(rest[0], self.prog)
        return found

    def no_option(self, word: str) -> InvalidInput:
        """The error for an option that there is not."""
        name = word.split("=")[0]
        return usage_error(
            f"There is no option {name}.", hint=option_hint(name, self.prog, self._option_string_actions)
        )

    def _ours(self, word: str) -> str:
        """An option by the name of another tool as we call it; every other word as it is."""
        name, sign, value = word.partition("=")
        if not word.startswith("-") or name in self._option_string_actions:
            return word
        ours = our_option(name, self._option_string_actions)
        return f"{ours}{sign}{value}" if ours else word

    def begin_of_command(self, words: list[str], before: int, is_first: Callable[[str], bool]) -> int | None:
        """Where the command to run begins, when no `--` says so: at the word after `before` words that are no options.

        `is_first` tells whether a word can be the first of these; None when no word is left for the command.
        """
        seen = at = 0
        while at < len(words):
            word = self._ours(words[at])
            if word.startswith("-") and word != "-":
                action = self._option_string_actions.get(word.split("=")[0])
                if action is None:
                    return None  # said by `take`
                at += 1 if action.nargs == 0 or "=" in word else 2
                continue
            if seen == before or (seen == 0 and not is_first(words[at])):
                return at
            seen += 1
            at += 1
        return None
