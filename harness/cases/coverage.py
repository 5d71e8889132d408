"""What a list of cases covers: levels of factors, and pairs of levels, wherever a mechanism knows both.

Most mutants need one or two circumstances to show, a mask form in a dtype, a distribution in a memory layout; the pairs
are far fewer than the products. A pair counts where it can show: unless it is about lengths, in a case in which some
query sees two keys, since with one alone no error of a score or weight shows.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from typing import Any

from attention_harness.cases.space import SIZED, Variant, factors, go_together, variant_of, variants
from attention_harness.model.case import Case
from attention_harness.options import OPTIONS, Place, interval, required
from attention_harness.reference.specification import Mechanism
from attention_harness.registry import mechanisms

Item = frozenset[tuple[str, Any]]
"""Some levels that a case shall have together: (factor, level)."""

_SINGLE = ("lengths", "dtype", "content", "layout")


class Coverage:
    """The items that a tier asks for, by what the mechanisms and the factors are now.

    quick      every level of every factor, every variant, every option of every mechanism
    default    every pair of levels, with the variant as one of the factors
    thorough   every pair of levels within every variant
    """

    def __init__(self, tier: str) -> None:
        self.tier = tier
        self.factors = factors()
        self.variants = {variant.name: variant for variant in variants()}
        self.known = {(name, f): v.levels(f) for name, v in self.variants.items() for f in self.factors}
        self._of_sizes = {name: _levels_by_sizes(variant) for name, variant in self.variants.items()}

    def wanted(self) -> dict[Item, None]:
        """Return the items that some case has to have, in a fixed order."""
        found: dict[Item, None] = {}
        for name in self.variants:
            levels = {factor: self.known[name, factor] for factor in self.factors}
            if self.tier == "quick":
                found |= dict.fromkeys(self._singles(name, levels))
                continue
            if self.tier == "default":
                found |= {frozenset({("variant", name), (f, level)}): None for f in levels for level in levels[f]}
            for (one, some), (other, others) in itertools.combinations(levels.items(), 2):
                for pair in itertools.product(some, others):
                    if self._allowed({one: pair[0], other: pair[1]}):
                        found[self._item(name, ((one, pair[0]), (other, pair[1])))] = None
        return found

    def _singles(self, name: str, levels: Mapping[str, Iterable[Any]]) -> Iterable[Item]:
        yield frozenset({("variant", name)})
        yield from (frozenset({(f, level)}) for f in _SINGLE for level in levels[f])
        yield from (frozenset({(f, form)}) for f in levels if f in OPTIONS for form in levels[f] if form is not None)
        known = self.variants[name].mechanism
        yield from (self._option(known.name, capability) for capability in known.options)

    def _option(self, mechanism: str, capability: str) -> Item:
        return frozenset({("mechanism", mechanism), ("capability", capability)})

    def _item(self, name: str, pair: tuple[tuple[str, Any], ...]) -> Item:
        return frozenset({*pair, ("variant", name)} if self.tier == "thorough" else pair)

    def _allowed(self, levels: Mapping[str, Any]) -> bool:
        both = "lengths" in levels and "dtype" in levels
        return not both or go_together(levels["lengths"], levels["dtype"])

    def levels(self, case: Case) -> dict[str, Any]:
        """Return the levels that a case has; a factor whose level it does not have is left out."""
        name = variant_of(case)
        found: dict[str, Any] = {"variant": name, "dtype": case.dtype, "content": case.content, "layout": case.layout}
        found |= {factor: case.options.get(factor) for factor in self.factors if factor in OPTIONS}
        found |= self._of_sizes[name].get(tuple(sorted(case.sizes.items())), {})
        return {f: level for f, level in found.items() if f == "variant" or level in self.known[name, f]}

    def covered(self, case: Case) -> set[Item]:
        """Return the items that a case has."""
        levels = self.levels(case)
        if self.tier == "quick":
            found = {frozenset({(factor, level)}) for factor, level in levels.items() if level is not None}
            return found | {self._option(case.mechanism, capability) for capability in required(case)}
        name, shown = levels.pop("variant"), shows_weights(case)
        pairs = [pair for pair in itertools.combinations(levels.items(), 2) if shown or _of_lengths(pair)]
        found = {self._item(name, pair) for pair in pairs}
        if self.tier == "default" and self._of_sizes[name].get(tuple(sorted(case.sizes.items()))):  # an anchor is apart
            found |= {frozenset({("variant", name), one}) for one in levels.items() if shown or _of_lengths([one])}
        return found

    def gained(self, name: str, levels: Mapping[str, Any], factor: str, level: Any) -> list[Item]:
        """Return the items that a row of a variant has with one more level, wherever they show."""
        one = (factor, level)
        if self.tier == "quick":
            known = self.variants[name].mechanism.name
            of_option = factor in OPTIONS and level is not None
            return [frozenset({one}), *([self._option(known, OPTIONS[factor].capability(level))] if of_option else [])]
        found = [self._item(name, (one, other)) for other in levels.items()]
        return [*found, frozenset({("variant", name), one})] if self.tier == "default" else found

    def missing(self, cases: Iterable[Case]) -> dict[Item, None]:
        """Return the wanted items that no case has, in a fixed order."""
        left = self.wanted()
        for case in cases:  # one after the other: millions of items at once would keep the garbage collector busy
            for item in self.covered(case):
                left.pop(item, None)
        return left


def shows_weights(case: Case) -> bool:
    """Whether sizes and the options without a tensor let some query see two keys; where nothing is paired, always."""
    return shows(mechanisms()[case.mechanism], case.sizes, case.options)


def shows(known: Mechanism, sizes: Mapping[str, int], options: Mapping[str, Any]) -> bool:
    """Whether some query sees two keys."""
    if not known.scores:
        return True
    queries, keys = (sizes[axis] for axis in known.scores[-2:])
    first, last = interval(options, Place(queries, keys))
    return bool((last - first >= 1).any())


def _of_lengths(pair: Iterable[tuple[str, Any]]) -> bool:
    return any(factor == "lengths" for factor, _ in pair)


def _levels_by_sizes(variant: Variant) -> dict[tuple[tuple[str, int], ...], dict[str, Any]]:
    """Return, for the sizes that a variant's levels make, those levels."""
    found: dict[tuple[tuple[str, int], ...], dict[str, Any]] = {}
    for levels in itertools.product(*(variant.levels(factor) for factor in SIZED)):
        made = dict(zip(SIZED, levels, strict=True))
        found.setdefault(tuple(sorted(variant.sizes(made).items())), made)
    return found
