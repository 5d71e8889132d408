"""What crosses between the judge and the process of an implementation: memory as it is laid out, and nothing but data."""

from __future__ import annotations

import json
import struct

import pytest
import torch

from attention_harness.cases import inputs
from attention_harness.cases.ids import parse
from attention_harness.cases.layouts import LAYOUTS
from attention_harness.execution import beginning, hosts
from attention_harness.execution.apart import Apart
from attention_harness.execution.lost import Lost
from attention_harness.host.loading import Source
from attention_harness.model.errors import ImplementationRaised
from tests.registry.sources import TINY, write

CASE = parse(TINY)

NOTES = """
import json, pathlib
path = pathlib.Path(__file__).with_suffix(".json")
def note(**tensors):
    def told(x):
        base = None if x._base is None else [list(x._base.shape), list(x._base.stride())]
        return [list(x.shape), list(x.stride()), x.storage_offset(), x.untyped_storage().nbytes(), base, x.data_ptr()]
    path.write_text(json.dumps({name: told(x) for name, x in tensors.items()}))
"""


@pytest.fixture(scope="module")
def nursery():
    """Give what starts processes of implementations; it is forked from this one, which has all of the judge."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hosts, "FORBIDDEN", ())
        one = hosts.Nursery()
    yield one
    one.close()


@pytest.fixture
def apart(nursery, tmp_path):
    """Return a function that starts a file's process."""
    made = []

    def start(**parts):
        path = write(tmp_path / f"made{len(made)}.py", **parts)
        host = hosts.Host(Source(path.stem, str(path), loaded=True), nursery, 2**30)
        made.append(Apart(host, host.ask("begin").facts))
        return made[-1]

    yield start
    for one in made:
        one.host.end()


@pytest.mark.parametrize("watched", [False, True])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_memory_is_laid_out_there_as_it_is_here(apart, layout, watched):
    """Numbers, strides, offset, what lies beside a view and the tensor that it is one of."""
    own = apart(top=NOTES, body="note(query=query, key=key, value=value)")
    case = parse(TINY.replace("contiguous", layout))
    tensors = inputs.tensors(case)
    found = own.prepare(case).call(tensors, watched=watched)
    right = (tensors["query"] @ tensors["key"].mT / 2).softmax(-1) @ tensors["value"]
    torch.testing.assert_close(found.output, right)
    noted = json.loads(own.path.with_suffix(".json").read_text())
    for name, x in tensors.items():
        shape, strides, offset, size, base, place = noted[name]
        assert (list(x.shape), list(x.stride()), x.storage_offset()) == (shape, strides, offset)
        assert x.untyped_storage().nbytes() == size
        assert (None if x._base is None else [list(x._base.shape), list(x._base.stride())]) == base
        assert layout != "guarded" or (place + size) % 4096 == 0


@pytest.mark.parametrize("watched", [False, True])
def test_to_read_past_a_guarded_input_is_a_crash(apart, watched):
    """In the implementation's process, as it would be here."""
    own = apart(top="import ctypes", body="ctypes.string_at(key.data_ptr() + 4 * key.numel(), 1)")
    case = parse(TINY.replace("contiguous", "guarded"))
    with pytest.raises(Lost, match="SIGSEGV"):
        own.prepare(case).call(inputs.tensors(case), watched=watched)


def test_the_same_tensor_is_one_there_and_equal_ones_are_two(apart):
    """Under several names; and what shares memory here shares it there."""
    own = apart(
        body="return query.new_tensor([key is value, query is key, query.data_ptr() == key.data_ptr(), key.data_ptr() == value.data_ptr()])"
    )
    x = torch.rand(2, 2)
    prepared = own.prepare(CASE)
    assert [1, 0, 0, 1] == prepared.call({"query": x.clone(), "key": x, "value": x}).output.tolist()
    assert [0, 0, 1, 1] == prepared.call({"query": x.T, "key": x[:1], "value": x[:]}).output.tolist()


def test_tensors_that_were_given_before_keep_their_memory(apart):
    """And others have their own, so that what an implementation kept of a call stays as it was."""
    own = apart(
        top="kept = []",
        body="kept.append(query)\n        return query.new_tensor([x.data_ptr() == query.data_ptr() for x in kept] + [float(x.sum()) for x in kept])",
    )
    prepared, x = own.prepare(CASE), torch.ones(2)
    given = {"query": x, "key": x, "value": x}
    assert [1, 2] == prepared.call(given).output.tolist()
    x.fill_(2.0)
    assert [1, 1, 4, 4] == prepared.call(given).output.tolist()
    y = torch.full((2,), 5.0)
    assert [0, 0, 1, 4, 4, 10] == prepared.call({"query": y, "key": y, "value": y}).output.tolist()


