"""Keys and values of earlier calls: the first keys come apart, as `past_key` and `past_value`, the others as they do.

The problem is that of all keys: the earlier ones come first, then those of this call. Masks, biases, lengths and places
count them together, so that causality's bottom-right corner is the last key of this call. Decoding token by token, each
time with all that came before, gives what the whole gives at once.
"""

from __future__ import annotations

from collections.abc import Mapping

from attention_harness.options.option import Group, Option, Part, Stage

_EARLIER = {
    "before": lambda queries, keys: max(keys - queries, 0),  # the call brings the keys of its queries
    "half": lambda queries, keys: keys // 2,
    "none": lambda queries, keys: 0,
    "all": lambda queries, keys: keys,
}


def _parts(form: str, queries: int, keys: int) -> Mapping[str, tuple[Part, ...]]:
    earlier = _EARLIER[form](queries, keys)
    return {name: ((f"past_{name}", 0, earlier), (name, earlier, keys)) for name in ("key", "value")}


OPTION = Option(
    name="past",
    summary="past_key, past_value: the first keys and values, of earlier calls; key and value are those that follow",
    capability=lambda form: "past",
    capabilities=("past",),
    group=Group.NAMED,  # the mechanism has to have keys and values of its own
    stage=Stage.SCORES,
    forms=("before", "half"),
    more_forms=("none", "all"),
    accepts=lambda form: form in _EARLIER,
    expected=f"{', '.join(_EARLIER)}: which of the keys are of earlier calls",
    parts=_parts,
    argument="before",
)
