"""`new NAME`: the skeleton of an implementation file, for any mechanism, or a file that calls a library."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

from attention_harness import registry
from attention_harness.model.errors import HarnessError
from attention_harness.registry.mechanisms import unknown

TEMPLATES = Path(__file__).with_name("like")
"""Whole files that call a library; NAME stands in them for the implementation's name."""

_LENGTHS = ("Lq", "Lk", "L", "P")  # axes along which a problem may be empty

_SKELETON = '''\
r"""{title} by {name}.

$${formula}$$
"""

from attention_harness import Capabilities

CAPABILITIES = Capabilities(
    mechanisms=("{mechanism}",),
    dtypes=("float32",),
    devices=("cpu",),
    options=(),  # of: {options}
    # requires=({lengths}),  # lengths of 0 are asked unless this line refuses them
)


def prepare(case):
    """Return the callable that is judged and timed; what is done here is not timed."""

    def {mechanism}({inputs}):
        # {shapes}
        raise NotImplementedError("compute the output {output} here")

    return {mechanism}
'''


def libraries() -> list[str]:
    """Return the names of the libraries that a file can be modelled on."""
    return sorted(path.stem for path in TEMPLATES.glob("*.txt"))


def write(name: str, text: str, directory: Path) -> Path:
    """Write the file and return its path; a file that exists is left as it is."""
    if not name.isidentifier() or name.startswith("_"):
        raise HarnessError(f"{name!r} cannot name a file of Python: use letters, digits and _, not _ first")
    if name in registry.implementations():
        raise HarnessError(f"an implementation {name} exists; choose another name, for two cannot stand side by side")
    path = directory / f"{name}.py"
    if path.exists():
        raise HarnessError(f"{path} exists; it is left as it is")
    if name in sys.stdlib_module_names or importlib.util.find_spec(name) is not None:
        raise HarnessError(f"a file {name}.py would hide the module {name} from Python; choose another name")
    if not directory.is_dir():
        raise HarnessError(f"{directory} is not a directory")
    with path.open("x", encoding="utf-8") as file:
        file.write(text)
    return path


def from_library(library: str, name: str) -> str:
    """Return the text of a file that calls a library."""
    if library not in libraries():
        raise unknown("library to start from", library, libraries())
    if name == library:
        raise HarnessError(f"a file {name}.py would hide {name} itself from Python; choose another name")
    return (TEMPLATES / f"{library}.txt").read_text(encoding="utf-8").replace("NAME", name)


def skeleton(mechanism: str, name: str) -> str:
    """Return the text of a file for a mechanism, with its shapes, options and formula, and nothing computed."""
    known = registry.mechanism(mechanism)
    axes = dict.fromkeys(axis for declared in known.inputs for axis in declared.axes)
    lengths = [axis for axis in axes if axis in _LENGTHS]
    return _SKELETON.format(
        title=known.name.replace("_", " ").capitalize(),
        name=name,
        formula=known.formula,
        mechanism=known.name,
        options=", ".join(known.options) or "none",
        lengths=", ".join(f'"{axis} >= 1"' for axis in lengths) + ("," if len(lengths) == 1 else ""),
        inputs=", ".join(declared.name for declared in known.inputs),
        shapes="; ".join(f"{declared.name} ({', '.join(declared.axes)})" for declared in known.inputs),
        output=f"({', '.join(known.output)})",
    )
