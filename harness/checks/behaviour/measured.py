"""What does an implementation do where others do otherwise? Each behaviour is measured, and held against what is
declared.

A behaviour is asked once: of one mechanism, in one case, its `anchor`; the problems that tell are made here from that
case. A judgement carries what was found and what is declared. What contradicts a declaration fails; what nothing was
claimed of passes, and is printed as found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from attention_harness.bounds import ErrorBound, error_bounds
from attention_harness.bounds.judge import Judgement, judge
from attention_harness.cases import inputs
from attention_harness.checks.accuracy import to_array
from attention_harness.checks.behaviour.accumulator import answered, format_of, least, precision, sum_precision
from attention_harness.checks.subject import Subject, prepared
from attention_harness.model import time_account
from attention_harness.model.capabilities import FULLY_MASKED_ROWS
from attention_harness.model.case import Case
from attention_harness.model.dtypes import DTYPES
from attention_harness.reference.specification import Mechanism
from attention_harness.registry import Implementation, mechanisms

if TYPE_CHECKING:
    from torch import Tensor

Array = NDArray[np.float64]

NO_CLAIM = "no claim"
_HIDING = {"mask": "full", "bias": "full", "valid_lens": "batch"}
# Lengths and widths at which to ask; the later ones are for kernels that take whole blocks alone. Lq != Lk throughout.
_ANCHORS = (
    {"Lq": 5, "Lk": 7, "L": 5, "P": 7, "D": 16, "Dv": 8},
    {"Lq": 64, "Lk": 128, "L": 64, "P": 128, "D": 64, "Dv": 64},
)
_CALLS, _THREADS = 8, 4


# --- where a behaviour is asked


def anchor(implementation: Implementation) -> Case:
    """Return the case at which the behaviours of an implementation are asked.

    Scaled dot product if it has that, otherwise its first mechanism with a value to weigh, otherwise its first; without
    options, at the first lengths and widths that it takes.
    """
    capabilities = implementation.capabilities
    known = [mechanisms()[name] for name in capabilities.mechanisms]
    known.sort(key=lambda found: (found.name != "scaled_dot_product", not _weighs_directly(found), not found.scores))
    dtype = next(dtype for dtype in DTYPES if dtype in capabilities.dtypes)
    cases = [_plain(known[0], dtype, sizes) for sizes in _ANCHORS]
    return next((case for case in cases if not implementation.refuses(case.on(implementation.device))), cases[0])


def _plain(mechanism: Mechanism, dtype: str, sizes: Mapping[str, int]) -> Case:
    lengths = {
        "B": 2,
        "H": 3,
        "Hk": 3,
        "E": 16,
        "Eq": 18,
        "Ek": 11,
        "Ev": 8,
        "Dq": 16,
        "Dk": 9,
        "A": 19,
        "O": 9,
    } | dict(sizes)
    if "H" in mechanism.settings.values():
        lengths["E"] = lengths["H"] * lengths["D"]
    options = {name: values[0] for name, values in mechanism.choices.items()}
    return Case(mechanism.name, {axis: lengths[axis] for axis in mechanism.axes}, dtype, options)


def _weighs_directly(mechanism: Mechanism) -> bool:
    """Whether the output is the values weighted, with nothing before or after it."""
    value = next((declared for declared in mechanism.inputs if declared.name == "value"), None)
    return bool(mechanism.scores) and value is not None and value.axes[-1] == mechanism.output[-1] == "Dv"


def is_anchor(implementation: Implementation, case: Case) -> bool:
    """Whether the behaviours are asked of the implementation in this case."""
    plain = case.content == "ordinary" and case.layout == "contiguous" and case.seed == 0
    return plain and case.on("cpu") == anchor(implementation)


def can_hide(implementation: Implementation, case: Case) -> bool:
    """Whether there is a way to hide keys."""
    return is_anchor(implementation, case) and bool(_ways(implementation, case, _HIDING))


def has_corner(implementation: Implementation, case: Case) -> bool:
    """Whether causality is declared for a mechanism in which queries and keys differ in number."""
    return is_anchor(implementation, case) and bool(_corners(implementation, case)) and "Lk" in case.sizes


def can_poison(implementation: Implementation, case: Case) -> bool:
    """Whether there is a way to hide keys, and a key that is not a query too."""
    return can_hide(implementation, case) and bool(_key_axes(case))


def has_queries(implementation: Implementation, case: Case) -> bool:
    """Whether a query can be asked without its neighbours."""
    return is_anchor(implementation, case) and "Lq" in case.sizes


def weighs_values(implementation: Implementation, case: Case) -> bool:
    """Whether the output is a weighted sum of the values themselves."""
    return is_anchor(implementation, case) and _weighs_directly(mechanisms()[case.mechanism])


def _ways(implementation: Implementation, case: Case, wanted: Iterable[str]) -> dict[str, Case]:
    """Return the ways to hide keys that the implementation takes: option -> the anchor with it."""
    known = mechanisms()[case.mechanism].options
    found = {way: replace(case, options={**case.options, way: _HIDING[way]}) for way in wanted if way in known}
    return {way: probe for way, probe in found.items() if _takes(implementation, probe)}


def _corners(implementation: Implementation, case: Case) -> dict[str, Case]:
    known = mechanisms()[case.mechanism].options
    found = {
        corner: replace(case, options={**case.options, "causal": corner})
        for corner in ("top_left", "bottom_right")
        if f"causal_{corner}" in known
    }
    return {corner: probe for corner, probe in found.items() if _takes(implementation, probe)}


def _takes(implementation: Implementation, case: Case) -> bool:
    """Whether the implementation answers a case: it neither refuses it nor is known to fail there."""
    return not implementation.refuses(case) and not implementation.known_failure("accuracy", case)


# --- the behaviours


def fully_masked_rows(subject: Subject) -> Judgement:
    """What a query that sees no key gets, by every way to hide keys: zero, NaN, the mean of the values, or other."""
    declared = subject.implementation.capabilities.fully_masked_rows
    found = {}
    for way, case in _ways(subject.implementation, subject.case, _HIDING).items():
        tensors = inputs.tensors(case)
        if way == "mask":
            tensors[way] = tensors[way].new_ones(tensors[way].shape)
            tensors[way][-1] = False
        elif way == "bias":
            tensors[way] = tensors[way].new_zeros(tensors[way].shape)
            tensors[way][-1] = -np.inf
        else:
            tensors[way] = tensors[way].new_full(tensors[way].shape, _keys(case))
            tensors[way][-1] = 0
        output = to_array(_call(subject.implementation, case, tensors))[-1:]
        found[way] = next((word for word in FULLY_MASKED_ROWS if _fits(output, subject, case, tensors, word)), "other")
    contradicted = any(word != declared for word in found.values())
    return _answer(_by_word(found), declared, contradicted)


def causal_corner(subject: Subject) -> Judgement:
    """Which keys a query sees under causality: found by changing one key's value after the other."""
    found = {}
    for corner, case in _corners(subject.implementation, subject.case).items():
        seen = _seen(subject.implementation, case)
        queries, keys = seen.shape
        shapes = {"top_left": np.tri(queries, keys), "bottom_right": np.tri(queries, keys, keys - queries)}
        found[corner] = next((name for name, shape in shapes.items() if np.array_equal(seen, shape > 0)), "neither")
    contradicted = any(corner != word for corner, word in found.items())
    measured = ", ".join(
        word if word == corner else f"{word} where {corner} is asked" for corner, word in found.items()
    )
    return _answer(measured, ", ".join(found), contradicted)


