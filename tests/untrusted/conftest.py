"""Fixtures of this folder."""

from tests.untrusted.inside import no_work as no_work
