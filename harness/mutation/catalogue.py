"""The mutants and the equivalent variants, read from TOML: `mutants/KIND.toml`, `equivalent/KIND.toml`.

A row has a name and a patch, or a list of them: what stands in eager's source, and what replaces it.

    [[mutant]]                                       # [[variant]] in equivalent/
    name = "causal sees one key of the future"
    cites = "RVC-Boss/GPT-SoVITS#965"                # where the like has shipped, if it has
    replace = "position <= last[..., None]"
    with = "position <= last[..., None] + 1"

A mutant is judged under vmap, autocast and the like only where `under = ["vmap"]` says so, which is for mutants of
these; a variant under all of them that are not in `not_under`.

`{{NAME}}` stands for a text of `snippets.toml`, and `helpers = "NAME"` adds one to the functions of the source.
"""

from __future__ import annotations

import functools
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from attention_harness.model.capabilities import TRANSFORMATIONS, Arithmetic
from attention_harness.model.errors import HarnessError
from attention_harness.mutation.patched import EquivalentVariant, Mutant, Patched, Patches

_HERE = Path(__file__).parent
_MARKER = re.compile(r"\{\{(\w+)\}\}")
_FUNCTIONS = "# --- what they share\n"
"""The line of eager's source after which helpers are put."""


class _Patch(msgspec.Struct, forbid_unknown_fields=True):
    replace: str
    put: str = msgspec.field(name="with")


class _Row(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    patch: Annotated[list[_Patch], Meta(min_length=1)]
    helpers: str = ""
    lacks: tuple[str, ...] = ()


class _MutantRow(_Row):
    cites: str = ""
    under: tuple[str, ...] = ()


class _VariantRow(_Row):
    arithmetic: dict[str, Any] = {}
    fully_masked_rows: str | dict[str, str] = "zero"
    not_under: tuple[str, ...] = ()
    second_derivatives: bool = True


Row = TypeVar("Row", bound=_Row)
Made = TypeVar("Made", bound=Patched)


@functools.cache
def mutants() -> tuple[Mutant, ...]:
    """Return every mutant, by kind."""

    def made(row: _MutantRow, kind: str, patches: Patches) -> Mutant:
        return Mutant(row.name, kind, patches, row.cites, under=row.under, lacks=row.lacks)

    return _read("mutants", "mutant", _MutantRow, made)


@functools.cache
def variants() -> tuple[EquivalentVariant, ...]:
    """Return every equivalent variant, by kind."""

    def made(row: _VariantRow, kind: str, patches: Patches) -> EquivalentVariant:
        policy = row.fully_masked_rows
        pairs = policy if isinstance(policy, str) else tuple(policy.items())
        under = tuple(name for name in TRANSFORMATIONS if name not in row.not_under)
        arithmetic = Arithmetic(**row.arithmetic)
        declared = {"under": under, "lacks": row.lacks, "second_derivatives": row.second_derivatives}
        return EquivalentVariant(row.name, kind, patches, arithmetic, pairs, **declared)  # type: ignore[arg-type]

    return _read("equivalent", "variant", _VariantRow, made)


def _read(folder: str, table: str, form: type[Row], make: Callable[[Row, str, Patches], Made]) -> tuple[Made, ...]:
    """Return what `make` makes of each row's name, kind and patches, in the files of a folder."""
    snippets, found = _toml(_HERE / "snippets.toml"), dict[str, Made]()
    for path in sorted((_HERE / folder).glob("*.toml")):
        tables = _toml(path)
        if tables.keys() != {table}:
            raise HarnessError(f"{path}: write [[{table}]] rows; it has {', '.join(tables) or 'none'}")
        for raw in tables[table]:
            name = raw.get("name", "")
            try:
                row = msgspec.convert(_one_form(raw), form)
                row.lacks += tuple(
                    lacking for used in _used(row) for lacking in snippets.get("lacks", {}).get(used, ())
                )
                made = make(row, path.stem.replace("_", " "), _patches(row, snippets))
            except (msgspec.ValidationError, TypeError, LookupError) as error:
                raise HarnessError(f"{path}: {table} {name!r}: {error}") from None
            if name in found:
                raise HarnessError(f"{path}: {table} {name!r}: there is another one of this name")
            found[name] = made
    return tuple(found.values())


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise HarnessError(f"{path}: {error}") from None


def _one_form(row: dict[str, Any]) -> dict[str, Any]:
    """Return the row with its patches in a list, also where it is the one patch itself."""
    if "patch" in row:
        return row
    patch = {key: text for key, text in row.items() if key in ("replace", "with")}
    return {key: text for key, text in row.items() if key not in patch} | {"patch": [patch]}


def _used(row: _Row) -> list[str]:
    """Return the names of the snippets that a row uses."""
    return [*_MARKER.findall("".join(patch.replace + patch.put for patch in row.patch)), row.helpers]


def _patches(row: _Row, snippets: dict[str, Any]) -> Patches:
    def whole(text: str) -> str:
        return _MARKER.sub(lambda marker: _snippet(marker[1], snippets), text)

    patches = [(whole(patch.replace), whole(patch.put)) for patch in row.patch]
    if row.helpers:  # last: the patches are not meant for them
        patches.append((_FUNCTIONS, f"{_FUNCTIONS}\n\n{_snippet(row.helpers, snippets)}"))
    return tuple(patches)


def _snippet(name: str, snippets: dict[str, Any]) -> str:
    if not isinstance(snippets.get(name), str):
        raise LookupError(f"no snippet {name}; snippets.toml has {', '.join(snippets)}")
    return snippets[name]
