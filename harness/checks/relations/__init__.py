"""The relations of attention: what its mathematics promises of every implementation, asked without an oracle.

A relation changes a problem in a way that must not change the answer, or must change it in a known way, and compares
the
implementation with itself or with its own inputs. The reference's values play no part: of `bounds` only the
bounds are used, of the changed problem's own numbers. Two answers that the mathematics makes equal may differ by the
sum of their bounds, element by element. So a mistake in a reference's formula, which accuracy would follow, does not
hide here, and a relation that fails says in words what is wrong.

`holds` says where a relation is true and can be asked; `asked` where the suite asks it, since many cases would say the
same
again. Cases drawn at random (tests/checks/relations) have seeds from `DRAWN` on: there every relation that holds is
asked, so that the
case's id alone replays a failure.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from attention_harness.bounds.judge import Judgement
from attention_harness.cases.inputs import DISTRIBUTIONS
from attention_harness.checks.relations import identities, order, values, visibility
from attention_harness.checks.relations.problem import OutOfRange, WrongForm
from attention_harness.checks.subject import Subject
from attention_harness.model.case import Case
from attention_harness.registry import Implementation

__all__ = ["DRAWN", "RELATIONS", "OutOfRange", "Relation"]

Ask = Callable[[Subject], Judgement]
Holds = Callable[[Implementation, Case], bool]

DRAWN = 1_000_000  # the covering arrays number their cases, far below

_LENGTHS = ("B", "Lq", "Lk", "L", "P")


@dataclass(frozen=True, slots=True)
class Relation:
    """A named relation.

    holds   whether it is true of a case, and the implementation takes what the relation makes of the case
    asked   whether the suite asks it there
    """

    name: str
    ask: Ask
    holds: Holds
    asked: Holds


def _relation(
    ask: Ask,
    holds: Callable[[Case], bool] | Holds,
    asked: Callable[[Case], bool],
    *others: Callable[[Case], Case],
) -> Relation:
    """Return the relation of a function. others: the cases that it asks beside the subject's own, of other sizes."""

    @functools.wraps(ask)
    def judged(subject: Subject) -> Judgement:
        try:
            return ask(subject)
        except WrongForm as error:
            return Judgement.refuse(str(error))

    def true(implementation: Implementation, case: Case) -> bool:
        if case.content not in DISTRIBUTIONS or case.layout == "expanded" or not _true(holds, implementation, case):
            return False
        return not any(implementation.refuses(other(case)) for other in others)

    def both(implementation: Implementation, case: Case) -> bool:
        return (case.seed >= DRAWN or asked(case)) and true(implementation, case)

    return Relation(f"relation.{ask.__name__}", judged, true, both)


def _true(holds: Callable[..., bool], implementation: Implementation, case: Case) -> bool:
    return holds(implementation, case) if holds.__code__.co_argcount == 2 else holds(case)


# --- where the suite asks: functions of the case alone


def _precise(case: Case) -> bool:
    """A logical relation needs no half precision, and dropout has a check of its own."""
    return case.format.single and "dropout" not in case.options


def _lengths(case: Case) -> list[int]:
    return [case.sizes[axis] for axis in _LENGTHS if axis in case.sizes]


def _simple(case: Case) -> bool:
    """Ordinary numbers side by side in memory, no length below 2, none beyond 9."""
    ordinary = case.content == "ordinary" and case.layout == "contiguous"
    return _precise(case) and ordinary and 2 <= min(_lengths(case)) and max(_lengths(case)) <= 9


def _plain(case: Case) -> bool:
    """Simple, and without conditions."""
    return _simple(case) and not {"mask", "bias", "valid_lens", "causal", "scale"} & set(case.options)


def _plain_float32(case: Case) -> bool:
    """Plain in float32: for relations that need the implementation prepared anew, which takes seconds."""
    return _plain(case) and case.dtype == "float32"


def _conditional(case: Case) -> bool:
    """With a condition on what is seen; any content, since such cases are few."""
    return _precise(case) and min(_lengths(case)) > 1


def _conditional_float32(case: Case) -> bool:
    """The same in float32: for relations that need the implementation compiled anew."""
    return _conditional(case) and case.dtype == "float32"


def _biased(case: Case) -> bool:
    """With a bias, or plain where what is shifted is something else."""
    return _plain(case) or (_conditional(case) and "bias" in case.options)


def _any(case: Case) -> bool:
    return _precise(case)


RELATIONS: tuple[Relation, ...] = (
    _relation(order.permuted_keys, order.has_unordered_keys, _plain),
    _relation(order.permuted_queries, order.has_unordered_queries, _plain),
    _relation(order.permuted_heads, order.has_heads, _plain),
    _relation(order.batch_alone, order.has_batch, _plain_float32),
    _relation(order.grouped_heads, order.has_groups, _conditional_float32, order.without_groups),
    _relation(visibility.added_keys, visibility.can_add_keys, _conditional, visibility.with_more_keys),
    _relation(visibility.masked_content, visibility.can_hide_keys, _conditional),
    _relation(visibility.shifted_scores, visibility.can_shift_scores, _biased),
    _relation(visibility.split_and_merged, visibility.can_split, _plain),
    _relation(visibility.causal_future, visibility.has_future, _conditional),
    _relation(visibility.causal_gradient, visibility.has_future_gradient, _conditional_float32),
    _relation(values.linear_in_values, values.is_linear, _plain),
    _relation(values.hull, values.fetches, _plain),
    _relation(values.one_key, values.sees_one_key, _any),
    _relation(values.equal_keys, values.has_keys, _plain),
    _relation(values.sharp_scores, values.can_be_sharp, _simple),
    _relation(values.zero_values, values.is_linear, _plain),
    _relation(identities.cosine_scaling, identities.is_cosine, _plain),
    _relation(identities.gaussian_translation, identities.is_gaussian, _plain),
    _relation(
        identities.one_head,
        identities.is_multi_head,
        _plain_float32,
        identities.plain_case,
        identities.one_head_case,
    ),
    _relation(identities.position_distance, identities.has_positions, _simple),
    _relation(
        identities.cross_with_itself,
        identities.is_cross,
        _plain_float32,
        identities.self_case,
        identities.with_itself_case,
    ),
)

BY_NAME: Mapping[str, Relation] = {relation.name: relation for relation in RELATIONS}
