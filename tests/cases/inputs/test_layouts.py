"""A memory layout moves the numbers and changes none; recordings and examples fit their sizes or are refused."""

from __future__ import annotations

import ctypes
import faulthandler
import mmap
import os
import signal
import struct
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from attention_harness.cases import inputs, recordings
from attention_harness.cases.anchors import example_cases, recorded_cases
from attention_harness.cases.ids import parse
from attention_harness.cases.layouts import LAYOUTS
from attention_harness.model.errors import HarnessError
from attention_harness.registry import mechanisms

CASE = parse(
    "scaled_dot_product-B2H3Hk3Lq5Lk7D16Dv8-float32-bias=query+mask=full+valid_lens=batch-ordinary-contiguous-draw3"
)
LAYER = parse("multi_head-B2H3Lq5Lk7E48Eq18Ek11Ev8O9-float32-plain-ordinary-contiguous")
PLAIN = inputs.tensors(CASE)


def laid(layout: str) -> dict[str, torch.Tensor]:
    return inputs.tensors(replace(CASE, layout=layout))


@pytest.mark.parametrize("layout", sorted(set(LAYOUTS) - {"expanded"}))
def test_the_numbers_stay(layout):
    """Every tensor holds the contiguous one's numbers, mask and lengths included."""
    made = laid(layout)
    assert list(PLAIN) == list(made)
    assert all(torch.equal(PLAIN[name], made[name]) for name in PLAIN)


def test_contiguous():
    """Row after row from the start of its memory."""
    assert all(tensor.is_contiguous() and tensor.storage_offset() == 0 for tensor in PLAIN.values())


def test_transposed_is_a_view_across_its_memory():
    """Heads and lengths are swapped in memory, a matrix lies by columns; what has one axis cannot be transposed."""
    made = laid("transposed") | {"W_o": inputs.tensors(replace(LAYER, layout="transposed"))["W_o"]}
    assert [name for name, tensor in made.items() if tensor.is_contiguous()] == ["valid_lens"]
    assert made["query"].stride() == (5 * 3 * 16, 16, 3 * 16, 1)
    assert made["W_o"].stride() == (1, 9)


def test_offset_lies_among_nan():
    """Each row starts beyond the start of a larger buffer; around it is NaN, True, or a length past every end."""
    for name, tensor in laid("offset").items():
        assert tensor.storage_offset() > 0, name
        buffer = torch.empty(0, dtype=tensor.dtype).set_(tensor.untyped_storage())
        rows = buffer.reshape(-1, tensor.shape[-1] + 3)
        around = torch.cat([rows[:, :2], rows[:, -1:]], 1)
        wrong = around.isnan() if around.is_floating_point() else around == (True if name == "mask" else 2**40)
        assert wrong.all(), name
        assert torch.equal(tensor.flatten(), rows[:, 2:-1].flatten()), name


def test_expanded_repeats_the_first_entry_by_a_stride_of_0():
    """Batches are one and the same memory; parameters, which have no batch, lie as usual."""
    for name, tensor in laid("expanded").items():
        assert tensor.stride(0) == 0, name
        assert torch.equal(PLAIN[name][:1].expand_as(tensor), tensor), name
    made, usual = inputs.tensors(replace(LAYER, layout="expanded")), inputs.tensors(LAYER)
    assert all(made[p.name].stride(0) != 0 for p in mechanisms()["multi_head"].inputs if p.parameter)
    assert torch.equal(usual["W_o"], made["W_o"])


@pytest.mark.parametrize("layout", ["columns", "stepped"])
def test_the_last_axis_is_not_contiguous(layout):
    """Of masks, biases and lengths too, and where all axes but the last are 1; what lies between is NaN, or wrong."""
    broad = inputs.tensors(replace(CASE, options={"mask": "batch"}, layout=layout))["mask"]
    for tensor in (*laid(layout).values(), broad):
        assert tensor.stride(-1) > 1
    buffer = torch.empty(0).set_(laid("stepped")["key"].untyped_storage())
    assert buffer[1::2].isnan().all()


def test_sliced_batch_elements_are_contiguous_and_apart():
    """The stride of the first axis is twice what follows from the others; what lies between is NaN."""
    query = laid("sliced")["query"]
    assert query[0].is_contiguous()
    assert query.stride(0) == 2 * query[0].numel()
    buffer = torch.empty(0).set_(query.untyped_storage()).reshape(4, -1)
    assert buffer[1::2].isnan().all()


