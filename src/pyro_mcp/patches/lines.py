"""Which lines differ between two texts. Fast on large files with few changes, bounded on any input.

Common head and tail are trimmed first. Small regions get Myers' O(ND) search, which is minimal; large
ones are cut at lines that are unique on both sides (patience). A work budget bounds the search: what is
left when it is used up counts as replaced, which is correct though not minimal.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

_BUDGET = 2_000_000
"""Steps for one pair of files, about one second of CPython on a slow core."""
_SMALL = 400
"""Regions up to so many lines on both sides together go to Myers at once."""
_MAX_EDITS = 256
"""Edits that one Myers search may look for before it settles for the furthest path found."""

Opcode = tuple[int, int, int, int]
"""Lines `a[0]:a[1]` are replaced by `b[2]:b[3]`."""


def opcodes(a: Sequence[bytes], b: Sequence[bytes], *, budget: int = _BUDGET) -> list[Opcode]:
    """The changed regions, in order, disjoint and never touching one another."""
    ids: dict[bytes, int] = {}
    left = [ids.setdefault(line, len(ids)) for line in a]
    right = [ids.setdefault(line, len(ids)) for line in b]
    search = _Search(left, right, budget)
    search.run()
    return search.changes()


class _Search:
    def __init__(self, a: list[int], b: list[int], budget: int) -> None:
        self.a, self.b, self.budget = a, b, budget
        self.same_a = bytearray(len(a))
        self.same_b = bytearray(len(b))

    def run(self) -> None:
        todo = [(0, len(self.a), 0, len(self.b))]
        while todo:
            region = self.trim(*todo.pop())
            a0, a1, b0, b1 = region
            if a0 == a1 or b0 == b1:
                continue
            self.budget -= a1 - a0 + b1 - b0
            if self.budget <= 0:
                return
            if a1 - a0 + b1 - b0 > _SMALL:
                anchors = self.unique_anchors(*region)
                if anchors:
                    todo += self.between(anchors, *region)
                    continue
            rest = self.myers(*region)
            if rest:
                todo.append(rest)

    def trim(self, a0: int, a1: int, b0: int, b1: int) -> Opcode:
        """Match what both regions begin and end with; the region in between."""
        a, b = self.a, self.b
        head_a, head_b = a0, b0
        while a0 < a1 and b0 < b1 and a[a0] == b[b0]:
            a0 += 1
            b0 += 1
        tail_a, tail_b = a1, b1
        while a0 < a1 and b0 < b1 and a[a1 - 1] == b[b1 - 1]:
            a1 -= 1
            b1 -= 1
        self.mark(head_a, head_b, a0 - head_a)
        self.mark(a1, b1, tail_a - a1)
        assert tail_a - a1 == tail_b - b1
        return a0, a1, b0, b1

    def mark(self, i: int, j: int, count: int) -> None:
        if count:
            self.same_a[i : i + count] = b"\1" * count
            self.same_b[j : j + count] = b"\1" * count

    def unique_anchors(self, a0: int, a1: int, b0: int, b1: int) -> list[tuple[int, int]]:
        """The longest rising series of lines that stand once on each side."""
        once_a = _once(self.a, a0, a1)
        once_b = _once(self.b, b0, b1)
        tops: list[int] = []
        chain: list[tuple[int, int, int]] = []
        ends: list[int] = []
        for line, i in once_a.items():
            j = once_b.get(line)
            if j is None:
                continue
            at = len(tops) if not tops or j > tops[-1] else bisect_left(tops, j)
            chain.append((i, j, ends[at - 1] if at else -1))
            tops[at : at + 1] = [j]
            ends[at : at + 1] = [len(chain) - 1]
        out: list[tuple[int, int]] = []
        link = ends[-1] if ends else -1
        while link >= 0:
            i, j, link = chain[link]
            out.append((i, j))
        out.reverse()
        return out

    def between(self, anchors: list[tuple[int, int]], a0: int, a1: int, b0: int, b1: int) -> list[Opcode]:
        gaps: list[Opcode] = []
        i, j = a0, b0
        for x, y in anchors:
            self.mark(x, y, 1)
            if x > i and y > j:
                gaps.append((i, x, j, y))
            i, j = x + 1, y + 1
        if i < a1 and j < b1:
            gaps.append((i, a1, j, b1))
        return gaps

    def myers(self, a0: int, a1: int, b0: int, b1: int) -> Opcode | None:
        """Match along a shortest edit path; what is left when the path was cut short.

        Lines that stand on one side only cannot match and are left out of the search, which changes no
        longest common subsequence.
        """
        in_a, in_b = set(self.a[a0:a1]), set(self.b[b0:b1])
        where_a = [i for i in range(a0, a1) if self.a[i] in in_b]
        where_b = [j for j in range(b0, b1) if self.b[j] in in_a]
        a = [self.a[i] for i in where_a]
        b = [self.b[j] for j in where_b]
        n, m = len(a), len(b)
        if not n:
            return None
        reach = {1: 0}
        trail: list[dict[int, int]] = []
        best_x = best_k = 0
        done = False
        for d in range(min(n + m, _MAX_EDITS) + 1):
            trail.append(reach)
            step: dict[int, int] = {}
            best_sum = -1
            for k in range(-d, d + 1, 2):
                if k == -d or (k != d and reach.get(k - 1, -1) < reach.get(k + 1, -1)):
                    x = reach.get(k + 1, -1)
                else:
                    x = reach.get(k - 1, -1) + 1
                y = x - k
                if x < 0 or y < 0 or x > n or y > m:
                    continue
                first = x
                while x < n and y < m and a[x] == b[y]:
                    x += 1
                    y += 1
                self.budget -= 1 + x - first
                step[k] = x
                if x + y > best_sum:
                    best_sum, best_x, best_k = x + y, x, k
                if x == n and y == m:
                    done = True
                    break
            reach = step
            if done or not step or self.budget <= 0:
                break
        end = best_x, best_x - best_k
        self.trace(trail, best_x, best_k, where_a, where_b)
        if done or self.budget <= 0 or end == (0, 0) or end[0] >= n or end[1] >= m:
            return None
        return where_a[end[0]], a1, where_b[end[1]], b1

    def trace(self, trail: list[dict[int, int]], x: int, k: int, where_a: list[int], where_b: list[int]) -> None:
        for d in range(len(trail) - 1, -1, -1):
            reach = trail[d]
            if k == -d or (k != d and reach.get(k - 1, -1) < reach.get(k + 1, -1)):
                k_from, x_to = k + 1, reach.get(k + 1, -1)
            else:
                k_from, x_to = k - 1, reach.get(k - 1, -1) + 1
            if d == 0:
                x_to = 0
            for i in range(x_to, x):
                self.mark(where_a[i], where_b[i - k], 1)
            x, k = reach.get(k_from, 0), k_from

    def changes(self) -> list[Opcode]:
        out: list[Opcode] = []
        i = j = 0
        n, m = len(self.a), len(self.b)
        same_a, same_b = self.same_a, self.same_b
        while i < n or j < m:
            next_a, next_b = same_a.find(0, i), same_b.find(0, j)
            gap_a = next_a - i if next_a >= 0 else n - i
            gap_b = next_b - j if next_b >= 0 else m - j
            common = min(gap_a, gap_b)
            i, j = i + common, j + common
            if i == n and j == m:
                break
            end_a, end_b = same_a.find(1, i), same_b.find(1, j)
            end_a, end_b = (n if end_a < 0 else end_a), (m if end_b < 0 else end_b)
            out.append((i, end_a, j, end_b))
            i, j = end_a, end_b
        return out


def _once(lines: list[int], start: int, end: int) -> dict[int, int]:
    """Where each line stands that stands once in `lines[start:end]`, in order."""
    where: dict[int, int] = {}
    twice: set[int] = set()
    for i in range(start, end):
        line = lines[i]
        if line in where:
            twice.add(line)
        else:
            where[line] = i
    for line in twice:
        del where[line]
    return where
