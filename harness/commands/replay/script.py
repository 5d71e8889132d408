"""A case as a script of its own: the implementation, the inputs bit for bit, what is right and how far off it may be.

The script needs torch and NumPy and not this harness, so that it can go to whoever maintains what failed. Storage is
kept whole, with strides and offset: memory layouts, and what lies beside a view, come back as they were.
"""

from __future__ import annotations

import ast
import base64
import io
import math
import zlib
from dataclasses import fields
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

import numpy as np

from attention_harness.bounds import ErrorBound, judge
from attention_harness.cases import inputs
from attention_harness.checks.accuracy import is_degenerate
from attention_harness.checks.expected import bound_of
from attention_harness.execution.plan import replay_command
from attention_harness.model.capabilities import Arithmetic, Capabilities
from attention_harness.model.case import Case
from attention_harness.model.errors import HarnessError
from attention_harness.registry import Implementation
from attention_harness.store.files import write_new

if TYPE_CHECKING:
    import torch

SAVED = ("accuracy", "weights")
"""The checks that look at the numbers of one call and at nothing else; a script holds one of these."""

_INLINE_LINES = 200  # a longer file is loaded from where it lies
_INLINE_BYTES = 48 * 1024  # more numbers than this, compressed, go to a file beside the script
_ROOT = Path(__file__).resolve().parents[3]

_SCRIPT = Template('''\
"""$title

Made by: $command
Needs $needs. Exits with 1 when the error exceeds its error bound, with 0 when it does not.
"""

import base64, dataclasses, importlib, importlib.util, sys, types, zlib
from pathlib import Path

import numpy as np
import torch

torch.set_num_threads(1)
CASE = types.SimpleNamespace(
    $case
)
PACKED = {  # name: dtype, shape, strides, offset, the whole storage compressed
$packed
}


def unpacked(name):
    dtype, shape, strides, offset, text = PACKED[name]
    raw = bytearray(zlib.decompress($decoded))
    flat = torch.frombuffer(raw, dtype=dtype) if raw else torch.empty(0, dtype=dtype)
    return flat.to(CASE.device).as_strided(shape, strides, offset)


# What an implementation imports of the harness are declarations, for which these stand in.
harness = types.ModuleType("attention_harness")
harness.Case, harness.HarnessError, harness.OPTIONS = types.SimpleNamespace, ValueError, ()
$declarations
for name in ("", ".model", ".model.capabilities", ".model.case", ".execution"):
    sys.modules["attention_harness" + name] = harness
machine = sys.modules["attention_harness.execution.machine"] = types.ModuleType("attention_harness.execution.machine")
machine.processor = lambda: {"extensions": ()}  # a script knows no declared failures

$implementation

with torch.no_grad():
    result = module.prepare(CASE)(**{name: unpacked(name) for name in $given})
got = result[$place] if isinstance(result, tuple) else result
expected, bound, deviation = (unpacked(name).cpu().numpy() for name in ("expected", "bound", "deviation"))
if not isinstance(got, torch.Tensor) or (got.shape, got.dtype) != (expected.shape, torch.$dtype):
    sys.exit(f"got {type(got).__name__}{getattr(got, 'shape', '')}, expected a torch.$dtype of {expected.shape}")

got = got.double().cpu().numpy()
error = np.abs(got - expected)
error[np.isnan(got) & np.isnan(expected)] = 0
error[~np.isfinite(error)] = np.inf
with np.errstate(over="ignore"):
    share = np.divide(error, bound, out=np.where(error > 0, np.inf, 0), where=bound > 0)
if not share.size:
    sys.exit(0)  # a length of 0, and an output of the right form
worst = np.unravel_index(np.argmax(share), share.shape)
print(f"$what at {[int(i) for i in worst]}: |error| {error[worst]:.3g}, error bound {bound[worst]:.3g}, "
      f"share {share[worst]:.3g}; got {got[worst]:.9g}, expected {expected[worst]:.9g}")
wrong = share[worst] > 1
rows = np.isfinite(deviation).all(-1)  # in these, many small errors together are judged as well
if rows.any() and not wrong:
    z = np.divide(error[rows], deviation[rows], out=np.zeros_like(error[rows]), where=deviation[rows] > 0)
    for name, found, limit in (
        ("one element's error", z.max(), $limit_element),
        ("a row's root mean square error", np.sqrt((z**2).mean(-1)).max(), $limit_row),
        ("the root mean square error", np.sqrt((z**2).mean()), $limit_whole),
    ):
        print(f"{name}: {found:.3g} deviations of correct arithmetic, limit {limit:.3g}")
        wrong |= found > limit
print("wrong" if wrong else "right")
sys.exit(int(wrong))
''')