def masked_nan(subject: Subject) -> Judgement:
    """Whether NaN, infinity or a huge number in a hidden key and its value reaches an output or a gradient."""
    implementation, capabilities = subject.implementation, subject.implementation.capabilities
    ways = _ways(implementation, subject.case, _HIDING)
    lengths = subject.case.sizes
    if lengths.get("Lk", 0) > lengths.get("Lq", 0):  # then nobody sees the last key from the top left corner
        corners = _corners(implementation, subject.case)
        ways |= {"causal": corners["top_left"]} if "top_left" in corners else {}
    leaks: dict[str, dict[str, list[str]]] = {way: {"": [], " into a gradient": []} for way in ways}
    for way, case in ways.items():
        tensors = _last_key_hidden(case)
        function = prepared(implementation, case)
        error_bound = _bound(subject, case, tensors, capabilities.fully_masked_rows)
        error_bound = _around_its_own(to_array(answered(function, _copies(tensors))), error_bound)
        for kind, poison in _poisons(case.dtype).items():
            poisoned = _poisoned(case, tensors, poison)
            if judge(to_array(answered(function, poisoned)), error_bound, degenerate=True).reason:
                leaks[way][""].append(kind)
            elif capabilities.gradients and way == next(iter(ways)) and not _finite_gradients(function, poisoned):
                leaks[way][" into a gradient"].append(kind)
    told = {way: [", ".join(kinds) + where for where, kinds in own.items() if kinds] for way, own in leaks.items()}
    words = {way: f"leaks {' and '.join(own)}" if own else "clean" for way, own in told.items()}
    # A finite number behind a mask never matters: that is the contract, and nobody has to declare it.
    kinds = {kind for own in leaks.values() for found in own.values() for kind in found}
    contradicted = bool(kinds if capabilities.poison_safe else kinds & {"huge numbers"})
    return _answer(_by_word(words), "poison_safe" if capabilities.poison_safe else NO_CLAIM, contradicted)


