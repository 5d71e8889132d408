"""What a reader can see in a mechanism's weights on the samples; tests hold every claim against the numbers."""

from __future__ import annotations

NOTICE = {
    "dot_product": "Products of 32 features are large. On average a query gives 0.7 of its weight to a single key.",
    "scaled_dot_product": (
        "The same products over the square root of 32. The largest weight of a query falls to a quarter on "
        "average, and the neighbours show."
    ),
    "cosine": (
        "A cosine lies between -1 and 1, so that no key weighs more than e^2 = 7.4 times as much as another. The "
        "pattern is that of the products, almost without contrast."
    ),
    "gaussian_kernel": (
        "Weight goes to the nearest keys. Over 32 features distances are large: on average one key gets more than"
        " three quarters."
    ),
    "tanh_gated": "The tanh bounds the key's features, and not the query's: long queries still make sharp weights.",
    "concat_tanh": (
        "There are columns. Query and key meet inside the tanh alone, and one key wins for three quarters of the "
        "queries."
    ),
    "additive": (
        "Columns again, and softer: no feature adds more than its entry of w_v. On average the largest weight is "
        "less than a tenth."
    ),
    "location": "Nothing is compared: a layer chooses among fixed positions. So there is no diagonal.",
    "masked_softmax": "A hidden key has the weight 0 exactly, and the others still sum to 1.",
    "self_attention": (
        "Most positions resemble themselves best: the diagonal. Positions that are added make it stronger."
    ),
    "cross_attention": "Queries come from one text, keys from another. So there is no diagonal.",
    "projected": (
        "The score decides: sharp for the dot product, almost even for the cosine, between them once scaled."
    ),
    "multi_head": "Each head has a map of its own, since it compares features of its own.",
    "positional_encoding": (
        "The encoding alone, in the last panel: sine and cosine side by side, slower and slower to the right."
    ),
    "rotary_embedding": (
        "Rotations keep lengths: only the angle between a query and a key changes, by their distance."
    ),
    "latent_attention": (
        "The diagonal comes from the rotary parts, here queries and keys of another head; the latents go through "
        "projections that were drawn."
    ),
    "differential_attention": (
        "Weights may be negative: what both maps share is taken away. Every row has the same sum, 1 - lambda."
    ),
    "linear_attention": (
        "There is no softmax and no weight to draw. Each row is what a query reads of the state, the sum of keys "
        "times values so far."
    ),
}
"""By mechanism."""
