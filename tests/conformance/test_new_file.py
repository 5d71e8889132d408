"""The README's own example conforms; the same file with one small mutant does not, however little it declares."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from attention_harness import registry
from attention_harness.cases.projection import cases_for
from attention_harness.execution.plan import plan_items, unexercised
from attention_harness.execution.run import run_checks
from attention_harness.model.verdict import NONCONFORMING, NOT_CHECKED, Verdict

README = Path(__file__).parents[2] / "README.md"

MUTANTS = {
    "mask of the first query for all": ("masked_fill(~mask,", "masked_fill(~mask[..., :1, :],"),
    "mask of the first head for all": ("masked_fill(~mask,", "masked_fill(~(mask[:, :1] if mask.ndim == 4 else mask),"),
    "mask of the first batch for all": ("masked_fill(~mask,", "masked_fill(~(mask[:1] if mask.ndim == 4 else mask),"),
    "mask polarity": ("masked_fill(~mask,", "masked_fill(mask,"),
    "fill with -50": ('float("-inf")', "-50.0"),
    "fully masked rows are NaN": (
        ".masked_fill(~visible, 0).softmax(-1)\n",
        ".softmax(-1)\n        visible = visible | True\n",
    ),
    "raises where memory is not contiguous": (
        'scores = torch.einsum("bqhd,bkhd->bhqk", query,',
        "flat = query.transpose(1, 2).view(-1)\n        "
        'scores = torch.einsum("bhqd,bkhd->bhqk", flat.view(query.transpose(1, 2).shape),',
    ),
    "not scaled": (" / query.shape[-1] ** 0.5", ""),
}


def example() -> str:
    """Return the implementation file that README.md shows."""
    return next(code for code in re.findall(r"```python\n(.*?)```", README.read_text(), re.S) if "def prepare" in code)


def verdicts(source: str, directory: Path, tier: str = "default") -> Iterator[Verdict]:
    """Yield the verdicts that `check --load` reaches on a tier."""
    path = directory / "my_kernel.py"
    path.write_text(source)
    [own] = registry.select([path.stem], [path])
    for item in plan_items([own], [], lambda one: cases_for(one.capabilities, tier)):
        yield from run_checks(item)


def test_the_example_conforms_and_is_really_asked(tmp_path):
    """No verdict fails, and every form of mask and memory is tried: on the quick tier, for time."""
    found = list(verdicts(example(), tmp_path, "quick"))
    assert [] == [verdict for verdict in found if verdict.status in NONCONFORMING]
    asked = {verdict.case for verdict in found if verdict.status not in NOT_CHECKED}
    for part in ("mask=full", "mask=batch", "mask=head", "mask=query", "-transposed", "-expanded", "-offset"):
        assert any(part in case for case in asked), part


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_mutant_in_it_is_seen(mutant, tmp_path):
    """The narrow declaration does not hide the mutant."""
    stands, put = MUTANTS[mutant]
    assert stands in example()
    found = verdicts(example().replace(stands, put), tmp_path)
    assert any(verdict.status in NONCONFORMING for verdict in found), f"the suite does not see: {mutant}"


def test_what_no_case_asks_for_is_told(tmp_path):
    """A declared option that every case of is refused by `unsupported` is named as not shown."""
    source = example() + "\n\ndef unsupported(case):\n    return 'no masks today' if 'mask' in case.options else ''\n"
    path = tmp_path / "my_kernel.py"
    path.write_text(source)
    [own] = registry.select([path.stem], [path])
    items = list(plan_items([own], cases_for(own.capabilities)))
    assert unexercised(items) == {"my_kernel": ["mask"]}