def test_a_call_between_the_passes_is_made_there(apart):
    """With tensors of its own: the gradient of the output times a number that each call leaves is that of the last."""
    own = apart(
        top="last = []",
        body="last.append(key.detach())\n        out = query * 1\n        out.register_hook(lambda g: g * last[-1])\n        return out",
    )
    given, later = ({name: torch.full((2,), x) for name in ("query", "key", "value")} for x in (3.0, 5.0))
    prepared = own.prepare(CASE)
    found = [prepared.gradients(given, torch.ones(2), ["query"], between=each) for each in (None, later)]
    assert [[3.0, 3.0], [5.0, 5.0]] == [one.by_name["query"].tolist() for one in found]
    assert [[3.0, 3.0]] * 2 == [one.output.tolist() for one in found]


def test_what_a_call_changes_is_seen_here(apart):
    """Also beside the view that was given."""
    x = torch.zeros(4, 4)
    for body, changed in (("query[0] = 7", ("query",)), ("query._base[3] = 7", ("query",)), ("pass", ())):
        own = apart(body=f"{body}\n        return value.clone()")
        given = {"query": x[:2], "key": torch.zeros(1), "value": torch.zeros(1)}
        assert changed == own.prepare(CASE).call(given, watched=True).changed_inputs
        assert 0 == x.abs().sum()


def test_large_tensors_make_room(apart):
    """In both directions, and back to small ones."""
    own = apart(body="return query.repeat(2)")
    prepared = own.prepare(CASE)
    for size in (3, 3_000_000, 5):
        x = torch.rand(size)
        assert torch.equal(x.repeat(2), prepared.call({"query": x, "key": x, "value": x}).output)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [("(query, None, 3)", torch.Tensor), ("'text'", "str"), ("None", type(None)), ("query.numpy()", "ndarray")],
)
def test_what_is_no_tensor_is_the_name_of_its_type(apart, answer, kind):
    """No object of the implementation comes here."""
    found = apart(body=f"return {answer}").prepare(CASE).call(dict.fromkeys(("query", "key", "value"), torch.ones(2)))
    assert kind in (type(found.output), type(found.output).__name__)
    assert found.weights is None


def test_what_is_raised_comes_as_words(apart):
    """With the line of the file."""
    own = apart(body="raise ValueError('boom\\ud800')")
    with pytest.raises(ImplementationRaised, match=r"ValueError: boom.* \(made0.py:11 in attend\)") as raised:
        own.prepare(CASE).call(dict.fromkeys(("query", "key", "value"), torch.ones(2)))
    assert "ValueError" == raised.value.kind


def test_its_end_is_told_also_where_a_child_holds_the_connection(apart):
    """A daemon that it left does not make the judge wait."""
    own = apart(top="import os, time", body="os.fork() or time.sleep(5)\n        os.kill(os.getpid(), 9)")
    with pytest.raises(Lost, match="SIGKILL"):
        own.prepare(CASE).call(dict.fromkeys(("query", "key", "value"), torch.ones(2)))


def test_a_message_that_is_none_is_no_answer(apart):
    """Whatever bytes come."""
    for data in (struct.pack("<I", 3) + b"abc", struct.pack("<I", 2**31)):
        own = apart(
            top="import os",
            body=f"[os.write(n, {data!r}) for n in range(3, 9) if os.path.exists(f'/proc/self/fd/{{n}}') and 'socket' in os.readlink(f'/proc/self/fd/{{n}}')]",
        )
        with pytest.raises(Lost, match="its process gave no valid answer"):
            own.prepare(CASE).call(dict.fromkeys(("query", "key", "value"), torch.ones(2)))


def test_a_process_that_would_hold_the_judge_does_not_begin(capfd):
    """What is forked from where the judge is imported ends at once."""
    assert beginning.Nursery is hosts.Nursery
    nursery = hosts.Nursery()
    with pytest.raises(Lost, match="ended the process that had started its own"):
        hosts.Host(Source("any", "any.py"), nursery, 2**30)
    assert "would begin with attention_harness." in capfd.readouterr().err
