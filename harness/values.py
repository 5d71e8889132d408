"""The values that every part of the harness passes around: frozen, standard library only."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Self

DTYPES = ("float64", "float32", "bfloat16", "float16")
OPTIONS = (
    "mask",
    "bias",
    "valid_lens",
    "causal_top_left",
    "causal_bottom_right",
    "scale",
    "learned_scale",
    "grouped_heads",
    "dropout",
)
EMPTY_ROWS = ("zero", "nan", "mean")
DEVICES = ("cpu", "cuda")


_LARGEST_EXP_ULP = 64  # an exponential that errs more than this is no exponential of its format


class HarnessError(Exception):
    """A mistake of the user's: shown as one line, exit status 2."""


class Status(StrEnum):
    """The answers that a check can have; README.md, "Verdicts", says what each means."""

    PASS = "pass"
    FAIL = "fail"
    ERROR = "error"
    CRASH = "crash"
    TIMEOUT = "timeout"
    UNSUPPORTED = "unsupported"
    UNAVAILABLE = "unavailable"
    KNOWN_FAILURE = "known_failure"
    UNEXPECTED_PASS = "unexpected_pass"


NOT_CHECKED = (Status.UNSUPPORTED, Status.UNAVAILABLE)
NONCONFORMING = (Status.FAIL, Status.ERROR, Status.CRASH, Status.TIMEOUT, Status.UNEXPECTED_PASS)


def _need_flags(what: str, declared: Any) -> None:
    """Refuse what is neither True nor False in a field whose default is: a text such as "no" would count as True."""
    for one in fields(declared):
        value = getattr(declared, one.name)
        if isinstance(one.default, bool) and not isinstance(value, bool):
            raise HarnessError(f"{what}: {one.name} must be True or False, got {value!r}")


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """The roundings that an implementation owns up to; the error budget is computed from them.

    accumulator           dtype of sums and of the softmax; "" means float64 for float64 and float32 otherwise
    rounded_scores        every step of the scores is stored in the case's dtype (eager) and not only in the
                          accumulator's (a fused kernel)
    stored_probabilities  the weights are stored in the case's dtype before they meet the values
    split_keys            partial results over blocks of keys are merged through their log-sum-exp
    scaled_inputs         the scale is folded into query or key, rounded to the case's dtype
    block                 keys per block of an online softmax, a lower bound
    exp_ulp               error of exp and tanh in units in the last place
    gradient_block        terms of a sum in the backward pass that stay in the accumulator; the sums of such blocks are
                          added up in the case's dtype. 0 for all of them

    What holds for the weights and scores holds for their gradients. A fused kernel (`rounded_scores` is False) may in
    its backward pass compute the weights again from their log-sum-exp, and the rows' constant from its stored output.

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

    def __post_init__(self) -> None:
        if self.accumulator not in ("", *DTYPES):
            raise HarnessError(f"arithmetic: accumulator {self.accumulator!r} is none of {', '.join(DTYPES)}")
        _need_flags("arithmetic", self)
        for name, least in (("block", 1), ("gradient_block", 0)):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise HarnessError(f"arithmetic: {name} must be a whole number of {least} or more, got {value!r}")
        number = isinstance(self.exp_ulp, int | float) and not isinstance(self.exp_ulp, bool)
        if not number or not 0 <= self.exp_ulp <= _LARGEST_EXP_ULP:
            raise HarnessError(
                f"arithmetic: exp_ulp must be a number from 0 to {_LARGEST_EXP_ULP}, got {self.exp_ulp!r}"
            )


def _names(what: str, declared: Any) -> tuple[str, ...]:
    if not isinstance(declared, tuple) or not all(isinstance(name, str) for name in declared):
        raise HarnessError(f"capabilities: {what} must be a tuple of names, got {declared!r}")
    return declared


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What an implementation declares. It chooses the checks; the checks hold the implementation to it.

    gradients, second_derivatives   autograd gives them, with respect to every floating tensor
    costly_gradients                each takes seconds (a compilation): a stated sample of the cases asks for them
    weights                         it returns (output, weights)
    empty_rows                      what a query that sees no key gets: "zero", "nan" or "mean"
    poison_safe                     NaN and infinity in what is masked never reach an output or a gradient
    repeatable                      the same inputs give the same bits, call after call
    batch_invariant                 a batch element gives the same bits alone and among neighbours
    """

    mechanisms: tuple[str, ...]
    dtypes: tuple[str, ...] = ("float32",)
    devices: tuple[str, ...] = ("cpu",)
    options: tuple[str, ...] = ()
    gradients: bool = False
    second_derivatives: bool = False
    costly_gradients: bool = False
    weights: bool = False
    empty_rows: str = "zero"
    poison_safe: bool = False
    repeatable: bool = False
    batch_invariant: bool = False
    arithmetic: Arithmetic = Arithmetic()

    def __post_init__(self) -> None:
        for name, known in (("dtypes", DTYPES), ("devices", DEVICES), ("options", OPTIONS)):
            declared = _names(name, getattr(self, name))
            if not declared and name != "options":
                raise HarnessError(f"capabilities: {name} must be a tuple of names, got {declared!r}")
            for value in declared:
                if value not in known:
                    raise HarnessError(f"capabilities: unknown {name[:-1]} {value!r}; known: {', '.join(known)}")
        if not _names("mechanisms", self.mechanisms):
            raise HarnessError(f"capabilities: mechanisms must be a tuple of names, got {self.mechanisms!r}")
        if self.empty_rows not in EMPTY_ROWS:
            raise HarnessError(f"capabilities: empty_rows {self.empty_rows!r} is none of {', '.join(EMPTY_ROWS)}")
        _need_flags("capabilities", self)
        if not isinstance(self.arithmetic, Arithmetic):
            raise HarnessError(f"capabilities: arithmetic must be an Arithmetic(...), got {self.arithmetic!r}")

    def refuses(self, case: Case) -> str:
        """Return why the declaration leaves this case out, or "" when it takes it."""
        if case.device not in self.devices:
            return f"device {case.device} not declared (declares {', '.join(self.devices)})"
        if case.mechanism not in self.mechanisms:
            return f"mechanism {case.mechanism} not declared"
        if case.dtype not in self.dtypes:
            return f"dtype {case.dtype} not declared (declares {', '.join(self.dtypes)})"
        missing = [option for option in case.requires if option not in self.options]
        if missing:
            return f"option {', '.join(missing)} not declared (declares {', '.join(self.options) or 'none'})"
        return ""


