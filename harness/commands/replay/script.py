"""A case as a script of its own: the implementation, the inputs bit for bit, what is right and how far off it may be.

The script needs torch and NumPy and not this harness, so that it can go to whoever maintains what failed; one of a
shipped implementation, or of a file that imports more than declarations, needs the harness installed. torch.save keeps
storage, strides and offset: memory layouts, and what lies beside a view, come back as they were. The tensor that a
view was taken of is kept beside it.
"""

from __future__ import annotations

import ast
import base64
import io
import math
import zlib
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

import numpy as np

from attention_harness.bounds import ErrorBound, judge
from attention_harness.cases import inputs
from attention_harness.cases.parts import parts_of, split
from attention_harness.checks.accuracy import is_degenerate
from attention_harness.checks.expected import bound_of
from attention_harness.execution.plan import replay_command
from attention_harness.model.case import Case
from attention_harness.model.errors import HarnessError
from attention_harness.registry import Declared
from attention_harness.store.files import write_new

if TYPE_CHECKING:
    import torch

SAVED = ("accuracy", "weights")
"""The checks that look at the numbers of one call and at nothing else; a script holds one of these."""

_STAND_INS = {"Arithmetic", "Capabilities", "Case", "HarnessError"}  # names that a script defines itself

_SCRIPT = Template('''\
"""$title

Made by: $command
Needs $needs. Exits with 1 when the error exceeds its error bound, with 0 when it does not.
"""

import base64, importlib, io, sys, types, zlib

import numpy as np
import torch

torch.set_num_threads(1)
CASE = types.SimpleNamespace(
    $case
)
INPUTS = $inputs
STORED = "$stored"  # the inputs, what is right, and how far off each element may be
stored = torch.load(io.BytesIO(zlib.decompress(base64.b64decode(STORED))), map_location=CASE.device, weights_only=True)


def given(name):
    """Return an input; one that is a view, as a view of the same tensor."""
    x, base = stored[name], stored.get(f"base of {name}")
    return x if base is None else base.as_strided(x.shape, x.stride(), x.storage_offset())


$implementation

with torch.no_grad():
    result = module.prepare(CASE)(**{name: given(name) for name in INPUTS})
got = result[$place] if isinstance(result, tuple) else result
expected, bound, deviation = (stored[name].cpu().numpy() for name in ("expected", "bound", "deviation"))
if not isinstance(got, torch.Tensor) or (got.shape, got.dtype) != (expected.shape, torch.$dtype):
    sys.exit(f"got {type(got).__name__}{getattr(got, 'shape', '')}, expected a torch.$dtype of {expected.shape}")

got = got.double().cpu().numpy()
error = np.abs(got - expected)
error[np.isnan(got) & np.isnan(expected)] = 0
error[~np.isfinite(error)] = np.inf
with np.errstate(over="ignore"):
    ratio = np.divide(error, bound, out=np.where(error > 0, np.inf, 0), where=bound > 0)
if not ratio.size:
    sys.exit(0)  # a length of 0, and an output of the right form
worst = np.unravel_index(np.argmax(ratio), ratio.shape)
print(f"$what at {[int(i) for i in worst]}: |error| {error[worst]:.3g}, error bound {bound[worst]:.3g}, "
      f"error ratio {ratio[worst]:.3g}; got {got[worst]:.9g}, expected {expected[worst]:.9g}")
wrong = ratio[worst] > 1
rows = np.isfinite(deviation).all(-1)  # in these, many small errors together are judged as well
if rows.any() and not wrong:
    z = np.divide(error[rows], deviation[rows], out=np.zeros_like(error[rows]), where=deviation[rows] > 0)
    up = z * np.sign(got - expected)[rows]
    for name, found, limit in (
        ("one element's error", z.max(), $limit_element),
        ("a row's root mean square error", np.sqrt((z**2).mean(-1)).max(), $limit_row),
        ("the root mean square error", np.sqrt((z**2).mean()), $limit_whole),
        ("the mean error up or down", abs(up.mean()), $limit_bias),
        ("the mean error towards or away from zero", abs((up * np.sign(expected[rows])).mean()), $limit_bias),
    ):
        print(f"{name}: {found:.3g} deviations of correct arithmetic, limit {limit:.3g}")
        wrong |= found > limit
print("wrong" if wrong else "right")
sys.exit(int(wrong))
''')

_DECLARATIONS = """\
# What the implementation imports of the harness are declarations, for which these stand in.
harness = sys.modules["attention_harness"] = types.ModuleType("attention_harness")
harness.Arithmetic = harness.Capabilities = harness.Case = types.SimpleNamespace
harness.HarnessError = ValueError

"""


