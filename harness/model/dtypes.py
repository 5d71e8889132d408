"""The number formats of floating tensors. To add one, add its record: everything else asks the record.

Notation of the binary formats (Higham 2002, section 2.1): a normal number is $\\pm m \\cdot 2^{e - p + 1}$ with a
significand $m$ of $p$ bits, the leading one among them, and $e \\ge e_\\text{min}$; below $2^{e_\\text{min}}$ lie the
subnormal numbers, at the spacing $2^{e_\\text{min} - p + 1}$.
"""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class DType:
    """A floating dtype: how it is stored, which numbers it has, and what the frameworks call it.

    name            as a case id, a declaration and the command line spell it
    bits            of one stored number
    precision       bits of the significand, with the leading one that is not stored
    least_exponent  of the smallest normal number
    largest         the largest finite number
    torch, onnx     attributes of `torch` and of `onnx.TensorProto`
    accumulator     dtype of sums and of the softmax where an implementation declares none
    infinite        whether it has infinities; without them it cannot hold a bias of -inf
    """

    name: str
    bits: int
    precision: int
    least_exponent: int
    largest: float
    torch: str
    onnx: str
    accumulator: str = "float32"
    infinite: bool = True

    @property
    def bytes(self) -> int:
        """Bytes of one stored number."""
        return self.bits // 8

    @property
    def roundoff(self) -> float:
        """Unit roundoff: the largest relative error of one rounding to nearest of a normal number."""
        return 2.0**-self.precision

    @property
    def smallest(self) -> float:
        """The smallest normal number."""
        return 2.0**self.least_exponent

    @property
    def half_spacing(self) -> float:
        """Half the spacing of the subnormal numbers: the largest error of one rounding to nearest among them."""
        return max(2.0 ** (self.least_exponent - self.precision), 5e-324)  # float64 has no number for its own

    def holds(self, other: DType) -> bool:
        """Return whether every number of another dtype is a number of this one."""
        return (
            self.precision >= other.precision
            and self.least_exponent - self.precision <= other.least_exponent - other.precision
            and self.largest >= other.largest
        )

    @property
    def single(self) -> bool:
        """Whether this is single precision or better: one rounding hides no ordinary mistake, and products are fast."""
        return self.bits >= 32

    @property
    def as_reference(self) -> bool:
        """Whether the reference, which computes in float64, errs as much as an implementation in this format."""
        return self.precision >= 53


_RECORDS = (
    DType("float32", 32, 24, -126, (2 - 2.0**-23) * 2.0**127, "float32", "FLOAT"),
    DType("float64", 64, 53, -1022, (2 - 2.0**-52) * 2.0**1023, "float64", "DOUBLE", accumulator="float64"),
    DType("bfloat16", 16, 8, -126, (2 - 2.0**-7) * 2.0**127, "bfloat16", "BFLOAT16"),
    DType("float16", 16, 11, -14, (2 - 2.0**-10) * 2.0**15, "float16", "FLOAT16"),
)

DTYPES = {record.name: record for record in _RECORDS}
"""Every dtype by name, the simplest first: where one is as good as another, the first is taken."""


@dataclass(frozen=True, slots=True)
class Code:
    """A format of codes of 8 bits, which a scale multiplies.

    name          as a declaration spells it
    torch         attribute of `torch`
    largest       the largest code that is used
    precision     bits of the significand
    roundoff      the largest relative error of one rounding; 0 where that of small numbers is the largest anywhere
    half_spacing  the largest error of one rounding of small numbers
    smallest      from here on only the relative error counts
    """

    name: str
    torch: str
    largest: float
    precision: int
    roundoff: float
    half_spacing: float
    smallest: float

    def of_unit(self) -> Code:
        """Return the format of numbers from 0 to 1: the largest whole number stands for 1, floats for themselves."""
        if self.roundoff:
            return self
        return replace(self, half_spacing=self.half_spacing / self.largest, smallest=1 / self.largest)


_CODES = (
    Code("int8", "int8", 127.0, 7, 0.0, 0.5, 1.0),
    Code("e4m3", "float8_e4m3fn", 448.0, 4, 2.0**-4, 2.0**-10, 2.0**-6),
    Code("e5m2", "float8_e5m2", 57344.0, 3, 2.0**-3, 2.0**-17, 2.0**-14),
)

CODES = {code.name: code for code in _CODES}
"""Every format of codes by name. Of int8, -128 is not used."""

PROBABILITIES = "probabilities"
"""The name under which weights are declared quantised: exp(s - max), before they meet the values and the normaliser."""