AXES = ("B", "H", "Hk", "Lq", "Lk", "L", "P", "D", "Dq", "Dk", "Dv", "E", "Eq", "Ek", "Ev", "A", "O")
"""Every size letter, in the order in which a case's id names them."""

_SIZES = re.compile(r"([A-Z][a-z]*)(\d{1,9})")


@dataclass(frozen=True, eq=False)
class Case:
    """One concrete problem. Its id holds everything that rebuilds it, on any machine.

    mechanism  a file of `reference/`
    sizes      axis letter -> length, e.g. {"B": 2, "H": 3, "Lq": 5, ...}
    dtype      of every floating tensor
    options    option -> its form: {"mask": "full", "causal": "top_left", "valid_lens": "batch", "scale": 0.5}; a scale
               may also be "learned": a tensor of shape (1) that comes with the call
    content    an input distribution, `example.NAME` or `recorded.NAME`
    layout     how the tensors lie in memory
    seed       of the inputs
    device     where the tensors live
    """

    mechanism: str
    sizes: Mapping[str, int]
    dtype: str = "float32"
    options: Mapping[str, Any] = field(default_factory=dict)
    content: str = "ordinary"
    layout: str = "contiguous"
    seed: int = 0
    device: str = "cpu"

    def __post_init__(self) -> None:
        ordered = {axis: self.sizes[axis] for axis in sorted(self.sizes, key=AXES.index)}
        object.__setattr__(self, "sizes", MappingProxyType(ordered))
        options = {name: self.options[name] for name in sorted(self.options, key=_option_order)}
        object.__setattr__(self, "options", MappingProxyType(options))

    @property
    def id(self) -> str:
        """`mechanism-sizes-dtype-options-content-layout-seed[@device]`."""
        sizes = "".join(f"{axis}{length}" for axis, length in self.sizes.items())
        options = "+".join(f"{name}={value}" for name, value in self.options.items()) or "plain"
        where = "" if self.device == "cpu" else f"@{self.device}"
        head = f"{self.mechanism}-{sizes}-{self.dtype}-{options}"
        return f"{head}-{self.content}-{self.layout}-{self.seed}{where}"

    @classmethod
    def from_id(cls, text: str) -> Self:
        """Rebuild a case from its id; the mechanism's declaration is consulted by `harness.cases.parse`."""
        shape = "mechanism-sizes-dtype-options-content-layout-seed[@device]"
        body, _, device = text.partition("@")
        head, *rest = body.split("-", 3)
        tail = rest[2].rsplit("-", 3) if len(rest) == 3 else []
        if len(tail) != 4 or not re.fullmatch(r"\d{1,18}", tail[3]) or not text.isprintable():
            raise HarnessError(f"malformed case id {text!r}; expected {shape}")
        sizes = {axis: int(length) for axis, length in _SIZES.findall(rest[0])}
        unknown = [axis for axis in sizes if axis not in AXES]
        if unknown:
            raise HarnessError(f"malformed case id {text!r}: unknown size {unknown[0]!r}; known: {', '.join(AXES)}")
        options: dict[str, Any] = {}
        for item in tail[0].split("+") if tail[0] != "plain" else ():
            name, equals, value = item.partition("=")
            if not equals or name in options:
                raise HarnessError(f"malformed case id {text!r}: option {item!r} is not name=value, once")
            options[name] = _number(value, text) if name in ("scale", "dropout") and value != "learned" else value
        case = cls(head, sizes, rest[1], options, tail[1], tail[2], int(tail[3]), device or "cpu")
        if case.id != text:
            raise HarnessError(f"malformed case id {text!r}; its canonical form is {case.id!r}")
        return case

    @property
    def requires(self) -> tuple[str, ...]:
        """The declared options that an implementation needs for this case."""
        needed = [name for name in ("mask", "bias", "valid_lens", "dropout") if name in self.options]
        if "scale" in self.options:
            needed.append("learned_scale" if self.options["scale"] == "learned" else "scale")
        if "causal" in self.options:
            needed.append(f"causal_{self.options['causal']}")
        if self.sizes.get("Hk", self.sizes.get("H")) != self.sizes.get("H"):
            needed.append("grouped_heads")
        return tuple(needed)

    def on(self, device: str) -> Case:
        """Return the same problem with its tensors on another device."""
        return replace(self, device=device)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Case) and self.id == other.id

    def __hash__(self) -> int:
        return hash(self.id)

    def __str__(self) -> str:
        return self.id


