"""Which patterns of measurement ids an id matches, found without trying them all."""

import re
from collections.abc import Callable, Sequence
from fnmatch import translate
from functools import cache

WILD = re.compile(r"[*?\[]")


def matches(pattern: str, id: str) -> bool:
    """Whether a measurement's id matches a pattern, in which * stands for anything."""
    return _matcher(pattern)(id) is not None


@cache
def _matcher(pattern: str) -> Callable[[str], re.Match[str] | None]:
    return re.compile(translate(pattern)).match


def wild(pattern: str, id: str) -> tuple[str, ...] | None:
    """What each * of a pattern stands for in an id, the first as little as possible; None where it does not
    match.

    >>> wild("claim.T6.cw*.*", "claim.T6.cw-clipped.R1.logit")
    ('-clipped', 'R1.logit')
    """
    found = re.fullmatch(re.escape(pattern).replace(r"\*", "(.*?)"), id)
    return found.groups() if found else None


def counterpart(id: str, patterns: Sequence[str], others: Sequence[str]) -> str | None:
    """The id that is to `others` what this one is to the patterns at the same places.

    >>> counterpart("claim.T6.R1.logit", ["claim.T6.*"], ["noise.T6.*"])
    'noise.T6.R1.logit'
    """
    for pattern, other in zip(patterns, others, strict=True):
        if (parts := wild(pattern, id)) is not None:
            return other.replace("*", "{}").format(*parts)
    return None


class Patterns:
    """Patterns of several owners. An id is looked up by what it begins with, and each answer is kept.

    >>> Patterns([["a.b", "a.c.*"], ["a.*.d"]]).of("a.c.d")
    (0, 1)
    """

    def __init__(self, owned: Sequence[Sequence[str]]) -> None:
        """Take the patterns of each owner."""
        self._exact: dict[str, list[int]] = {}
        self._by_start: dict[str, dict[str, list[int]]] = {}
        for owner, pattern in ((owner, one) for owner, patterns in enumerate(owned) for one in patterns):
            start = WILD.split(pattern, maxsplit=1)[0]
            same = self._exact if start == pattern else self._by_start.setdefault(start, {})
            same.setdefault(pattern, []).append(owner)
        lengths: dict[str, set[int]] = {"": {0}}
        for start in self._by_start:
            name, point, _ = start.partition(".")
            lengths.setdefault(name if point else "", set()).add(len(start))
        self._lengths = {name: sorted(its | lengths[""]) for name, its in lengths.items()}
        self._near: dict[str, list[tuple[str, list[int], bool]]] = {}
        self._found: dict[str, tuple[int, ...]] = {}

    def of(self, id: str) -> tuple[int, ...]:
        """The places of the owners of patterns that an id matches, ascending."""
        if id not in self._found:
            owners = set(self._exact.get(id, ()))
            for pattern, its, open_end in self._candidates(id):
                if open_end or matches(pattern, id):
                    owners.update(its)
            self._found[id] = tuple(sorted(owners))
        return self._found[id]

    def _candidates(self, id: str) -> list[tuple[str, list[int], bool]]:
        """Patterns that begin as an id does, their owners, and whether nothing but a * follows."""
        lengths = self._lengths.get(id.partition(".")[0]) or self._lengths[""]
        head = id[: lengths[-1]]
        if head not in self._near:
            self._near[head] = [
                (pattern, its, pattern == start + "*")
                for start in {head[:length] for length in lengths}
                for pattern, its in self._by_start.get(start, {}).items()
            ]
        return self._near[head]