@pytest.mark.skipif(sys.platform != "linux", reason="guards its pages under Linux alone; elsewhere it is contiguous")
def test_guarded_ends_where_memory_ends():
    """The last number of each tensor is the last of its page; to read the next one ends the process."""
    made = laid("guarded")
    assert {0} == {(t.data_ptr() + t.numel() * t.element_size()) % mmap.PAGESIZE for t in made.values()}
    key = made["key"]
    end = key.data_ptr() + key.numel() * key.element_size()
    assert struct.pack("f", key[-1, -1, -1, -1]) == ctypes.string_at(end - 4, 4)
    child = os.fork()
    if not child:
        faulthandler.disable()
        ctypes.string_at(end - 4, 5)
        os._exit(0)
    assert signal.SIGSEGV == os.WTERMSIG(os.waitpid(child, 0)[1])


def test_mixed_gives_each_argument_a_layout_of_its_own():
    """Query, key and value never lie alike, over many cases each of them lies in every way, and ids decide."""
    found: dict[str, set[tuple[int, ...]]] = {"query": set(), "key": set(), "value": set()}
    for draw in range(40):
        case = replace(CASE, layout="mixed", draw=draw, sizes=dict(CASE.sizes) | {"Lq": 7, "Dv": 16})
        made = inputs.tensors(case)
        ways = [(*made[name].stride(), made[name].storage_offset()) for name in found]
        assert 3 == len(set(ways)), case.id
        for name, way in zip(found, ways, strict=True):
            found[name].add(way)
        assert all(made[name].stride() == again.stride() for name, again in inputs.tensors(case).items())
    assert {5} == {len(ways) for ways in found.values()}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_nothing_is_lost_at_length_0(layout):
    """Empty tensors keep their shape in every layout."""
    empty = replace(CASE, sizes=dict(CASE.sizes) | {"Lk": 0}, layout=layout)
    assert inputs.tensors(empty)["key"].shape == (2, 3, 0, 16)


@pytest.mark.parametrize("case", recorded_cases(), ids=str)
def test_a_recording_loads(case):
    """The tensors are those of the file in the case's dtype, and the mask hides padding and not everything."""
    stem, _, layer = case.content.removeprefix("recorded.").partition("_")
    file = np.load(recordings.RECORDINGS / f"{stem}.npz")
    made = inputs.tensors(case)
    dtype = getattr(torch, case.dtype)
    for name in ("query", "key", "value", "mask"):
        stored = torch.from_numpy(file[f"{layer}.{name}"])
        assert torch.equal(stored.to(made[name].dtype), made[name]), name
        assert name == "mask" or made[name].dtype is dtype
    assert (case.sizes["B"], 1, 1, case.sizes["Lk"]) == made["mask"].shape
    assert 0 < made["mask"].double().mean() < 1


def test_recordings_are_real():
    """Nothing that a generator would draw: heavy tails, and heads that differ from each other."""
    query = inputs.tensors(recorded_cases()[0])["query"].numpy()
    assert recordings.recordings()[:2] == ("minilm_layer0", "minilm_layer4")
    assert query.std(axis=(0, 2, 3)).max() > 1.2 * query.std(axis=(0, 2, 3)).min()


@pytest.mark.parametrize("case", [example_cases()[0], recorded_cases()[0]], ids=str)
@pytest.mark.parametrize("axis", ["B", "Lq", "Lk", "Dv"])
def test_wrong_sizes_are_refused(case, axis):
    """Sizes other than those of the example or recording are an error that states both."""
    wrong = replace(case, sizes=dict(case.sizes) | {axis: case.sizes[axis] + 1})
    with pytest.raises(HarnessError, match=r"has \w+ of shape \(.*\), the sizes say \("):
        inputs.tensors(wrong)


@pytest.mark.parametrize("case", example_cases(), ids=str)
def test_an_example_holds_the_numbers_of_the_notes(case):
    """Every worked example's inputs arrive in the case's dtype."""
    example = mechanisms()[case.mechanism].example(case.content.removeprefix("example."))
    dtype = getattr(torch, case.dtype)
    for name, tensor in inputs.tensors(case).items():
        noted = torch.tensor(np.asarray(example.inputs.get(name, example.options.get(name))))
        assert torch.equal(noted.to(dtype if tensor.is_floating_point() else tensor.dtype), tensor), name
