"""How far writings have come in bytes that arrive piece by piece: each byte is looked at once. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from pyro_mcp.masking.spellings import GOES_ON, IS_WHOLE, Places, Spelling


class Progress:
    """The writings that have begun and may go on.

    Of those that are equally far only the earliest is kept: where it ends, it covers the others. So a byte costs at
    most as many steps as the writings have places, however many of them overlap.
    """

    def __init__(self, places: Places) -> None:
        self._places = places
        self._begun: dict[tuple[Spelling, int, bytes], int] = {}
        self._position = 0

    @property
    def earliest(self) -> int:
        """Where the first writing begins that may go on; the end of what has come when there is none."""
        return min(self._begun.values(), default=self._position)

    def feed(self, data: bytes) -> Iterable[tuple[int, int]]:
        """Begin and end of each writing that ends in `data`, counted from the first byte that ever came."""
        start, at = self._position, 0
        while at < len(data):
            if not self._begun:
                at = self._places.next_beginning(data, at)
                if at == len(data):
                    break
            self._position = start + at
            yield from self._step(data[at])
            at += 1
        self._position = start + len(data)

    def _step(self, byte: int) -> Iterable[tuple[int, int]]:
        raw, before = bytes([byte]), self._begun
        after: dict[tuple[Spelling, int, bytes], int] = {}
        for form in self._places.by_first(byte):
            before.setdefault((form, 0, b""), self._position)
        end = self._position + 1
        for (form, number, part), begin in before.items():
            part += raw
            way = form.ways[number].get(part, 0)
            if way & GOES_ON and after.get((form, number, part), end) > begin:
                after[form, number, part] = begin
            if way & IS_WHOLE:
                if number + 1 == len(form.places):
                    yield begin, end
                elif after.get((form, number + 1, b""), end) > begin:
                    after[form, number + 1, b""] = begin
        self._begun = after
