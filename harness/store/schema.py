"""The JSON schema of a run directory, generated from the types.

`python -m attention_harness.store.schema > docs/run-directory.schema.json` writes the published one anew.
"""

from __future__ import annotations

from typing import Any

import msgspec

from attention_harness.model.run_facts import FORMAT
from attention_harness.store.encoding import document
from attention_harness.store.layout import DOCUMENTS, LINES


def schema() -> dict[str, Any]:
    """Return a schema of an object whose properties are the files of a run directory; of lines, one stands for all."""
    kinds = DOCUMENTS | LINES
    schemas, components = msgspec.json.schema_components(kinds.values(), ref_template="#/$defs/{name}")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"A run directory, format {FORMAT}",
        "description": "By file, what it holds: a .json file as a whole, a .jsonl file in each of its lines.",
        "type": "object",
        "properties": dict(zip(kinds, schemas, strict=True)),
        "$defs": components,
    }


if __name__ == "__main__":
    print(document(schema()))
