"""A case gives the same bits on every run, in every process and on every machine."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from attention_harness.cases import inputs
from attention_harness.cases.ids import parse
from attention_harness.cases.layouts import LAYOUTS

MASKED = "dot_product-B3H2Hk2Lq16Lk17D5Dv32-bfloat16-bias=full+mask=head+valid_lens=query-large-transposed-draw3"
RECORDED = "scaled_dot_product-B2H12Hk12Lq64Lk64D32Dv32-bfloat16-mask=batch-recorded.minilm_layer0-contiguous"

# Other bits are other inputs: saved verdicts no longer speak of them. Meant to? Then update with
#   python -c "from tests.cases.inputs.test_bits import *; print({name: digest(name) for name in GOLDEN})"
GOLDEN = {
    "scaled_dot_product-B2H4Hk2Lq5Lk7D16Dv8-float64-plain-ordinary-contiguous": "17d469a28c46d87f",
    MASKED: "a8b5604a60697d2d",
    "gaussian_kernel-B2H3Lq5Lk7D16Dv8-float16-causal=top_left+mask=query-nearly_equal-offset-draw5": "64ac18002f09fb1f",
    "additive-B2H3Lq5Lk7Dq16Dk9Dv8A19-float32-valid_lens=batch-peaked-expanded-draw2": "cda0685d565ccc64",
    "masked_softmax-B2H1Lq2Lk4-float32-valid_lens=query-example.valid_lens_per_query-contiguous": "a63591164ffc1c44",
    RECORDED: "81aa035b1b223046",
}


def digest(name: str) -> str:
    """Return a hash of names, types, shapes and bits."""
    made = hashlib.sha256()
    for key, tensor in inputs.tensors(parse(name)).items():
        made.update(f"{key}{tensor.dtype}{tuple(tensor.shape)}".encode())
        made.update(tensor.contiguous().view(torch.uint8).numpy().tobytes() if tensor.numel() else b"")
    return made.hexdigest()[:16]


@pytest.mark.parametrize("name", GOLDEN)
def test_the_bits_are_those_that_were_recorded(name):
    """The hash agrees with the one in this file."""
    assert GOLDEN[name] == digest(name)


def test_another_process_agrees():
    """Neither the hash seed nor the state of any generator goes in."""
    script = (
        "import random, numpy, torch; random.seed(7); numpy.random.seed(7); torch.manual_seed(7)\n"
        "from tests.cases.inputs.test_bits import GOLDEN, digest\n"
        "print([digest(name) for name in GOLDEN])"
    )
    environment = os.environ | {"PYTHONHASHSEED": "7"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert str(list(GOLDEN.values())) == done.stdout.strip()


def test_no_generator_moves():
    """Making inputs leaves torch's random state alone."""
    before = torch.random.get_rng_state()
    inputs.tensors(parse(next(iter(GOLDEN))))
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize("layout", LAYOUTS)
def test_calls_share_no_memory(layout):
    """What a caller does to its tensors does not reach the next caller's."""
    case = replace(parse(next(iter(GOLDEN))), layout=layout)
    first = inputs.tensors(case)["query"]
    kept = first.clone()
    first.zero_()
    assert torch.equal(kept, inputs.tensors(case)["query"])


def test_draw_mechanism_and_sizes_go_in():
    """Another draw has other numbers; so do the tensors among each other."""
    case = parse("scaled_dot_product-B2H3Hk3Lq5Lk5D8Dv8-float32-plain-ordinary-contiguous")
    made, other = inputs.tensors(case), inputs.tensors(replace(case, draw=1))
    tensors = [*made.values(), *other.values()]
    assert len({tensor.numpy().tobytes() for tensor in tensors}) == 6
    assert sum(torch.isin(one, two).any() for one, two in zip(tensors[:3], tensors[3:], strict=True)) == 0


def test_dtype_and_options_do_not_change_what_is_drawn():
    """A case in float32 with a mask has the rounded numbers of the plain case in float64."""
    plain = parse("scaled_dot_product-B2H3Hk3Lq5Lk7D16Dv8-float64-plain-ordinary-contiguous-draw4")
    masked = replace(plain, dtype="float32", options={"mask": "full"})
    assert torch.equal(inputs.tensors(plain)["key"].float(), inputs.tensors(masked)["key"])