def save(path: Path, implementation: Declared, case: Case, check: str) -> None:
    """Write the script."""
    import torch

    if check not in SAVED:
        raise HarnessError(
            f"--save: {check} needs more than one call, and a script holds one; give --check accuracy or "
            f"--check weights, or hand on the command: {replay_command(implementation, case)}"
        )
    need_new_file(path)
    place = SAVED.index(check)
    declared = implementation.capabilities
    error_bound = bound_of(case, declared.arithmetic, declared.policy)[place]
    if error_bound is None:
        raise HarnessError(f"--save: {case.mechanism} has no weights; give --check accuracy")
    whole = inputs.tensors(case)
    tensors = split(case, whole, parts_of(case, whole))
    stored = io.BytesIO()
    bases = {f"base of {name}": x._base for name, x in tensors.items() if x._base is not None}
    torch.save(tensors | bases | _judged(error_bound), stored)
    loading, needs = _loading(implementation)
    script = _SCRIPT.substitute(
        title=_in_docstring(f"{implementation.name}, {check}, {case.id}"),
        command=_in_docstring(replay_command(implementation, case)),
        needs=_in_docstring(", ".join(["torch, NumPy", *needs])),
        case=",\n    ".join(f"{name}={value!r}" for name, value in _facts(case).items()),
        stored=base64.b64encode(zlib.compress(stored.getvalue(), 9)).decode(),
        implementation=loading,
        inputs=repr(tuple(tensors)),
        place=place,
        dtype=case.dtype,
        what=("output", "weights")[place],
        **_limits(error_bound, case),
    )
    write_new(path, script)


def need_new_file(path: Path) -> None:
    """Raise HarnessError where a script cannot be written."""
    wrong = {
        "exists already": path.is_symlink() or path.exists(),
        "does not end in .py": path.suffix != ".py",
        f"{path.parent} is no directory": not path.parent.is_dir(),
    }
    for what, is_so in wrong.items():
        if is_so:
            raise HarnessError(f"--save {path}: {what}; give the name of a new file that ends in .py")


def _in_docstring(text: str) -> str:
    """Return a text that neither ends a docstring nor means anything in it: a path may hold quotes and backslashes."""
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _judged(error_bound: ErrorBound) -> dict[str, torch.Tensor]:
    """Return what is right, how far off each element may be, and the deviation where it is judged, NaN elsewhere."""
    import torch

    deviation = np.full(error_bound.value.shape, np.nan)
    if error_bound.linear is not None:
        rows = error_bound.linear & np.isfinite(error_bound.value).all(-1)
        rows &= True if error_bound.empty is None else ~error_bound.empty
        deviation[rows] = error_bound.deviation[rows]
    arrays = {"expected": error_bound.value, "bound": error_bound.bound, "deviation": deviation}
    return {name: torch.from_numpy(np.array(array, np.float64)) for name, array in arrays.items()}


def _limits(error_bound: ErrorBound, case: Case) -> dict[str, float | str]:
    """Return the limits of `attention_harness.bounds.judge` in deviations."""
    rows = np.isfinite(_judged(error_bound)["deviation"].numpy()).any(-1)
    limits = judge.Limits(math.inf, math.inf, math.inf)  # of no row
    if rows.any():
        limits = judge.limits_of(error_bound, rows, is_degenerate(case))
    row = limits.row if error_bound.value.shape[-1:] >= (judge.ROW_WIDTH,) else judge.DEVIATIONS
    found = {"limit_row": row, "limit_whole": limits.whole, "limit_bias": limits.bias}
    return {"limit_element": judge.DEVIATIONS} | {name: f"float('{limit}')" for name, limit in found.items()}


def _facts(case: Case) -> dict[str, Any]:
    """Return what an implementation may ask of a case."""
    values = {"id": case.id} | {one.name: getattr(case, one.name) for one in fields(case)}
    return {name: dict(value) if isinstance(value, Mapping) else value for name, value in values.items()}


def _loading(implementation: Declared) -> tuple[str, list[str]]:
    """Return the lines that make `module`, and what they need beside torch and NumPy."""
    if not implementation.loaded:
        name = implementation.module_name
        return f"module = importlib.import_module({name!r})", [f"the package that has {name}"]
    path = implementation.path.resolve()
    source = path.read_text(encoding="utf-8")
    declarations_only = _imported(source) <= _STAND_INS
    text = (
        f'SOURCE = {_literal(source)}\nmodule = sys.modules["{path.stem}"] = types.ModuleType("{path.stem}")\n'
        f'exec(compile(SOURCE, "{path.name}", "exec"), module.__dict__)'
    )
    return (_DECLARATIONS + text, []) if declarations_only else (text, ["attention-harness"])


def _imported(source: str) -> set[str]:
    """Return what a source imports of the harness, at any depth: names, and modules with their packages."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.partition(".")[0] == "attention_harness"}
        elif isinstance(node, ast.ImportFrom) and node.module == "attention_harness":
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("attention_harness."):
            found.add(str(node.module))
    return found


def _literal(source: str) -> str:
    """Return a literal that reads like the source where that can be."""
    return f"r'''{source}'''" if "'''" not in source and not source.endswith(("'", "\\")) else repr(source)
