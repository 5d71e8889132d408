"""The files that mutants and equivalent variants are written in: what a row becomes, and what is told of a mistake."""

from __future__ import annotations

import builtins
import symtable
from collections.abc import Iterator

import pytest

from attention_harness.model.capabilities import TRANSFORMATIONS, Arithmetic
from attention_harness.model.errors import HarnessError
from attention_harness.mutation import catalogue
from attention_harness.mutation.patched import EquivalentVariant, Mutant

SNIPPETS = 'twice = "2 * 2"\nfunctions = """\ndef f(): ...\n"""\n'
ROW = '[[mutant]]\nname = "a"\n'
PATCH = 'replace = "x"\nwith = "y"\n'


@pytest.fixture
def written(monkeypatch, tmp_path):
    """Return the reader of a file of mutants, or of equivalent variants."""

    def read(text: str, folder: str = "mutants"):
        (tmp_path / folder).mkdir()
        (tmp_path / "snippets.toml").write_text(SNIPPETS)
        (tmp_path / folder / "valid_lengths.toml").write_text(text)
        return {"mutants": catalogue.mutants, "equivalent": catalogue.variants}[folder].__wrapped__()

    monkeypatch.setattr(catalogue, "_HERE", tmp_path)
    return read


def test_a_row_is_a_mutant(written):
    """Its kind is the name of the file; a snippet stands where it is named."""
    rows = f'{ROW}cites = "b/c#1"\nreplace = "x"\nwith = "1 + {{{{twice}}}}"\n\n[[mutant]]\nname = "b"\n{PATCH}'
    expected = (
        Mutant("a", "valid lengths", (("x", "1 + 2 * 2"),), "b/c#1"),
        Mutant("b", "valid lengths", (("x", "y"),)),
    )
    assert expected == written(rows)


def test_a_row_may_have_several_patches(written):
    """They are applied in order; helpers come last, so that no patch is applied to them."""
    [mutant] = written(f'{ROW}helpers = "functions"\n[[mutant.patch]]\n{PATCH}[[mutant.patch]]\n{PATCH}')
    *patches, (anchor, helpers) = mutant.patches
    assert [("x", "y"), ("x", "y")] == patches
    assert helpers == f"{anchor}\n\ndef f(): ...\n"


def test_a_variant_says_what_it_declares(written):
    """The loosest arithmetic apart from what its row names."""
    row = f'[[variant]]\nname = "a"\narithmetic = {{ split_keys = true }}\nfully_masked_rows = "nan"\n{PATCH}'
    expected = EquivalentVariant(
        "a", "valid lengths", (("x", "y"),), Arithmetic(split_keys=True), "nan", under=TRANSFORMATIONS
    )
    assert (expected,) == written(row, "equivalent")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (f"{ROW}{PATCH}cite = 'b/c#1'", "mutant 'a': Object contains unknown field `cite`"),
        (f"{ROW}replace = 'x'", "mutant 'a': Object missing required field `with`"),
        (ROW, "mutant 'a': Object missing required field `replace`"),
        (f"{ROW}patch = []", "mutant 'a': Expected `array` of length >= 1"),
        (f"{ROW}{PATCH}[[mutant.patch]]\n{PATCH}", "mutant 'a': Object contains unknown field `replace`"),
        (f"[[mutant]]\n{PATCH}", "mutant '': Object missing required field `name`"),
        (f"{ROW}{PATCH}{ROW}{PATCH}", "mutant 'a': there is another one of this name"),
        (f"{ROW}replace = 'x'\nwith = '{{{{thrice}}}}'", "mutant 'a': no snippet thrice; snippets.toml has twice"),
        (f"{ROW}helpers = 'thrice'\n{PATCH}", "mutant 'a': no snippet thrice"),
        (f"[[variant]]\nname = 'a'\n{PATCH}", r"write \[\[mutant\]\] rows; it has variant"),
        ("[[mutant", "valid_lengths.toml: Expected"),
    ],
)
def test_a_mistake_in_a_file_is_told(written, text, told):
    """In one line, with the file and the row."""
    with pytest.raises(HarnessError, match=told) as raised:
        written(text)
    assert "valid_lengths.toml" in str(raised.value)


def test_an_arithmetic_that_there_is_not_is_told(written):
    """A misspelt promise would make the variant's bound tighter without a word."""
    with pytest.raises(HarnessError, match=r"variant 'a': .*'split_key'"):
        written(f"[[variant]]\nname = 'a'\narithmetic = {{ split_key = true }}\n{PATCH}", "equivalent")


def test_a_patch_of_text_that_is_gone_is_told():
    """When eager has changed, the mutant must be planted in what took the place of its text."""
    with pytest.raises(HarnessError, match=r"mutant 'old': .*eager.py no longer has 'not there'"):
        Mutant("old", "test", (("not there", ""),)).source()


def undefined(table: symtable.SymbolTable, known: set[str]) -> Iterator[str]:
    """Yield the global names that a source's functions use and nobody defines."""
    for symbol in table.get_symbols():
        if symbol.is_global() and symbol.is_referenced() and symbol.get_name() not in known:
            yield symbol.get_name()
    for inner in table.get_children():
        yield from undefined(inner, known)


@pytest.mark.parametrize("patched", [*catalogue.mutants(), *catalogue.variants()], ids=lambda one: one.name)
def test_a_patch_uses_names_that_are_there(patched):
    """A NameError would kill a mutant whatever the suite asks, and accuse a variant."""
    known = {*dir(builtins), *vars(patched.implementation().module)}
    assert not list(undefined(symtable.symtable(patched.source(), "patched", "exec"), known))
