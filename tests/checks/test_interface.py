"""Checks reach an implementation through the interface alone, so that its process can be parted from the judge's."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from attention_harness import checks

MODULES = sorted(Path(checks.__path__[0]).rglob("*.py"))

# What gives hold of an implementation's code, or differentiates what came out of it, in the judge's own process.
FORBIDDEN_MODULES = (
    "attention_harness.execution",
    "attention_harness.implementations",
    "attention_harness.registry.implementations",
    "torch.autograd",
)
FORBIDDEN_NAMES = {"Implementation", "implementations", "autograd", "backward", "enable_grad", "no_grad", "module"}
FORBIDDEN_NAMES |= {"requires_grad", "requires_grad_", "manual_seed", "set_num_threads"}


def reaches(source: str) -> set[str]:
    """Return what a module's source reaches an implementation by, other than the interface."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom | ast.Import):
            names = [f"{getattr(node, 'module', None) or ''}.{alias.name}".strip(".") for alias in node.names]
            found |= {name for name in names if name.startswith(FORBIDDEN_MODULES)}
            found |= {alias.name for alias in node.names} & FORBIDDEN_NAMES
        elif isinstance(node, ast.Attribute) and node.attr in FORBIDDEN_NAMES:
            found.add(node.attr)
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(checks.__path__[0])))
def test_no_check_reaches_past_the_interface(path):
    """Neither an implementation's module, nor a callable of it, nor a graph of autograd."""
    assert set() == reaches(path.read_text())


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("from attention_harness.registry import Implementation", "Implementation"),
        (
            "from attention_harness.execution.in_process import subject",
            "attention_harness.execution.in_process.subject",
        ),
        ("gradient = torch.autograd.grad(output, leaves)", "autograd"),
        ("output.sum().backward()", "backward"),
        ("call = subject.implementation.module.prepare(case)", "module"),
    ],
)
def test_a_way_around_is_seen(line, name):
    """The test above can fail."""
    assert name in reaches(line)
