"""Other people's tests as judges of ours: ONNX's node cases against the oracle and against every implementation.

What upstream expects was computed by NumPy in the case's own dtype: it is judged against the oracle as an
implementation's answer is. Implementations are then given the node's tensors, and judged the same way.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec import structs

from attention_harness import registry, store
from attention_harness.bounds import ErrorBound, error_bounds
from attention_harness.bounds.judge import Judgement, judge
from attention_harness.cases import inputs
from attention_harness.cases.parts import parts_of, split
from attention_harness.checks.form import to_array, wrong_form
from attention_harness.execution import machine
from attention_harness.implementations import eager
from attention_harness.model.capabilities import Arithmetic, Capabilities
from attention_harness.model.case import Case
from attention_harness.model.node_cases import NodeCase
from attention_harness.model.run_facts import RunFacts
from attention_harness.model.verdict import Status
from attention_harness.options import required
from attention_harness.registry import Implementation, mechanisms
from attention_harness.store.layout import NODE_CASES

pytest.importorskip("onnx")

from tests.conformance.covering import covering
from tests.conformance.upstream.onnx_nodes import Expressed, NotExpressible, expressed, nodes
from tests.conftest import DEEP, ROOT, shell

# Upstream multiplies query and key by the root of the scale before they meet.
UPSTREAM = Arithmetic(scaled_inputs=True)


EXPRESSED: dict[str, Expressed] = {}
LEFT_OUT: dict[str, str] = {}
for _name, _one in nodes().items():
    try:
        EXPRESSED[_name] = expressed(_one)
    except NotExpressible as _why:
        LEFT_OUT[_name] = str(_why)


def bounds_of(
    told: Expressed, arithmetic: Arithmetic, fully_masked_rows: str = "zero"
) -> tuple[ErrorBound, ErrorBound | None]:
    """Return the error bounds of output and weights around the oracle on the node's tensors."""
    known = mechanisms()[told.case.mechanism]
    exact = {name: x if x.dtype.kind in "bi" else x.astype(np.float64) for name, x in told.tensors.items()}
    tensors = {declared.name: exact.pop(declared.name) for declared in known.inputs}
    options = exact | inputs.arguments(told.case)
    options |= {"fully_masked_rows": fully_masked_rows} if known.scores else {}
    return error_bounds(known.evaluate, tensors, options, told.case.dtype, arithmetic)


def assert_expected(told: Expressed) -> None:
    """Assert that what upstream expects lies within the oracle's error bound."""
    error_bound = dict(zip(("output", "weights"), bounds_of(told, UPSTREAM), strict=True))
    for name, array in told.expected.items():
        judgement = judge(array.astype(np.float64), error_bound[name])
        assert judgement.error_ratio <= 1, f"{told.case.id}: {name}: {judgement.reason} at {judgement.where}"


def answer(implementation: Implementation, told: Expressed, error_bound: ErrorBound) -> Judgement:
    """Return the judgement of an implementation's output on the node's tensors."""
    import torch

    def tensor(x: np.ndarray) -> torch.Tensor:
        if x.dtype.kind in "bi":
            return torch.from_numpy(x.copy())
        return torch.from_numpy(x.astype(np.float32)).to(getattr(torch, told.case.dtype))

    with torch.no_grad():
        tensors = {name: tensor(x) for name, x in told.tensors.items()}
        result = implementation.prepare(told.case)(**split(told.case, tensors, parts_of(told.case, tensors)))
    output = result[0] if isinstance(result, tuple) else result
    form = wrong_form(output, told.case, error_bound.value.shape, "output")
    return Judgement.refuse(form) if form else judge(to_array(output), error_bound)


def judged(implementation: Implementation, name: str) -> NodeCase:
    """Return what became of a node case in an implementation that takes it."""
    told, about = EXPRESSED[name], (name, nodes()[name].operator, implementation.name)
    known = implementation.known_failure("accuracy", told.case)
    declared = implementation.capabilities
    error_bound, _ = bounds_of(told, declared.arithmetic, declared.policy)
    try:
        reason, status = answer(implementation, told, error_bound).reason, Status.FAIL
    except Exception as error:
        first, *_ = str(error).splitlines() or [""]
        reason, status = f"{type(error).__name__}: {first}", Status.ERROR
    if known:
        stale = f"passes, although declared a known failure: {known}; remove the entry"
        return NodeCase(*about, *((Status.KNOWN_FAILURE, known) if reason else (Status.UNEXPECTED_PASS, stale)))
    return NodeCase(*about, status if reason else Status.PASS, reason)


