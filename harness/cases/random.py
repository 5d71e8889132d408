"""Cases drawn at random beyond the matrix: a Hypothesis strategy, valid by construction, that shrinks to simple cases.

Case k of a seed is a function of the seed, k and the strategy: a longer run begins with the cases of a shorter one, and
a case is shrunk from its number alone. Choices stand with the simplest first, since Hypothesis shrinks towards it.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Collection, Iterable, Sequence

from hypothesis import HealthCheck, Phase, Verbosity, find, settings
from hypothesis import strategies as st
from hypothesis.errors import NoSuchExample
from hypothesis.strategies import DrawFn, SearchStrategy

from attention_harness.cases.distributions import DISTRIBUTIONS
from attention_harness.cases.layouts import LAYOUTS
from attention_harness.cases.space import MAY_BE_EMPTY, Variant, variants
from attention_harness.model.capabilities import Capabilities
from attention_harness.model.case import Case
from attention_harness.model.dtypes import DTYPES
from attention_harness.options import OPTIONS, capabilities

Strategy = SearchStrategy[Case]

_COUNTS, _MOST = ("B", "H", "Hk"), 4
_BORDERS = (15, 16, 17, 31, 32, 33, 63, 64, 65)  # both sides of the blocks that kernels work in
_SMALL, _LONGEST, _LONGEST_HALF, _LONGEST_TRAINING = 9, 70, 33, 6
_RARE = 24  # one case in so many has an empty axis, or an option that is judged over many calls
_NUMBERS = 10**6


def cases_of(declarations: Iterable[Capabilities] = (), mechanisms: Collection[str] = ()) -> Strategy:
    """Return the strategy of cases that one of these declares, of the named mechanisms alone if any is named.

    declarations: of implementations; none for all that the harness knows
    """
    declared = list(dict.fromkeys(declarations)) or [_everything()]
    pairs = [
        (one, variant)
        for one in declared
        for variant in variants()
        if variant.mechanism.name in one.mechanisms and (not mechanisms or variant.mechanism.name in mechanisms)
    ]
    return _cases_of(pairs) if pairs else st.nothing()


def draw(strategy: Strategy, seed: int, k: int) -> Case:
    """Return case k of a seed."""
    drawn: list[Case] = []

    def keep(case: Case) -> bool:
        drawn.append(case)
        return False

    with contextlib.suppress(NoSuchExample):
        find(strategy, keep, settings=_settings(Phase.generate), random=_dice(seed, k))
    return drawn[-1]


def smallest(strategy: Strategy, seed: int, k: int, fails: Callable[[Case], bool]) -> Case | None:
    """Return the simplest case found that fails, beginning with case k of a seed; None if that one does not fail.

    fails: must answer alike for the same case
    """
    try:
        return find(strategy, fails, settings=_settings(Phase.generate, Phase.shrink), random=_dice(seed, k))
    except NoSuchExample:
        return None


def _settings(*phases: Phase) -> settings:
    return settings(
        phases=phases,
        max_examples=2,  # the first is the simplest case, whatever the seed
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        verbosity=Verbosity.quiet,
    )


def _dice(seed: int, k: int) -> random.Random:
    return random.Random(f"{seed}|{k}")


def _everything() -> Capabilities:
    names = tuple(dict.fromkeys(variant.mechanism.name for variant in variants()))
    return Capabilities(mechanisms=names, dtypes=tuple(DTYPES), options=capabilities())


@st.composite
def _cases_of(draw: DrawFn, pairs: Sequence[tuple[Capabilities, Variant]]) -> Case:
    # Hypothesis makes the second example differ from the simplest one in the first choice. This one decides nothing.
    draw(st.integers(0, _NUMBERS))
    return draw(_cases(*draw(st.sampled_from(pairs))))


@st.composite
def _cases(draw: DrawFn, declared: Capabilities, variant: Variant) -> Case:
    dtype = draw(st.sampled_from([name for name in DTYPES if name in declared.dtypes]))
    options = dict(variant.choices)
    longest = _LONGEST if DTYPES[dtype].single else _LONGEST_HALF
    for option in OPTIONS.values():
        forms = [
            form
            for form in (*option.forms, *option.more_forms)
            if variant.takes(option.name, form) and option.capability(form) in declared.options
        ]
        absent = (_RARE - 1 if option.training else 2) * len(forms)
        if forms and (form := draw(st.sampled_from((*[None] * absent, *forms)))) is not None:
            options[option.name] = form
            longest = _LONGEST_TRAINING if option.training else longest
    sizes = _sizes(draw, declared, variant, longest)
    content = draw(st.sampled_from(_often_first(DISTRIBUTIONS, 3)))
    layout = draw(st.sampled_from(_often_first(LAYOUTS, 2)))
    number = draw(st.integers(0, _NUMBERS))
    return Case(variant.mechanism.name, sizes, dtype, options, content, layout, number)


def _often_first(names: Iterable[str], one_in: int) -> list[str]:
    """Return the names, the first so often that it is one in so many of them."""
    first, *others = names
    return [first] * max(1, round(len(others) / (one_in - 1))) + others


def _sizes(draw: DrawFn, declared: Capabilities, variant: Variant, longest: int) -> dict[str, int]:
    """Return a length for every axis: mostly small, often at the border of a block, rarely none."""
    mechanism = variant.mechanism
    sizes = {
        axis: draw(st.integers(1, _MOST)) if axis in _COUNTS else draw(_lengths(longest)) for axis in mechanism.axes
    }
    for whole, part in mechanism.requires:
        grouped = sizes | {whole: sizes[part] * draw(st.integers(1, 3))}
        needed = set(_of_sizes(grouped))
        sizes = grouped if needed <= {*mechanism.options} & {*declared.options} else {**sizes, whole: sizes[part]}
    if draw(st.integers(0, _RARE - 1)) == _RARE - 1:
        sizes[draw(st.sampled_from([axis for axis in sizes if axis in MAY_BE_EMPTY]))] = 0
    return sizes


def _of_sizes(sizes: dict[str, int]) -> list[str]:
    """Return the capabilities that the sizes alone ask for."""
    return [
        name
        for option in OPTIONS.values()
        if option.of_sizes is not None and option.of_sizes(sizes)
        for name in option.capabilities
    ]


def _lengths(longest: int) -> SearchStrategy[int]:
    """Return the strategy of a length: half are small, a fifth lies at a border. It is one choice, to shrink alone."""
    weights = {length: 8 if length <= _SMALL else 4 if length in _BORDERS else 1 for length in range(1, longest + 1)}
    return st.sampled_from([length for length, weight in weights.items() for _ in range(weight)])
