"""Small functions for implementation files: the glue between the harness's tensors and a library's own conventions.

The rest of the harness uses none of them. They hold no state, and torch is imported when they are called.
"""

from attention_harness.adapters.arrays import via_dlpack
from attention_harness.adapters.layouts import from_layout
from attention_harness.adapters.masks import additive_mask, hidden_is_true
from attention_harness.adapters.modules import module_with

__all__ = ["additive_mask", "from_layout", "hidden_is_true", "module_with", "via_dlpack"]
