"""Attention with 8 bits inside, in torch, judged whole: it conforms, and files with one mistake in it do not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from attention_harness import Arithmetic, Capabilities
from attention_harness.model.errors import HarnessError
from attention_harness.model.verdict import NONCONFORMING, Verdict
from tests.conformance.test_new_file import verdicts
from tests.conftest import DEEP

SOURCE = (Path(__file__).parent / "sage_attention.py").read_text()
FORMS: dict[str, Mapping[str, str]] = {
    "float8 weights and values": {},
    "int8 weights": {
        '"probabilities": "e4m3"': '"probabilities": "int8"',
        "weights.to(torch.float8_e4m3fn).float()": "(weights * 127).round() / 127",
    },
    "int8 scores alone": {  # as the first SageAttention has it
        ', "value": "e4m3", "probabilities": "e4m3"': "",
        "weights.to(torch.float8_e4m3fn).float()": "weights",
        "eighths(value)": "(value, value.new_ones(*value.shape[:2], 1, 1))",
    },
}
MISTAKES = {
    "the first block's scale for all": ("(of_query * of_key.mT * scale)", "(of_query * of_key[..., :1, :].mT * scale)"),
    "the scale of values dropped": ("(codes @ value) * of_value", "codes @ value"),
    "a sum of squares": ("weights.sum(-1", "(weights**2).sum(-1"),
    "queries lose their mean": ("    key = key - key", "    query = query - query.mean(-2, True)\n    key = key - key"),
    "values lose their mean": ("eighths(value)", "eighths(value - value.mean(-2, keepdim=True))"),
    "codes that wrap": ("(x / scale).round(), scale", "((x / scale).round() + 128) % 255 - 128, scale"),
}
IN_PRECISION = {
    "codes cut off": ("(x / scale).round(), scale", "(x / scale).trunc(), scale"),
    "codes of 7 bits": ("torch.cat(tops, -2) / 127", "torch.cat(tops, -2) / 63"),
}
"""Seen where the values have no errors of their own: beside those, a bit less of the scores shows in no test."""


def contradicted(
    source: str, folder: Path, tier: str = "default", changes: Mapping[str, str] = {}
) -> Iterator[Verdict]:
    """Yield the verdicts that contradict a file after these changes."""
    for stands, put in changes.items():
        assert stands in source
        source = source.replace(stands, put)
    return (verdict for verdict in verdicts(source, folder, tier) if verdict.status in NONCONFORMING)


@pytest.mark.parametrize("form", FORMS)
def test_it_conforms(form, tmp_path):
    """On the quick tier; `tox -e thorough` asks the default one."""
    assert [] == list(contradicted(SOURCE, tmp_path, "default" if DEEP else "quick", FORMS[form]))


def test_it_does_not_without_its_declaration(tmp_path):
    """Errors of 8 bits are none of single precision."""
    head, _, tail = SOURCE.partition("        quantised=")
    assert any(contradicted(head + tail.partition("\n")[2], tmp_path))


@pytest.mark.parametrize("name", MISTAKES)
def test_a_wrong_one_does_not(name, tmp_path):
    """The first verdict that contradicts ends the search."""
    assert any(contradicted(SOURCE, tmp_path, changes=dict([MISTAKES[name]])))


@pytest.mark.parametrize("name", IN_PRECISION)
def test_a_bit_less_is_seen(name, tmp_path):
    """By the statistics of many small errors."""
    changes = FORMS["int8 scores alone"] | dict([IN_PRECISION[name]])
    found = next(contradicted(SOURCE, tmp_path, changes=changes))
    assert "deviations of correct arithmetic" in found.reason


def test_a_declaration_that_says_nothing_is_refused(tmp_path):
    """Of a format or tensor that there is not, and beside derivatives, of which nothing is known."""
    with pytest.raises(HarnessError, match="quantised tensor 'keys'"):
        next(contradicted(SOURCE, tmp_path, changes={'"key": "int8"': '"keys": "int8"'}))
    with pytest.raises(HarnessError, match="int8, e4m3, e5m2"):
        Arithmetic(quantised={"key": "int4"})
    for wrong in (5, {"key": ["int8"]}, {1: "int8", "a": "int8"}, [("key", "int8"), ("key", "e4m3")]):
        with pytest.raises(HarnessError, match="quantised must be"):
            Arithmetic(quantised=wrong)
    with pytest.raises(HarnessError, match="no derivatives"):
        Capabilities(("scaled_dot_product",), gradients=True, arithmetic=Arithmetic(quantised={"key": "int8"}))
