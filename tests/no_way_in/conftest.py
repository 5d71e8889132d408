"""Fixtures of this folder."""

from tests.no_way_in.inside import no_work as no_work
