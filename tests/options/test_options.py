"""Every option says all that the machinery asks of it, and says it consistently."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import attention_harness.options
from attention_harness.cases import inputs
from attention_harness.cases.ids import parse
from attention_harness.cases.space import variants
from attention_harness.checks import CHECKS
from attention_harness.model.case import Case
from attention_harness.options import OPTIONS, Place, capabilities, cut, interval, required, visible_pairs
from attention_harness.reference.core import visible_keys, visible_weights
from attention_harness.registry import mechanisms

FORMS = [(option, form) for option in OPTIONS.values() for form in (*option.forms, *option.more_forms)]
IDS = [f"{option.name}={form}" for option, form in FORMS]
WIDE = next(variant for variant in variants() if variant.mechanism.name == "scaled_dot_product")
STATIC = [option for option in OPTIONS.values() if option.interval is not None and option.tensor is None]


def case_with(option, form) -> Case:
    """Return a plain case of the first mechanism that takes the form."""
    takes = next(one for one in variants() if option.capability(form) in one.mechanism.options)
    return replace(takes.plain(), options={**takes.choices, option.name: form})


def test_the_folder_is_the_list():
    """Each file declares the option of its name, and no other."""
    files = Path(attention_harness.options.__path__[0]).glob("[!_]*.py")
    assert {path.stem for path in files} - {"option"} == set(OPTIONS) == {option.name for option in OPTIONS.values()}
    assert len(set(capabilities())) == len(capabilities())


@pytest.mark.parametrize(("option", "form"), FORMS, ids=IDS)
def test_a_form_is_spelt_parsed_and_required(option, form):
    """An id with the form comes back as the same case, which needs one of the option's capabilities."""
    assert option.accepts(form)
    assert option.capability(form) in option.capabilities
    case = case_with(option, form)
    assert case == parse(case.id)
    assert dict(case.options) == dict(parse(case.id).options)
    assert (option.capability(form),) == required(case)


def test_what_is_no_form_is_not_accepted():
    """Another word, a number out of range and a tuple of the wrong length are refused."""
    for option in OPTIONS.values():
        assert not any(option.accepts(form) for form in ("nonsense", float("nan"), (1, 2, 3), None))


def test_grouped_heads_show_in_the_sizes():
    """Fewer key heads than heads need the capability; no option stands in the id."""
    sizes = {"B": 1, "H": 4, "Hk": 2, "Lq": 2, "Lk": 3, "D": 4, "Dv": 4}
    assert required(Case("cosine", sizes)) == ("grouped_heads",)
    assert required(Case("cosine", sizes | {"Hk": 4})) == ()
    assert required(Case("additive", {"B": 1, "H": 4})) == ()


def test_the_relations_that_an_option_breaks_exist():
    """Each is the name of a relation."""
    names = {check.name.removeprefix("relation.") for check in CHECKS}
    assert set() == set().union(*(option.breaks for option in OPTIONS.values())) - names


@pytest.mark.parametrize(("option", "form"), FORMS, ids=IDS)
def test_a_tensor_has_the_axes_that_it_declares(option, form):
    """It broadcasts to the scores, or is a parameter of one number; what is no tensor is an argument."""
    case = case_with(option, form)
    if not option.in_formula:
        assert option.name not in inputs.tensors(case) | inputs.arguments(case)
        return
    tensor = option.brings(form)
    assert (option.name in inputs.tensors(case)) == (tensor is not None)
    assert (option.name in inputs.arguments(case)) == (tensor is None)
    if tensor is not None:
        assert tuple(inputs.tensors(case)[option.name].shape) == inputs.option_shapes(case)[option.name]


STATICS = [
    dict(zip([option.name for option in STATIC], forms, strict=True))
    for forms in itertools.product(*((None, *option.forms) for option in STATIC))
]
CONDITIONS = [
    {option.name: form}
    for option, form in FORMS
    if option.hides and option.tensor is not None and not option.lacks(form, ("B", "H", "Lq", "Lk"))
]


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    queries=st.integers(1, 9),
    keys=st.integers(1, 9),
    static=st.sampled_from(STATICS),
    condition=st.sampled_from([{}, *CONDITIONS]),
    data=st.data(),
)
def test_a_block_of_queries_sees_what_its_rows_see(queries, keys, static, condition, data):
    """Cut to any rows, the options show exactly the keys that they show those rows of the whole."""
    start = data.draw(st.integers(0, queries - 1))
    rows = slice(start, data.draw(st.integers(start + 1, queries)))
    options = {name: form for name, form in static.items() if form is not None} | condition
    case = WIDE.plain()
    case = replace(case, sizes={**case.sizes, "Lq": queries, "Lk": keys}, options=options)
    values = inputs.option_values(case, inputs.exact(inputs.tensors(case)))
    shape = tuple(case.sizes[axis] for axis in ("B", "H", "Lq", "Lk"))
    whole = visible_keys(shape, **values)
    place = Place(queries, keys, rows)
    part = (*shape[:2], rows.stop - rows.start, keys)
    np.testing.assert_array_equal(whole[..., rows, :], visible_keys(part, place=place, **cut(values, place)))


@pytest.mark.parametrize("options", STATICS, ids=str)
@pytest.mark.parametrize(("queries", "keys"), [(5, 7), (7, 5), (1, 9), (9, 1), (6, 6), (0, 3), (3, 0)])
def test_visible_pairs_are_counted(options, queries, keys):
    """Without a tensor: as many as `visible_keys` shows, one after the other."""
    shown = visible_keys((1, queries, keys), **options)
    assert int(shown.sum()) == visible_pairs(options, queries, keys)
    first, last = interval(options, Place(queries, keys))
    assert [row.sum() for row in shown[0]] == [max(n, 0) for n in (last - first + 1)[:, 0].tolist()]


def test_every_mechanism_takes_what_its_group_takes():
    """A mechanism with scores of pairs takes every option that acts there."""
    for known in mechanisms().values():
        assert set(known.options) <= set(capabilities()), known.name


@pytest.mark.parametrize(("queries", "keys"), [(5, 7), (7, 5), (1, 9), (6, 6)])
@pytest.mark.parametrize("corner", [None, "top_left", "bottom_right"])
@pytest.mark.parametrize("window", [(2, 1), (1, 3), (0, 0), (9, 0)])
def test_a_window_counts_from_the_query_s_own_place(queries, keys, corner, window):
    """From i - l to i + r, both seen, where i is counted from the corner; causality hides what comes after it."""
    shown = visible_keys((1, queries, keys), window=window, causal=corner)[0]
    for i, j in itertools.product(range(queries), range(keys)):
        place = i + keys - queries if corner == "bottom_right" else i
        expected = place - window[0] <= j <= place + window[1] and (corner is None or j <= place)
        assert expected == shown[i, j], (i, j)


def test_a_softcap_stands_behind_the_scale_and_before_the_bias():
    """The capped scores are c tanh(s / c), and the bias is added to them."""
    scores, bias = np.array([[[3.0, -1.0, 0.25]]]), np.array([[[0.0, 2.0, -np.inf]]])
    capped = 1.5 * np.tanh(scores / 1.5) + np.array([0.0, 2.0, 0.0])
    expected = np.exp(capped[..., :2]) / np.exp(capped[..., :2]).sum(-1, keepdims=True)
    found = visible_weights(scores, bias=bias, softcap=1.5)
    np.testing.assert_allclose(found[..., :2], expected, rtol=1e-15)
    assert found[0, 0, 2] == 0
