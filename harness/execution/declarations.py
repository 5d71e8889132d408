"""What implementations declare, asked without running their code here.

The shipped ones are ours and are imported; a file to load and an installed package are imported in a process of their
own, which answers as long as it is asked. One that ends that process, or does not come to an end, is a mistake.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from attention_harness.execution.apart import Apart
from attention_harness.execution.hosts import Host
from attention_harness.execution.limits import DEFAULT_LIMITS, Limits
from attention_harness.execution.lost import Lost
from attention_harness.host.loading import Source
from attention_harness.model.case import Case
from attention_harness.model.errors import HarnessError, ImplementationRaised
from attention_harness.registry import Declared
from attention_harness.registry.implementations import chosen, imported, named, sources


def implementations(load: Sequence[Path] = (), limits: Limits = DEFAULT_LIMITS) -> dict[str, Declared]:
    """Return what every implementation declares, by name: shipped, installed, then the files to load.

    limits: of the import, where it was not imported before
    """
    return named(_declared(source, limits) for source in sources(load))


def select(names: Iterable[str], load: Sequence[Path] = ()) -> list[Declared]:
    """Return what the named implementations declare; all when none is named, or the loaded ones when there are any."""
    return chosen(names, implementations(load))


_asked: dict[tuple[Source, bytes], Declared] = {}  # as long as a file is the same, it is imported once
_MOST = 16  # processes that are kept


def _declared(source: Source, limits: Limits) -> Declared:
    if not (source.loaded or source.entry):
        return imported(source)
    content = source.path.read_bytes() if source.path.is_file() else b""
    if (source, content) not in _asked:
        host = Host(source, None, limits.divided(1).memory, limits.seconds)
        with _mistake(f"--load {source.path}: importing it" if source.loaded else f"{source.where} does not load"):
            facts = host.ask("declare").facts
        assert facts is not None
        if len(_asked) >= _MOST:
            _asked.clear()
        _asked[source, content] = _Declared(host, facts)
    return _asked[source, content]


class _Declared(Apart):
    """An implementation that is only asked for what it declares."""

    def answer(self, name: str, *arguments: Case) -> str:
        with _mistake(f"{self.path}: {name}()"):
            return super().answer(name, *arguments)


@contextlib.contextmanager
def _mistake(place: str) -> Iterator[None]:
    try:
        yield
    except (Lost, ImplementationRaised) as error:
        raise HarnessError(f"{place}: {error}") from error
