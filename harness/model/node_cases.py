"""What became of ONNX's own node cases in an implementation: what a run directory holds of them."""

from __future__ import annotations

from attention_harness.model.stored import Name, Stored, Text
from attention_harness.model.verdict import Status


class NodeCase(Stored, frozen=True):
    """A node case of ONNX's backend suite in an implementation: a row of `node_cases.json`.

    name            of the case, as upstream has it
    implementation  "" where the case is left out: no mechanism with its options means what the node does
    reason          of everything but a pass, in plain words
    """

    name: Name
    operator: Name
    implementation: Name
    status: Status
    reason: Text = ""

    def __post_init__(self) -> None:
        Stored.__post_init__(self)
        if (self.status is Status.PASS) is bool(self.reason):
            raise ValueError(f"{self.name} in {self.implementation!r}: everything but a pass needs a reason")