def save(path: Path, implementation: Implementation, case: Case, check: str) -> list[Path]:
    """Write the script, and beside it the numbers where they are many; return what was written."""
    if check not in SAVED:
        raise HarnessError(
            f"--save: {check} asks more than one call can show, and a script holds one call; give --check accuracy or "
            f"--check weights, or hand on the command: {replay_command(implementation, case)}"
        )
    beside = path.with_suffix(".npz")
    if path.exists() or path.suffix != ".py":
        wrong = "exists already" if path.exists() else "does not end in .py"
        raise HarnessError(f"--save {path}: {wrong}; give the name of a new file that ends in .py")
    place = SAVED.index(check)
    declared = implementation.capabilities
    error_bound = bound_of(case, declared.arithmetic, declared.fully_masked_rows)[place]
    if error_bound is None:
        raise HarnessError(f"--save: {case.mechanism} has no weights; give --check accuracy")
    given = inputs.tensors(case)
    stored = given | _judged(error_bound)
    packed = {name: zlib.compress(_storage(tensor), 9) for name, tensor in stored.items()}
    small = sum(map(len, packed.values())) <= _INLINE_BYTES
    text = {name: repr(base64.b64encode(raw).decode()) if small else repr(name) for name, raw in packed.items()}
    loaded, needs = _loading(implementation)
    script = _SCRIPT.substitute(
        title=_in_docstring(f"{implementation.name}, {check}, {case.id}"),
        command=_in_docstring(replay_command(implementation, case)),
        needs=_in_docstring("torch, NumPy" + needs + ("" if small else f", {beside.name} beside it")),
        case=",\n    ".join(f"{name}={value!r}" for name, value in _told(case).items()),
        packed="\n".join(f"    {name!r}: {_layout(tensor)}, {text[name]})," for name, tensor in stored.items()),
        decoded="base64.b64decode(text)"
        if small
        else 'np.load(Path(__file__).with_suffix(".npz"), allow_pickle=False)[text].tobytes()',
        declarations="\n".join(map(_stand_in, (Capabilities, Arithmetic))),
        implementation=loaded,
        given=repr(tuple(given)),
        place=place,
        dtype=case.dtype,
        what=("output", "weights")[place],
        **_limits(error_bound, case),
    )
    written = [path] if small else [path, beside]
    for one in written:
        if one.is_symlink() or one.exists():
            raise HarnessError(f"--save: {one} exists; it is left as it is")
    write_new(path, script)
    if not small:
        file = io.BytesIO()
        np.savez(file, **{name: np.frombuffer(raw, np.uint8) for name, raw in packed.items()})  # type: ignore[arg-type]
        write_new(beside, file.getvalue())
    return written


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


def _limits(error_bound: ErrorBound, case: Case) -> dict[str, float]:
    """Return the limits of `attention_harness.bounds.judge` in deviations."""
    degenerate = is_degenerate(case)
    judged = int(np.isfinite(_judged(error_bound)["deviation"].numpy()).sum())
    whole = judge.WHOLE_DEGENERATE if degenerate else judge.WHOLE + judge.WHOLE_SLACK / math.sqrt(max(judged, 1))
    wide = error_bound.value.shape[-1:] >= (judge.ROW_WIDTH,)
    row = (judge.ROW_DEGENERATE if degenerate else judge.ROW) if wide else judge.DEVIATIONS
    return {"limit_element": judge.DEVIATIONS, "limit_row": row, "limit_whole": whole}


def _storage(tensor: torch.Tensor) -> bytes:
    """Return every byte of the memory that a tensor views."""
    return bytes(tensor.untyped_storage().cpu())


def _layout(tensor: torch.Tensor) -> str:
    return f"({tensor.dtype}, {tuple(tensor.shape)}, {tensor.stride()}, {tensor.storage_offset()}"


def _told(case: Case) -> dict[str, Any]:
    plain = {"id": case.id, "mechanism": case.mechanism, "sizes": dict(case.sizes), "dtype": case.dtype}
    further = {"options": dict(case.options), "content": case.content, "layout": case.layout}
    return plain | further | {"seed": case.seed, "device": case.device, "requires": case.requires}


def _stand_in(kind: type[Any]) -> str:
    names = " ".join(declared.name for declared in fields(kind))
    made = f'(name, object, None) for name in "{names}".split()'
    return f"harness.{kind.__name__} = dataclasses.make_dataclass({kind.__name__!r}, [\n    {made}\n])"


def _loading(implementation: Implementation) -> tuple[str, str]:
    """Return the lines that make `module`, and what they need beside torch and NumPy."""
    path = implementation.path.resolve()
    if not implementation.loaded:
        name = implementation.module.__name__
        if not path.is_relative_to(_ROOT):
            return f"module = importlib.import_module({name!r})", f", the package that has {name}"
        return _imported(
            f"module = importlib.import_module({name!r})"
        ), f", the folder {_ROOT}, and what {name} imports"
    source = path.read_text(encoding="utf-8")
    ours = bool(_packages(source) & {"attention_harness.implementations", "attention_harness.reference"})
    if len(source.splitlines()) > _INLINE_LINES:
        lines = [
            f'spec = importlib.util.spec_from_file_location("{path.stem}", {str(path)!r})',
            "module = importlib.util.module_from_spec(spec)",
            "sys.modules[spec.name] = module",
            "spec.loader.exec_module(module)",
        ]
        text, needs = "\n".join(lines), f", {path}"
    else:
        text = (
            f'SOURCE = {_literal(source)}\nmodule = sys.modules["{path.stem}"] = types.ModuleType("{path.stem}")\n'
            f'exec(compile(SOURCE, "{path.name}", "exec"), module.__dict__)'
        )
        needs = ""
    return (_imported(text), f"{needs}, the folder {_ROOT}") if ours else (text, needs)


def _imported(text: str) -> str:
    """Return lines that make the checkout's implementations and references importable, and then the text."""
    return f"""\
for name in ("implementations", "reference"):
    folder = sys.modules["attention_harness." + name] = types.ModuleType("attention_harness." + name)
    folder.__path__ = [str(Path({str(_ROOT)!r}, name))]
    setattr(harness, name, folder)
{text}"""


def _packages(source: str) -> set[str]:
    """Return the packages that a source imports, at any depth, by their first two names."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        found |= {".".join(name.split(".")[:2]) for name in names}
    return found


def _literal(source: str) -> str:
    """Return a literal that reads like the source where that can be."""
    return f"r'''{source}'''" if "'''" not in source and not source.endswith(("'", "\\")) else repr(source)