def _around_its_own(clean: Array, error_bound: ErrorBound) -> ErrorBound:
    """Return the error bound around an answer that is wrong without any poison: that is no leak, and others tell it."""
    comparable = clean.shape == error_bound.value.shape and np.isfinite(clean).all()
    wrong = comparable and judge(clean, error_bound, degenerate=True).reason
    return replace(error_bound, value=clean) if wrong else error_bound


def dtype(subject: Subject) -> Judgement:
    """Which dtype comes out for each declared one, and what becomes of a key and a value wider than the query."""
    wrong = []
    for case in _each_dtype(subject):
        got = str(_call(subject.implementation, case, inputs.tensors(case)).dtype).removeprefix("torch.")
        if got != case.dtype:
            wrong.append(f"{got} for {case.dtype}")
    measured = ", ".join(wrong) or "the query's"
    return _answer(measured + _mixed(subject), "the query's", bool(wrong))


def repeatability(subject: Subject) -> Judgement:
    """Whether the same inputs give the same bits, call after call; and with more threads."""
    import torch

    claimed = subject.implementation.capabilities.repeatable
    found = {}
    for case in _bits_cases(subject):
        function = prepared(subject.implementation, case)
        tensors = inputs.tensors(case)
        threads = torch.get_num_threads()
        answers: list[list[Tensor]] = []
        try:
            for count in (threads, _THREADS):
                torch.set_num_threads(count)
                answers.append([answered(function, _copies(tensors)) for _ in range(_CALLS)])
        finally:
            torch.set_num_threads(threads)
        differ = max(_distance(calls[0], other) for calls in answers for other in calls[1:])
        word = f"differs by {_ulps(differ)}" if differ else "the same bits"
        between = _distance(answers[0][0], answers[1][0])
        if between and not differ:
            word += f"; with other threads {_ulps(between)}"
        found[case.dtype] = word
    contradicted = claimed and any(word.startswith("differs") for word in found.values())
    return _answer(_by_word(found), "repeatable" if claimed else NO_CLAIM, contradicted)


def batch_invariance(subject: Subject) -> Judgement:
    """Whether an element of a batch gets the same bits alone as among its neighbours."""
    claimed = subject.implementation.capabilities.batch_invariant
    found = _by_part(subject, "B", {"B": 9}, lambda length: [slice(i, i + 1) for i in range(length)])
    contradicted = claimed and any(word != "the same bits" for word in found.values())
    return _answer(_by_word(found), "batch_invariant" if claimed else NO_CLAIM, contradicted)


