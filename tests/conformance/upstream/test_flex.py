"""What `flex` leaves out or works around is still so in torch; when one of these fails, torch has mended it."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest
import torch
from torch.nn.attention.flex_attention import AuxRequest, flex_attention

from attention_harness import registry
from attention_harness.cases.projection import cases_for
from attention_harness.implementations import flex
from attention_harness.options.alibi import slopes
from attention_harness.options.option import Place
from attention_harness.options.relative_bias import OPTION as RELATIVE_BIAS
from tests.conftest import DEEP

pytestmark = pytest.mark.skipif(bool(flex.unavailable()), reason=flex.unavailable())


def given(dtype: torch.dtype = torch.float32, keys: int = 7, **kwargs: bool) -> list[torch.Tensor]:
    """Return query, key and value."""
    return [torch.ones(1, 1, length, 8, dtype=dtype, **kwargs) for length in (5, keys, keys)]


def compiled(**settings: object) -> object:
    """Return flex_attention, compiled anew."""
    return torch.compile(lambda *tensors: flex_attention(*tensors, **settings), fullgraph=True, dynamic=False)


def test_no_gradients_on_the_cpu():
    """It refuses a tensor that requires one."""
    with pytest.raises(Exception, match="does not support backward on CPU"):
        compiled()(*given(requires_grad=True))


def test_no_float64():
    """Lowering refuses it."""
    with pytest.raises(Exception, match="are supported in FlexAttention for CPU device"):
        compiled()(*given(torch.float64))


def test_no_denominators():
    """Without the log-sum-exp there are neither sinks nor weights."""
    with pytest.raises(Exception, match="`return_lse` is not supported yet"):
        compiled(return_aux=AuxRequest(lse=True))(*given())


def test_a_captured_tensor_with_gaps():
    """It is why `flex` makes options contiguous."""
    bias = torch.zeros(7, 4)[:, 0]
    with pytest.raises(Exception, match="All the buffers in the score and mask subgraph should be in"):
        compiled(score_mod=lambda score, b, h, i, j: score + bias[j])(*given())


@pytest.mark.skipif(not DEEP, reason="each compiles a kernel in a process of its own: tox -e thorough")
@pytest.mark.parametrize(("queries", "keys"), [(5, 0), (0, 7)])
def test_a_length_of_0_ends_the_process(queries, keys):
    """It is why `requires` has lengths of 1 or more."""
    shapes = ", ".join(f"torch.ones(1, 1, {length}, 8)" for length in (queries, keys, keys))
    source = f"""
import torch
from torch.nn.attention.flex_attention import flex_attention
torch.compile(flex_attention, fullgraph=True, dynamic=False)({shapes})
"""
    ended = subprocess.run([sys.executable, "-c", source], capture_output=True, check=False)
    assert -signal.SIGFPE == ended.returncode, ended.stderr


def test_what_is_left_out_is_what_is_declared():
    """No case of `flex` has an empty length, float64, dropout or sinks, on any tier."""
    declared = registry.implementations()["flex"].capabilities
    for case in cases_for(declared, "default"):
        assert min(case.sizes.values()) > 0
        assert case.dtype != "float64"
        assert not {"dropout", "sinks"} & case.options.keys()
    assert (False, False) == (declared.gradients, declared.weights)


@pytest.mark.parametrize("heads", [1, 2, 3, 8, 12, 20])
def test_slopes_are_those_of_the_option(heads):
    """Its own recursion over powers of two gives what harness/options/alibi.py does."""
    assert torch.equal(torch.tensor(slopes(heads)).float(), flex._slopes(heads))


@pytest.mark.parametrize("options", [{}, {"causal": "top_left"}, {"causal": "bottom_right"}])
def test_buckets_are_those_of_the_option(options):
    """Its own count in whole numbers gives the buckets of harness/options/relative_bias.py, at every distance."""
    queries, keys = 300, 290
    picked = torch.tensor(RELATIVE_BIAS.picks(Place(queries, keys), options))
    distance = flex._places(options, queries, keys, None)[:, None] - torch.arange(keys)
    buckets = torch.tensor(flex._buckets("causal" in options))
    assert torch.equal(picked, buckets[distance.clamp(-128, 128) + 128])
