"""A chart as a value: what it shows, and how it becomes a Vega specification, an SVG, a PNG, and data of a page.

Charts of one kind share one Vega-Lite specification, which is compiled once. What differs between them stands beside
it, as data: rows, and values of signals. So a name that a run brings is never part of a specification.
"""

from __future__ import annotations

import base64
import copy
import functools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from attention_harness.report.charts.picture import packed, small
from attention_harness.report.charts.style import LEGEND, columns

VEGA_LITE = "6.4"
"""The version of Vega-Lite that the specifications are written in."""

LARGEST_SVG = 20_000
"""Characters of a picture's SVG above which a PNG takes less room: many small cells."""

Row = Mapping[str, Any]
Json = dict[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Kind:
    """What charts of one kind share.

    name    names it in the page
    spec    Vega-Lite; its data are named `rows`. A title that begins with = names the signal that holds the text
    scales  scale -> what it takes from signals, such as {"color": {"domain": "names"}}, which Vega-Lite cannot say
    legend  it has a legend of the series
    """

    name: str
    spec: Json
    scales: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    legend: bool = False

    @functools.cache  # noqa: B019 - kinds are constants of modules
    def compiled(self) -> Json:
        """Return its Vega specification, without data."""
        import vl_convert

        vega = vl_convert.vegalite_to_vega(self.spec, vl_version=VEGA_LITE)
        for scale in vega.get("scales", ()):
            wanted = self.scales.get(scale["name"], {})
            scale.update({part: {"signal": signal} for part, signal in wanted.items()})
            if "domain" in wanted:
                scale.pop("sort", None)
        if self.legend:
            vega["legends"] = [LEGEND]
        known = {signal["name"] for signal in vega.setdefault("signals", [])}
        named = {signal for parts in self.scales.values() for signal in parts.values()} | _named_titles(vega)
        vega["signals"] += [{"name": name, "value": []} for name in sorted(named - known)]
        return vega

    @property
    def json(self) -> str:
        """Return the Vega specification as JSON that can stand inside a script element."""
        return embedded(self.compiled())


@dataclass(frozen=True, slots=True)
class Chart:
    """A figure. text: the same in words, for who cannot see it; values: signal -> its value in this chart."""

    name: str
    title: str
    text: str
    kind: Kind
    rows: Sequence[Row]
    values: Mapping[str, Any] = field(default_factory=dict)

    @property
    def spec(self) -> Json:
        """Its Vega-Lite specification, whose data are named `rows`."""
        return self.kind.spec

    @property
    def json(self) -> str:
        """What the page's script needs of it, as JSON that can stand inside a script element."""
        fields = list(dict.fromkeys(name for row in self.rows for name in row))
        rows = [[row.get(name) for name in fields] for row in self.rows]
        return embedded(
            {"kind": self.kind.name, "text": self.text, "values": self.values, "fields": fields, "rows": rows}
        )

    @property
    def picture(self) -> str:
        """The static picture as a data URL: an SVG, or a PNG where that is smaller."""
        drawn = svg(self)
        if len(drawn) <= LARGEST_SVG:
            return f"data:image/svg+xml;base64,{base64.b64encode(drawn.encode()).decode()}"
        import vl_convert

        return f"data:image/png;base64,{base64.b64encode(packed(vl_convert.svg_to_png(drawn, scale=1.5))).decode()}"


def compiled(chart: Chart) -> Json:
    """Return the Vega specification of a chart, its data in it."""
    vega = copy.deepcopy(chart.kind.compiled())
    names = chart.values.get("names", ())
    values = {"columns": columns(names, vega.get("width", 0)), **chart.values}
    next(data for data in vega["data"] if data["name"] == "rows")["values"] = list(map(dict, chart.rows))
    for signal in vega["signals"]:
        if signal["name"] in values:
            signal.pop("update", None)
            signal["value"] = values[signal["name"]]
    return vega


def svg(chart: Chart) -> str:
    """Return the chart as an SVG. Its ink is that of the text around it, black where nothing says otherwise."""
    import vl_convert

    return small(vl_convert.vega_to_svg(_still(chart), allowed_base_urls=[]))


def png(chart: Chart, scale: float = 2) -> bytes:
    """Return the chart as a PNG on white."""
    import vl_convert

    drawn = vl_convert.vega_to_svg(_still(chart) | {"background": "white"}, allowed_base_urls=[])
    return packed(vl_convert.svg_to_png(drawn, scale=scale))


def _still(chart: Chart) -> Json:
    """Return its Vega specification for a picture, which takes the room that it needs: one layout in place of two."""
    return compiled(chart) | {"autosize": "pad"}


def embedded(value: Any) -> str:
    """Return JSON in which nothing ends a script element or begins markup."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return re.sub("[<>&\u2028\u2029]", lambda found: f"\\u{ord(found[0]):04x}", text)


def _named_titles(vega: Json) -> set[str]:
    """Replace each title of the form =name by the signal of that name, and return the names."""
    found = set()
    for part in (*vega.get("axes", ()), *vega.get("legends", ())):
        title = part.get("title")
        if isinstance(title, str) and title.startswith("="):
            part["title"] = {"signal": title[1:]}
            found.add(title[1:])
    return found
