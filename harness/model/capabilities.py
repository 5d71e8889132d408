"""What an implementation declares: what it takes, what it promises, and the arithmetic that its bounds follow from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, cast

from attention_harness.model.dtypes import CODES, DTYPES
from attention_harness.model.errors import HarnessError
from attention_harness.model.requirements import requirement

FULLY_MASKED_ROWS = ("zero", "nan", "mean")

Policy = str | tuple[tuple[str, str], ...]
"""What a row that sees no key gets: a word for all of them, or (option that hides it, word) pairs; else "zero"."""


def word_of(policy: Policy, way: str) -> str:
    """Return what a row gets that sees no key because of an option."""
    return policy if isinstance(policy, str) else dict(policy).get(way, "zero")


def spelt_policy(policy: Policy) -> str:
    """Return a policy as a finding spells it."""
    return policy if isinstance(policy, str) else ", ".join(f"{way}: {word}" for way, word in policy)


DEVICES = ("cpu", "cuda")

AUTOCAST = tuple(name for name, dtype in DTYPES.items() if not dtype.single)
"""The dtypes in which torch.autocast runs what it runs in another one than the tensors'."""


TRANSFORMATIONS = ("vmap", "forward_derivatives", "autocast", "narrower_inputs", "wider_inputs")
"""The fields that declare what users apply to a call: what is not declared is not asked."""

_LARGEST_EXP_ULP = 64  # an exponential that errs more than this is no exponential of its format


def _need_flags(what: str, declared: Any) -> None:
    """Refuse what is neither True nor False in a field whose default is: a text such as "no" would count as True."""
    for one in fields(declared):
        value = getattr(declared, one.name)
        if isinstance(one.default, bool) and not isinstance(value, bool):
            raise HarnessError(f"{what}: {one.name} must be True or False, got {value!r}")


def _codes(declared: Any) -> tuple[tuple[str, str], ...]:
    """Return what is quantised as pairs, in the order of names."""
    try:
        found = dict(declared)
        pairs = tuple(sorted(found.items()))
        right = len(found) == len(declared) and all(isinstance(name, str) and code in CODES for name, code in pairs)
    except (TypeError, ValueError):
        right = False
    if not right:
        known = ", ".join(CODES)
        raise HarnessError(f"arithmetic: quantised must be {{tensor: format}}, formats {known}, got {declared!r}")
    return pairs


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """The roundings that an implementation owns up to; the error bound is computed from them.

    accumulator           dtype of sums and of the softmax; "" means the one of the dtype
    rounded_scores        every step of the scores is stored in the case's dtype (eager) and not only in the
                          accumulator's (a fused kernel)
    stored_probabilities  the weights are stored in the case's dtype before they meet the values
    split_keys            partial results over blocks of keys are merged through their log-sum-exp
    scaled_inputs         the scale is folded into query or key, rounded to the case's dtype
    block                 keys per block of an online softmax, a lower bound
    exp_ulp               error of exp and tanh in units in the last place
    gradient_block        terms of a sum in the backward pass that stay in the accumulator; the sums of such blocks are
                          added up in the case's dtype. 0 for all of them
    quantised             what it turns into codes of 8 bits itself, {"query": "int8", "probabilities": "e4m3"}: inputs
                          with a scale for each head or for fewer numbers, probabilities from 0 to 1. No gradients

    What holds for the weights and scores holds for their gradients. A fused kernel (`rounded_scores` is False) may in
    its backward pass compute the weights again from their log-sum-exp. Any may take the rows' constant, the product of
    the output and its gradient, from the stored output.

    The defaults are the loosest of these that a correct implementation without online tricks needs.
    """

    accumulator: str = ""
    rounded_scores: bool = True
    stored_probabilities: bool = True
    split_keys: bool = False
    scaled_inputs: bool = False
    block: int = 16
    exp_ulp: float = 2.0
    gradient_block: int = 0
    quantised: tuple[tuple[str, str], ...] | Mapping[str, str] = ()

    def __post_init__(self) -> None:
        if self.accumulator not in ("", *DTYPES):
            raise HarnessError(f"arithmetic: accumulator {self.accumulator!r} is none of {', '.join(DTYPES)}")
        _need_flags("arithmetic", self)
        for name, least in (("block", 1), ("gradient_block", 0)):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise HarnessError(f"arithmetic: {name} must be a whole number of {least} or more, got {value!r}")
        object.__setattr__(self, "quantised", _codes(self.quantised))
        number = isinstance(self.exp_ulp, int | float) and not isinstance(self.exp_ulp, bool)
        if not number or not 0 <= self.exp_ulp <= _LARGEST_EXP_ULP:
            raise HarnessError(
                f"arithmetic: exp_ulp must be a number from 0 to {_LARGEST_EXP_ULP}, got {self.exp_ulp!r}"
            )

    @property
    def codes(self) -> dict[str, str]:
        """What is quantised, by name, and its format."""
        return dict(self.quantised)


