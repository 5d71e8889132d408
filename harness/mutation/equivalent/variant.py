"""An equivalent variant: it computes differently and is right, so that the suite must not accuse it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from attention_harness.model.capabilities import Arithmetic
from attention_harness.mutation.patching import Patches, patched_eager, reached_mechanisms
from attention_harness.registry import Implementation

_LOOSEST = Arithmetic()


@dataclass(frozen=True, slots=True)
class EquivalentVariant:
    """Patches of eager's source, with the arithmetic and the rule for fully masked rows that it declares.

    It is right for every option, and autograd flows through it.
    """

    name: str
    patches: Patches
    arithmetic: Arithmetic = _LOOSEST
    fully_masked_rows: str = "zero"

    def implementation(self) -> Implementation:
        """Return eager computed in this way; its name is `variant:NAME`."""
        made = patched_eager(f"variant:{self.name}", self.patches)
        made.module.__dict__["CAPABILITIES"] = replace(
            made.capabilities, arithmetic=self.arithmetic, fully_masked_rows=self.fully_masked_rows
        )
        return made

    def mechanisms(self) -> tuple[str, ...]:
        """Return the mechanisms whose code the patches reach."""
        return reached_mechanisms(self.name, self.patches)
