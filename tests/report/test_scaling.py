"""How time grows with length: the fit, and its interval."""

from __future__ import annotations

import math

import pytest

from attention_harness.report.scaling import growth


def test_an_exponent_is_found_again() -> None:
    """Of exact powers the interval is a point; what deviates widens it; short lengths do not count."""
    lengths = (128, 256, 512, 1024, 2048)
    exact = growth({n: 3e-9 * n**2 for n in lengths})
    rough = growth({n: 3e-9 * n**2 * (1.1 if n == 1024 else 1) for n in lengths})
    overhead = growth({n: 1e-2 * (n == 128) + 3e-9 * n**2 for n in lengths})

    assert exact is not None
    assert (pytest.approx(2), pytest.approx(2), pytest.approx(2)) == (exact.exponent, exact.low, exact.high)
    assert (256, 512, 1024, 2048) == exact.lengths
    assert rough is not None
    assert rough.low is not None
    assert rough.high is not None
    assert rough.low < 2 < rough.high
    assert rough.high - rough.low > 0.1
    assert overhead is not None
    assert pytest.approx(2) == overhead.exponent
    assert overhead.local[0] < 0 < overhead.local[-1]


def test_an_interval_by_hand() -> None:
    """y = 0, 1, 2.3 at log2 L = 0, 1, 2: slope 1.15, squared residuals 0.015, one degree of freedom."""
    found = growth({2**i: 2**y for i, y in enumerate((0.0, 1.0, 2.3))})
    half = math.tan(math.pi * 0.95 / 2) * math.sqrt(0.015 / 2)

    assert found is not None
    assert pytest.approx((1.15, 1.15 - half, 1.15 + half)) == (found.exponent, found.low, found.high)
    assert growth({2: 1.0}) is None
    assert growth({2: 1.0, 4: 2.0}).low is None  # type: ignore[union-attr]