def table(found: list[NodeCase]) -> list[NodeCase]:
    """Return a row for each node case in each implementation of its mechanism: what was found, and the others."""
    have = {(one.name, one.implementation): one for one in found}
    rows = [NodeCase(name, nodes()[name].operator, "", Status.UNSUPPORTED, why) for name, why in LEFT_OUT.items()]
    for implementation, (name, told) in itertools.product(registry.select([]), EXPRESSED.items()):
        if told.case.mechanism in implementation.capabilities.mechanisms:
            there = have.get((name, implementation.name))
            about = (name, nodes()[name].operator, implementation.name)
            rows.append(there or NodeCase(*about, *_not_judged(implementation, told)))
    return rows


def _not_judged(implementation: Implementation, told: Expressed) -> tuple[Status, str]:
    """Return why an implementation has no answer to a node case."""
    if absent := implementation.unavailable():
        return Status.UNAVAILABLE, absent
    if refused := implementation.refuses(told.case):
        return Status.UNSUPPORTED, refused.partition(" (declares ")[0]  # the list of what it does declare is long
    if implementation.capabilities.builds:
        return Status.NOT_ASKED, "each is a build of seconds: a few of each mechanism and dtype are asked"
    return Status.NOT_ASKED, "this run was of some tests alone"


@pytest.fixture(scope="session")
def node_cases(request: pytest.FixtureRequest) -> Iterator[list[NodeCase]]:
    """Return a list for what was judged; with `--node-cases DIR` the table is kept there when the tests have ended."""
    found: list[NodeCase] = []
    yield found
    if out := request.config.getoption("--node-cases"):
        if hasattr(request.config, "workerinput"):
            raise pytest.UsageError("--node-cases needs one process: each of several has a part. Leave out -n")
        command = f"python -m pytest {Path(__file__).relative_to(ROOT)} --node-cases DIR"
        facts = RunFacts(command=command, planned=0, environment=machine.environment(), tier="node cases")
        facts = structs.replace(facts, started=store.now(), finished=store.now())
        with store.Writer.start(Path(out), facts) as writer:
            writer.write(NODE_CASES, table(found))


def _asked(built: bool = True) -> list[Any]:
    """Return (implementation, node case): all of them; of what is built for each, few with each mechanism and dtype.

    built: or of these one alone, which plain tox asks
    """
    found = []
    for implementation in registry.select([]):
        if implementation.unavailable():
            continue
        taken = {name: told.case for name, told in EXPRESSED.items() if not implementation.refuses(told.case)}
        facts = {name: (case.mechanism, case.dtype) for name, case in taken.items()}
        names = covering(facts)[: None if built else 1] if implementation.capabilities.builds else list(taken)
        found += [pytest.param(implementation, name, id=f"{implementation.name}:{name}") for name in names]
    return found


# --- the mapping


def test_every_node_case_is_expressed():
    """Nothing is skipped silently; an attribute that the mapping does not know raises NotExpressible with its name."""
    with_state = {name for name, node in nodes().items() if np.any(node.given.get("past_state", 0))}
    with_tables = {name for name, node in nodes().items() if node.operator == "RotaryEmbedding"}
    assert set(EXPRESSED) == set(nodes()) - with_state - with_tables
    assert set(LEFT_OUT) == with_state | with_tables
    node = next(iter(nodes().values()))
    unknown = replace(node, operator="Attention", attributes={"sinks": 1})
    with pytest.raises(NotExpressible, match="sinks"):
        expressed(unknown)


@pytest.mark.skipif(not DEEP, reason="makes a thousand node cases of other operators: `tox -e thorough`")
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # upstream divides by zero on purpose
def test_there_are_no_other_node_cases():
    """The whole of upstream's suite has no case of these operators that is not read here."""
    loader = pytest.importorskip("onnx.backend.test.loader")
    graphs = [(case.name, case.model.graph.node) for case in loader.load_model_tests(kind="node")]
    told = {
        name
        for name, graph in graphs
        if [node.op_type for node in graph] in (["Attention"], ["LinearAttention"], ["RotaryEmbedding"], ["Softmax"])
    }
    assert told == set(nodes())