def _option_order(name: str) -> tuple[int, str]:
    """Visibility first, then numbers, then a mechanism's choices: the order in which an id names them."""
    order = ("mask", "bias", "valid_lens", "causal", "scale", "dropout")
    return (order.index(name) if name in order else len(order), name)


def _number(text: str, case_id: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise HarnessError(f"malformed case id {case_id!r}: {text!r} is not a finite number")
    return value


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer to one check of one implementation on one case.

    share     error divided by its budget at the worst element; at most 1 passes
    error     absolute error there
    where     index of the worst element of the output
    replay    the command that asks the same question again
    finding   what a manner was measured to be, and
    declared  what is claimed of it; both "" for other checks
    """

    implementation: str
    mechanism: str
    case: str
    check: str
    status: Status
    share: float | None = None
    error: float | None = None
    where: tuple[int, ...] | None = None
    reason: str = ""
    replay: str = ""
    seconds: float = 0.0
    finding: str = ""
    declared: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "status", Status(self.status))
        subject = f"{self.status} of {self.implementation} on {self.case}, check {self.check}"
        if self.status in (Status.PASS, Status.UNEXPECTED_PASS):
            if self.share is None or not 0 <= self.share <= 1:
                raise ValueError(f"{subject}: a pass needs a measured share in [0, 1], got {self.share}")
        elif not self.reason:
            raise ValueError(f"{subject}: every answer other than a pass needs a reason")
        if self.status in NOT_CHECKED and self.share is not None:
            raise ValueError(f"{subject}: nothing was run, so there is no share to state")

    def as_known_failure(self, reason: str) -> Verdict:
        """Return this verdict as the declaration of a known upstream failure turns it."""
        if self.status is Status.PASS:
            why = f"passes, although declared a known failure: {reason}; remove the entry"
            return replace(self, status=Status.UNEXPECTED_PASS, reason=why)
        if self.status in (Status.FAIL, Status.ERROR):
            return replace(self, status=Status.KNOWN_FAILURE, reason=f"{reason} ({self.reason})")
        return self

    def to_json(self) -> dict[str, Any]:
        """Return plain data; non-finite numbers become strings, since JSON has none."""
        return {name: _plain(value) for name, value in asdict(self).items()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Rebuild a verdict from `to_json`'s data; rows from before manners were measured have no finding."""
        older = {"finding": "", "declared": ""}
        values = {f.name: data[f.name] for f in fields(cls) if f.name not in older}
        values |= {name: data.get(name, default) for name, default in older.items()}
        where = values["where"]
        values.update(
            status=Status(values["status"]),
            where=None if where is None else tuple(where),
            share=None if values["share"] is None else float(values["share"]),
            error=None if values["error"] is None else float(values["error"]),
        )
        return cls(**values)


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