def _names(what: str, declared: Any) -> tuple[str, ...]:
    if not isinstance(declared, tuple) or not all(isinstance(name, str) for name in declared):
        raise HarnessError(f"capabilities: {what} must be a tuple of names, got {declared!r}")
    return declared


def _policy(declared: Any) -> Policy:
    """Return a policy for fully masked rows, a mapping as pairs in its order."""
    pairs = tuple(declared.items()) if isinstance(declared, Mapping) else declared
    words = [pairs] if isinstance(pairs, str) else [word for _, word in pairs]
    for word in words:
        if word not in FULLY_MASKED_ROWS:
            known = ", ".join(FULLY_MASKED_ROWS)
            raise HarnessError(f"capabilities: fully_masked_rows {word!r} is none of {known}")
    return pairs


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What an implementation declares. It chooses the checks; the checks hold the implementation to it.

    requires                        rules on sizes, such as ("Eq == E", "D % 8 == 0", "Lq >= 1"): cases are made to fit
                                    them, and others are refused
    gradients, second_derivatives   autograd gives them, with respect to every floating tensor
    builds                          preparing it for another structure of inputs takes seconds (a compilation, an
                                    export): its gradients are judged on a sample of the cases
    weights                         it returns (output, weights)
    fully_masked_rows               what a query that sees no key gets: "zero", "nan" or "mean"; or that by the option
                                    that hides the keys, {"mask": "mean", "bias": "nan"}, "zero" under the others. The
                                    first of these that hides the whole row decides, or else that hides some of it
    poison_safe                     NaN and infinity in what is masked never reach an output or a gradient
    repeatable                      the same inputs give the same bits, call after call
    batch_invariant                 a batch element gives the same bits alone and among neighbours
    thread_safe                     calls from several threads may overlap
    vmap                            it may be called under torch.func.vmap, over any of its floating tensors or all
    forward_derivatives             torch.func.jvp gives them, with respect to every floating tensor
    autocast                        dtypes in which torch.autocast may run it, for tensors in float32
    narrower_inputs, wider_inputs   tensors that may come in a dtype of which the case's holds every number, or the
                                    reverse (valid_lens: int32): it answers as if they were in the case's
    """

    mechanisms: tuple[str, ...]
    dtypes: tuple[str, ...] = ("float32",)
    devices: tuple[str, ...] = ("cpu",)
    options: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()
    gradients: bool = False
    second_derivatives: bool = False
    builds: bool = False
    weights: bool = False
    fully_masked_rows: Policy | Mapping[str, str] = "zero"
    poison_safe: bool = False
    repeatable: bool = False
    batch_invariant: bool = False
    thread_safe: bool = True
    vmap: bool = False
    forward_derivatives: bool = False
    autocast: tuple[str, ...] = ()
    narrower_inputs: tuple[str, ...] = ()
    wider_inputs: tuple[str, ...] = ()
    arithmetic: Arithmetic = Arithmetic()

    def __post_init__(self) -> None:
        for name, known in (("dtypes", DTYPES), ("devices", DEVICES), ("autocast", AUTOCAST)):
            declared = _names(name, getattr(self, name))
            if not declared and name != "autocast":
                raise HarnessError(f"capabilities: {name} must be a tuple of names, got {declared!r}")
            for value in declared:
                if value not in known:
                    kind = name.removesuffix("s")
                    raise HarnessError(f"capabilities: unknown {kind} {value!r}; known: {', '.join(known)}")
        for name in ("options", "narrower_inputs", "wider_inputs"):  # which names there are, the registry knows
            _names(name, getattr(self, name))
        for text in _names("requires", self.requires):
            requirement(text)
        if not _names("mechanisms", self.mechanisms):
            raise HarnessError(f"capabilities: mechanisms must be a tuple of names, got {self.mechanisms!r}")
        object.__setattr__(self, "fully_masked_rows", _policy(self.fully_masked_rows))
        _need_flags("capabilities", self)
        if not isinstance(self.arithmetic, Arithmetic):
            raise HarnessError(f"capabilities: arithmetic must be an Arithmetic(...), got {self.arithmetic!r}")
        if self.arithmetic.quantised and (self.gradients or self.forward_derivatives):
            raise HarnessError("capabilities: quantised arithmetic has no derivatives: declare one or the other")

    @property
    def policy(self) -> Policy:
        """What a query that sees no key gets, a mapping as pairs."""
        return cast(Policy, self.fully_masked_rows)