def slices(subject: Subject) -> Judgement:
    """Whether some of the queries get the same bits alone as among the others."""
    found = _by_part(subject, "Lq", {}, lambda n: [slice(n // 2, n), slice(0, n // 2), slice(n // 2, n // 2 + 1)])
    return _answer(_by_word(found), NO_CLAIM, False)


def accumulation(subject: Subject) -> Judgement:
    """In which format the weighted sum is added up: the smallest number that it still sees beside a large one."""
    capabilities = subject.implementation.capabilities
    found, loose, contradicted = {}, [], False
    for case in _each_dtype(subject):
        bits, most = sum_precision(subject, case, _larger(subject.implementation, case))
        declared = capabilities.arithmetic.accumulator or case.format.accumulator
        wanted = precision(declared)
        found[case.dtype] = format_of(bits, most)
        contradicted |= bits < min(least(declared), most)
        if bits > wanted + 1 and capabilities.arithmetic.accumulator:
            loose.append(f"declares {declared}, does {found[case.dtype]}: its error bound is looser than it needs")
    measured = "; ".join([_by_word(found), *dict.fromkeys(loose)])
    return _answer(measured, capabilities.arithmetic.accumulator or "float32, float64 for float64", contradicted)


# --- what they share


def _larger(implementation: Implementation, case: Case) -> Case:
    """Return the case with many batch elements and keys, if the implementation takes them."""
    larger = replace(case, sizes={**case.sizes, "B": 64, "Lk": 256})
    return larger if _takes(implementation, larger) else case


def _answer(measured: str, declared: str, contradicted: bool) -> Judgement:
    if contradicted:
        return replace(Judgement.refuse(f"does: {measured}; declares: {declared}"), finding=measured, declared=declared)
    return Judgement(0.0, finding=measured, declared=declared)


def _by_word(found: Mapping[str, str]) -> str:
    """Return what was found where: one word where it is the same everywhere."""
    grouped: dict[str, list[str]] = {}
    for where, word in found.items():
        grouped.setdefault(word, []).append(where)
    if len(grouped) == 1:
        return next(iter(grouped))
    return "; ".join(f"{word} ({', '.join(places)})" for word, places in grouped.items()) or "nothing to ask"


def _call(implementation: Implementation, case: Case, tensors: Mapping[str, Tensor]) -> Tensor:
    return answered(prepared(implementation, case), tensors)


def _copies(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in tensors.items()}


def _bound(subject: Subject, case: Case, tensors: Mapping[str, Tensor], empty: str) -> ErrorBound:
    """Return the error bound of the output for tensors of one's own."""
    mechanism = mechanisms()[case.mechanism]
    given = inputs.exact(tensors)
    declared = {own.name: given.pop(own.name) for own in mechanism.inputs}
    options = given | inputs.arguments(case) | ({"fully_masked_rows": empty} if mechanism.scores else {})
    arithmetic = subject.implementation.capabilities.arithmetic
    with time_account.spent(time_account.REFERENCE):
        return error_bounds(mechanism.evaluate, declared, options, case.dtype, arithmetic)[0]


def _fits(rows: Array, subject: Subject, case: Case, tensors: Mapping[str, Tensor], word: str) -> bool:
    """Whether the rows of the last batch element are what this policy makes of them."""
    error_bound = _bound(subject, case, tensors, word)
    last = ErrorBound(error_bound.value[-1:], error_bound.bound[-1:], error_bound.deviation[-1:], None, None)
    return not judge(rows, last).reason


def _keys(case: Case) -> int:
    return inputs.shape_of(mechanisms()[case.mechanism].scores, case.sizes)[-1]


def _key_axes(case: Case) -> dict[str, int]:
    """Return the tensors that hold something of a key which is not a query too: name -> axis of the keys."""
    return {
        declared.name: declared.axes.index(letter)
        for declared in mechanisms()[case.mechanism].inputs
        for letter in ("Lk", "P")
        if letter in declared.axes
    }


def _last_key_hidden(case: Case) -> dict[str, Tensor]:
    """Return the tensors of the case; the last key is hidden from every query, and no other one."""
    tensors = inputs.tensors(case)
    if "mask" in tensors:
        tensors["mask"] = tensors["mask"].new_ones(tensors["mask"].shape)
        tensors["mask"][..., -1] = False
    if "bias" in tensors:
        tensors["bias"] = tensors["bias"].new_zeros(tensors["bias"].shape)
        tensors["bias"][..., -1] = -np.inf
    if "valid_lens" in tensors:
        tensors["valid_lens"] = tensors["valid_lens"].new_full(tensors["valid_lens"].shape, _keys(case) - 1)
    return tensors


def _poisons(dtype: str) -> dict[str, float]:
    """Return what is put where nobody may look; the largest that no product of two takes out of the format's range."""

    return {"NaN": np.nan, "infinity": np.inf, "huge numbers": DTYPES[dtype].largest ** 0.5 / 16}


def _poisoned(case: Case, tensors: Mapping[str, Tensor], poison: float) -> dict[str, Tensor]:
    poisoned = _copies(tensors)
    for name, axis in _key_axes(case).items():
        poisoned[name].select(axis, -1).fill_(poison)
    return poisoned


def _finite_gradients(function: Callable[..., Any], tensors: Mapping[str, Tensor]) -> bool:
    import torch

    with torch.enable_grad():
        given = {
            n: x.detach().requires_grad_(x.is_floating_point() and n != "bias") for n, x in _copies(tensors).items()
        }
        result = function(**given)
        output = result[0] if isinstance(result, tuple) else result
        with time_account.spent(time_account.IMPLEMENTATION):
            output.square().sum().backward()
    gradients = [x.grad for x in given.values() if x.grad is not None]
    return bool(gradients) and all(bool(gradient.isfinite().all()) for gradient in gradients)


def _seen(implementation: Implementation, case: Case) -> NDArray[np.bool_]:
    """Return (queries, keys): whether the output of a query changes with what the key fetches."""
    tensors, function = inputs.tensors(case), prepared(implementation, case)
    axes = _key_axes(case)
    changed = {name: axes[name] for name in axes if name == "value"} or axes
    row = mechanisms()[case.mechanism].output.index("Lq")
    before = to_array(answered(function, tensors))
    columns = []
    for key in range(_keys(case)):
        other = _copies(tensors)
        for name, axis in changed.items():
            other[name].select(axis, key).add_(8.0)
        differs = ~np.isclose(to_array(answered(function, other)), before, rtol=0, atol=0, equal_nan=True)
        columns.append(differs.any(axis=tuple(i for i in range(differs.ndim) if i != row)))
    return np.stack(columns, -1)


def _each_dtype(subject: Subject) -> list[Case]:
    """Return the anchor in every declared dtype that the implementation takes there."""
    found = [replace(subject.case, dtype=dtype) for dtype in subject.implementation.capabilities.dtypes]
    return [case for case in found if _takes(subject.implementation, case)]


def _bits_cases(subject: Subject) -> list[Case]:
    """Return the anchor, and the first half precision beside it: kernels differ by dtype, and compiling takes long."""
    half = [case for case in _each_dtype(subject) if not case.format.single]
    return list(dict.fromkeys([subject.case, *half[:1]]))


def _mixed(subject: Subject) -> str:
    """Return what a query of one dtype does with keys and values of a wider one: outside the contract, so told alone.

    Never a narrower one: a kernel that reads raw memory would read beyond its end.
    """
    import torch

    more = [record for record in DTYPES.values() if record.bits > subject.case.format.bits]
    wider = min(more, key=lambda record: record.bits) if more else None
    tensors = inputs.tensors(subject.case)
    others = [declared.name for declared in mechanisms()[subject.case.mechanism].inputs[1:]]
    if wider is None or not others:
        return ""
    tensors |= {name: tensors[name].to(getattr(torch, wider.torch)) for name in others}
    try:
        got = str(answered(subject.callable, tensors).dtype).removeprefix("torch.")
    except (Exception, SystemExit) as error:
        got = f"raises {type(error).__name__}"
    return f"; beside {wider.name} keys and values: {got}"


def _by_part(
    subject: Subject, letter: str, sizes: Mapping[str, int], cut: Callable[[int], list[slice]]
) -> dict[str, str]:
    """Return by dtype how far parts along an axis, each computed alone, are from the same parts of the whole."""
    mechanism, found = mechanisms()[subject.case.mechanism], {}
    along = {own.name: own.axes.index(letter) for own in mechanism.inputs if letter in own.axes}
    place = mechanism.output.index(letter)
    for case in _bits_cases(subject):
        larger = replace(case, sizes={**case.sizes, **sizes})
        larger = larger if _takes(subject.implementation, larger) else case
        function, tensors = prepared(subject.implementation, case), inputs.tensors(larger)
        whole, worst = answered(function, tensors), 0.0
        for part in cut(larger.sizes[letter]):
            length = part.stop - part.start
            alone = {
                name: x.narrow(along[name], part.start, length).clone() if name in along else x
                for name, x in tensors.items()
            }
            worst = max(worst, _distance(answered(function, alone), whole.narrow(place, part.start, length)))
        found[case.dtype] = f"differs by {_ulps(worst)}" if worst else "the same bits"
    return found


def _distance(one: Tensor, other: Tensor) -> float:
    """Return the largest difference in units in the last place of the row's largest element; inf for NaN or a shape."""
    if one.shape != other.shape or one.dtype != other.dtype:
        return np.inf
    a, b = to_array(one), to_array(other)
    if np.array_equal(a, b, equal_nan=True) and np.array_equal(np.signbit(a), np.signbit(b)):
        return 0.0
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return np.inf
    form = DTYPES[str(one.dtype).removeprefix("torch.")]
    largest = np.maximum(np.maximum(np.abs(a), np.abs(b)).max(-1, keepdims=True), form.smallest)
    units = 2 * form.roundoff * 2.0 ** np.floor(np.log2(largest))
    return float((np.abs(a - b) / units).max()) or np.finfo(np.float64).tiny  # the sign of a zero


def _ulps(units: float) -> str:
    if not np.isfinite(units):
        return "more than rounding"
    return f"{units:.2g} units in the last place" if units >= 0.01 else "less than 0.01 units in the last place"


BEHAVIOURS = (
    ("fully_masked_rows", fully_masked_rows, can_hide),
    ("causal_corner", causal_corner, has_corner),
    ("masked_nan", masked_nan, can_poison),
    ("dtype", dtype, is_anchor),
    ("repeatability", repeatability, is_anchor),
    ("batch_invariance", batch_invariance, is_anchor),
    ("slices", slices, has_queries),
    ("accumulation", accumulation, weighs_values),
)
"""Name, question, whether it is asked; the checks are called `behaviour.NAME`."""
