"""The float64 oracle offered as an implementation: what the harness's own machinery makes of a perfect answer.

The one implementation that may import the references, since it is the reference.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from attention_harness import DTYPES, Arithmetic, Capabilities
from attention_harness.options import OPTIONS

if TYPE_CHECKING:
    from collections.abc import Callable

    from attention_harness import Case

CAPABILITIES = Capabilities(
    mechanisms=(
        "dot_product",
        "scaled_dot_product",
        "cosine",
        "additive",
        "concat_tanh",
        "tanh_gated",
        "gaussian_kernel",
        "masked_softmax",
        "location",
        "projected",
        "multi_head",
        "positional_encoding",
        "rotary_embedding",
        "linear_attention",
        "self_attention",
        "cross_attention",
        "differential_attention",
        "latent_attention",
    ),
    dtypes=tuple(DTYPES),
    options=tuple(
        name for option in OPTIONS.values() if not (option.training or option.returned) for name in option.capabilities
    ),
    weights=True,
    arithmetic=Arithmetic(accumulator="float64", rounded_scores=False, stored_probabilities=False),
)


def prepare(case: Case) -> Callable[..., Any]:
    """Return the reference on float64 copies of the tensors; its answer is rounded once, to the case's dtype."""
    import numpy as np
    import torch

    mechanism = importlib.import_module(f"attention_harness.reference.{case.mechanism}").MECHANISM
    dtype = getattr(torch, case.format.torch)
    forms = case.options.items()
    settings = {
        name: form
        for name, form in forms
        if name in mechanism.choices or (OPTIONS[name].in_formula and not OPTIONS[name].brings(form))
    }
    settings |= {keyword: case.sizes[axis] for keyword, axis in mechanism.settings.items()}

    def evaluate(**tensors: torch.Tensor) -> tuple[torch.Tensor, ...] | torch.Tensor:
        exact = {name: (x.double() if x.is_floating_point() else x).numpy() for name, x in tensors.items()}
        for name in ("key", "value"):
            if f"past_{name}" in exact:
                exact[name] = np.concatenate([exact.pop(f"past_{name}"), exact[name]], -2)
        with np.errstate(invalid="ignore", over="ignore"):  # of hidden NaN and infinities, which are asked
            results = mechanism.evaluate(**exact, **settings)
        rounded = tuple(torch.tensor(x, dtype=dtype) for x in results if x is not None)
        return rounded if len(rounded) == 2 else rounded[0]

    return evaluate