def test_every_output_is_judged_or_has_its_reason():
    """What a node returns beside its output is judged as weights, or left with a reason."""
    ours = {"Y": "output", "y": "output", "output": "output", "qk_matmul_output": "weights"}
    for name, told in EXPRESSED.items():
        judged = {slot for slot in nodes()[name].expected if ours.get(slot) in told.expected and slot not in told.left}
        assert judged | set(told.left) == set(nodes()[name].expected), name


def test_the_cases_cover_what_the_mapping_distinguishes():
    """Both corners, boolean and floating masks, lengths, scales, grouped heads, weights, three dtypes: all occur."""
    wanted = {"mask", "bias", "valid_lens", "causal_top_left", "causal_bottom_right", "scale", "grouped_heads"}
    wanted |= {"softcap", "window", "cache_lens", "past", "head_decay", "feature_decay", "update_rate"}
    assert wanted == {option for told in EXPRESSED.values() for option in required(told.case)}
    assert {"float32", "float16", "bfloat16"} == {told.case.dtype for told in EXPRESSED.values()}
    assert any("weights" in told.expected for told in EXPRESSED.values())


# --- the oracle


@pytest.mark.parametrize("name", EXPRESSED)
def test_the_oracle_is_what_upstream_expects(name):
    """Every element of upstream's answer is within the error bound of upstream's arithmetic around the oracle."""
    assert_expected(EXPRESSED[name])


@pytest.mark.parametrize("name", [name for name, told in EXPRESSED.items() if told.case.dtype == "float32"])
def test_upstream_s_own_tolerance_agrees(name):
    """A second opinion: the node case's rtol and atol. In half precision they are finer than the numbers."""
    told, node = EXPRESSED[name], nodes()[name]
    output, _ = bounds_of(told, UPSTREAM)
    np.testing.assert_allclose(told.expected["output"], output.value, node.rtol, node.atol)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("test_attention_4d_causal", {"causal": "bottom_right"}),
        ("test_attention_4d_causal_with_past_and_present", {"causal": "top_left"}),
        ("test_attention_4d_causal_nonpad_batch_prefill", {"causal": "top_left"}),
        ("test_attention_4d_scaled", {"scale": 0.35}),
        ("test_attention_4d_softcap", {"softcap": 3.0}),
        ("test_attention_bidirectional_window", {"window": (2, 2)}),
        ("test_attention_bidirectional_window", {"window": (1, 1)}),
        ("test_attention_bidirectional_window", {"window": (2, 1)}),
    ],
)
def test_a_wrong_option_is_noticed(name, wrong):
    """The comparison is sharp: with the other corner or another scale, upstream's answer is out of bounds."""
    told = EXPRESSED[name]
    case = replace(told.case, options=dict(told.case.options) | wrong)
    with pytest.raises(AssertionError, match="exceeds its error bound"):
        assert_expected(replace(told, case=case))


@pytest.mark.parametrize("name", ["test_attention_4d_attn_mask_bool", "test_attention_4d_attn_mask_bool_4d"])
def test_a_wrong_mask_is_noticed(name):
    """A mask the other way round lies outside the error bound."""
    told = EXPRESSED[name]
    with pytest.raises(AssertionError, match="exceeds its error bound"):
        assert_expected(replace(told, tensors=dict(told.tensors) | {"mask": ~told.tensors["mask"]}))


# --- the implementations


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Ask what is built on one node case; on few of each kind in `tox -e report` and `tox -e thorough`."""
    if metafunc.function is test_an_implementation_answers_as_upstream:
        whole = DEEP or bool(metafunc.config.getoption("--node-cases"))
        metafunc.parametrize(("implementation", "name"), _asked(whole))


def test_an_implementation_answers_as_upstream(implementation, name, node_cases):
    """Within the error bound of the implementation's own arithmetic; what it declares a known failure still fails."""
    found = judged(implementation, name)
    node_cases.append(found)
    assert found.status in (Status.PASS, Status.KNOWN_FAILURE), found.reason


class _Declares:
    """An implementation of scaled dot product that answers by a function, some of it declared a known failure."""

    name, path, capabilities = "made", Path(__file__), Capabilities(("scaled_dot_product",), ("float32",))

    def __init__(self, answers: Callable[..., Any], known: str = "", absent: str = "") -> None:
        self.answers, self.known, self.absent = answers, known, absent

    def prepare(self, case: Case) -> Callable[..., Any]:
        return lambda **tensors: self.answers(case, tensors)

    def known_failure(self, check: str, case: Case) -> str:
        return self.known

    def unavailable(self) -> str:
        return self.absent

    def refuses(self, case: Case) -> str:
        return "" if case.dtype == "float32" else "dtype float16 not declared (declares float32)"


