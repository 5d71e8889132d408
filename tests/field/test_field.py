"""Files from the field get the right answer: small correct and wrong ones, and attentions of real packages.

They lie beside the repository in `shared/field`, with the reasons in its EXPECTED.md. Each is judged by the command
line on the default tier, a minute and more for each: `python -m tox -e field`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from attention_harness.cases.ids import parse
from attention_harness.model.verdict import NONCONFORMING
from tests.conftest import DEEP, ROOT

FIELD = ROOT.parent / "shared" / "field"

CONFORMS = (
    "correct_every_option",
    "correct_mask_shifted_by_one",
    "correct_half_inside_float32",
    "correct_empty_batch_nan_rows",
    "local_attention_1_11_2",
    "keras_3_15_1_multi_head",
)

Failure = dict[str, Any]


def _anything(failures: list[Failure]) -> bool:
    return bool(failures)


def _each(told: Callable[[Failure], bool]) -> Callable[[list[Failure]], bool]:
    return lambda failures: bool(failures) and all(map(told, failures))


def _some(told: Callable[[Failure], bool]) -> Callable[[list[Failure]], bool]:
    return lambda failures: any(map(told, failures))


def _no_length(failure: Failure) -> bool:
    sizes = parse(failure["case"]).sizes
    return 0 in (sizes["Lq"], sizes["Lk"])


def _both_dtypes(failures: list[Failure]) -> bool:
    cases = [parse(failure["case"]) for failure in failures]
    return len(cases) >= 20 and {"float32", "float64"} <= {case.dtype for case in cases}


def _hidden_together(failure: Failure) -> bool:
    options = parse(failure["case"]).options
    return "mask" in options and "causal" in options


FAILS: dict[str, Callable[[list[Failure]], bool]] = {
    "causal_beside_mask": _each(_hidden_together),
    "wide_heads_cut_at_64": _each(lambda failure: parse(failure["case"]).sizes["D"] > 64),
    "one_key_head_read_contiguous": _each(lambda failure: parse(failure["case"]).sizes["Hk"] == 1),
    "key_and_value_strides_swapped": _anything,
    "mask_last_stride_ignored": _each(lambda failure: "mask" in parse(failure["case"]).options),
    "split_past_256_averaged": _each(lambda failure: parse(failure["case"]).sizes["Lk"] > 256),
    "no_key_one_query_left_over": _anything,
    "dropout_backward_other_mask": _each(lambda failure: "dropout" in parse(failure["case"]).options),
    "not_thread_safe": _each(lambda failure: failure["check"] == "behaviour.thread_safety"),
    "hidden_block_stale_index": _anything,
    "bias_gradient_alone": _each(lambda failure: "gradient" in failure["check"]),
    "bias_gradient_last_tile": _each(lambda failure: "gradient" in failure["check"]),
    "finite_fill": _anything,
    "lengths_off_by_one_two_dtypes": _both_dtypes,
    "memory_efficient_attention_pytorch_0_1_6": _each(_no_length),
    "torch_multi_head_attention_0_15_1": _some(lambda failure: "mask" in parse(failure["case"]).options),
    "allennlp_light_1_0_0_dot": _anything,
    "x_transformers_2_31_10_attend": _each(_hidden_together),
}
# Their layers hold the weights of a call: two calls at once disturb each other, which they have to declare today.
HOLDS_WEIGHTS = ("keras_3_15_1_multi_head", "torch_multi_head_attention_0_15_1")
NAMED = {"causal_beside_mask": "causal ignored beside a mask"}

pytestmark = [
    pytest.mark.skipif(not DEEP, reason="minutes: `python -m tox -e field`"),
    pytest.mark.skipif(not FIELD.is_dir(), reason="the field's files do not lie beside the repository"),
]


def judged(name: str, folder: Path) -> dict[str, Any]:
    """Return what `check --json` says of a file, whose contract is today's."""
    path = folder / f"{name}.py"
    declared = "thread_safe=False, fully_masked_rows=" if name in HOLDS_WEIGHTS else "fully_masked_rows="
    path.write_text((FIELD / path.name).read_text().replace("empty_rows=", declared))
    command = [sys.executable, "-m", "attention_harness", "check", name, "--load", str(path), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_every_file_has_an_answer():
    assert {path.stem for path in FIELD.glob("*.py")} == {*CONFORMS, *FAILS}


@pytest.mark.parametrize("name", CONFORMS)
def test_it_conforms(name, tmp_path):
    bad = [one for one in judged(name, tmp_path)["verdicts"] if one["status"] in NONCONFORMING]
    assert [] == [f"{one['check']} on {one['case']}: {one['reason']}" for one in bad]


@pytest.mark.parametrize("name", FAILS)
def test_it_fails_where_it_is_wrong(name, tmp_path):
    answer = judged(name, tmp_path)
    bad = [one for one in answer["verdicts"] if one["status"] in NONCONFORMING]
    assert FAILS[name](bad), [f"{one['check']} on {one['case']}: {one['reason']}" for one in bad]
    named = [match["mutant"] for cause in answer["diagnosis"] for match in cause["matches"]]
    assert NAMED.get(name, "") in ["", *named]