def _right(case: Case, tensors: Any) -> Any:
    return eager.prepare(case)(**tensors)


def _half(case: Case, tensors: Any) -> Any:
    return _right(case, tensors)[0] / 2


def _raises(case: Case, tensors: Any) -> Any:
    raise RuntimeError("no kernel\nsecond line")


@pytest.mark.parametrize(
    ("answers", "known", "status", "reason"),
    [
        (_right, "", Status.PASS, ""),
        (_half, "", Status.FAIL, "|error| 0."),
        (_raises, "", Status.ERROR, "RuntimeError: no kernel"),
        (_half, "runtime#1", Status.KNOWN_FAILURE, "runtime#1"),
        (_raises, "runtime#1", Status.KNOWN_FAILURE, "runtime#1"),
        (_right, "runtime#1", Status.UNEXPECTED_PASS, "passes, although declared a known failure: runtime#1"),
    ],
)
def test_what_became_of_a_case_is_told(answers, known, status, reason):
    """A wrong answer and an error by what they are; declared ones by what is declared."""
    found = judged(_Declares(answers, known), "test_attention_4d")
    assert ("Attention", "made", status) == (found.operator, found.implementation, found.status)
    assert found.reason.startswith(reason)
    assert bool(reason) == bool(found.reason)
    assert "second line" not in found.reason


def test_the_table_has_every_case(monkeypatch):
    """What was not judged stands in it with its reason; other mechanisms' cases are none of an implementation's."""
    one, absent = _Declares(_right), _Declares(_right, absent="no CUDA device")
    absent.name = "absent"
    monkeypatch.setattr(registry, "select", lambda names: [one, absent])
    rows = table([judged(one, "test_attention_4d")])
    assert len(rows) == len({(row.name, row.implementation) for row in rows})
    attention = {name for name, node in nodes().items() if node.operator == "Attention"}
    for name in ("made", "absent"):
        assert attention == {row.name for row in rows if row.implementation == name}
    assert set(LEFT_OUT) == {row.name for row in rows if not row.implementation}
    assert {"no CUDA device"} == {row.reason for row in rows if row.implementation == "absent"}
    reasons = {row.name: row.reason for row in rows if row.implementation == "made"}
    assert "" == reasons["test_attention_4d"]
    assert "dtype float16 not declared" == reasons["test_attention_4d_fp16"]
    assert "this run was of some tests alone" == reasons["test_attention_4d_gqa"]
    one.capabilities = replace(one.capabilities, builds=True)
    assert (
        "each is a build of seconds"
        in {row.name: row.reason for row in table([]) if row.implementation == "made"}["test_attention_4d_gqa"]
    )


def test_the_table_is_kept_for_a_report(tmp_path):
    """By the option alone; what a run of some tests did not ask is told as that."""
    test = f"{Path(__file__).relative_to(ROOT)}::test_an_implementation_answers_as_upstream[eager:test_softmax_example]"
    done = shell(f"python -m pytest -q -p no:cacheprovider '{test}' --node-cases {tmp_path / 'nodes'}")
    assert 0 == done.status, done.out
    found = {(row.name, row.implementation): row for row in store.load(tmp_path / "nodes").node_cases}
    assert Status.PASS is found["test_softmax_example", "eager"].status
    assert Status.NOT_ASKED is found["test_attention_4d", "eager"].status
    assert Status.UNSUPPORTED is found["test_rotary_embedding", ""].status


def test_every_implementation_of_it_is_asked():
    """Each available implementation of scaled_dot_product meets node cases; a new file is asked without being named."""
    able = [i for i in registry.select([]) if "scaled_dot_product" in i.capabilities.mechanisms and not i.unavailable()]
    asked = Counter(parameters.values[0].name for parameters in _asked())
    assert set(asked) == {implementation.name for implementation in able}
    whole = [i for i in able if not i.capabilities.builds]
    taken = {i.name: sum(not i.refuses(told.case) for told in EXPRESSED.values()) for i in whole}
    assert taken == {name: asked[name] for name in taken}
    assert len(EXPRESSED) in taken.values()  # one of them takes all of upstream's cases
