"""What Vega draws, made small: an SVG without what no one reads, a PNG packed again."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_TAG = re.compile(r"<[^<>]*>")  # a name that a run brings is text between tags: its < and > are escaped
_UNREAD = re.compile(r' (?:class|role|aria-[a-z]+|pointer-events|xmlns:xlink|version)="[^"]*"')
_FONT = re.compile(r' font-family="[^"]*"')
_LONG = re.compile(r"\d+\.\d{3,}")
_COLOUR = re.compile(r'"rgb\((\d+), ?(\d+), ?(\d+)\)"')
_ID = re.compile(r"\b(gradient_|clip)\d+\b")
_EMPTY = re.compile(r"<g[^<>]*/>|<path[^<>]*d=\"M0,0h[\d.]+v[\d.]+h-[\d.]+Z\"/>")


def small(svg: str) -> str:
    """Return an SVG that looks the same: without classes and roles, its font named once, hundredths of a pixel.

    Ids are numbered from 0: Vega counts them from picture to picture, and the same chart has to be the same bytes.
    """
    font, numbers = _FONT.search(svg), dict[str, int]()

    def own(found: re.Match[str]) -> str:
        return f"{found[1]}{numbers.setdefault(found[0], len(numbers))}"

    drawn = _TAG.sub(lambda found: _ID.sub(own, _short(found)), svg)
    drawn = drawn.replace("<g></g>", "")
    return drawn.replace("<svg", f"<svg{font[0]}", 1) if font else drawn


def _short(found: re.Match[str]) -> str:
    tag = _FONT.sub("", _UNREAD.sub("", found[0]))
    tag = _COLOUR.sub(lambda rgb: '"#{:02x}{:02x}{:02x}"'.format(*map(int, rgb.groups())), tag)
    tag = _LONG.sub(lambda number: f"{float(number[0]):.2f}".rstrip("0").rstrip("."), tag)
    return "" if _EMPTY.fullmatch(tag) else tag


def packed(png: bytes) -> bytes:
    """Return a PNG with the same pixels, compressed again."""
    parts = list(_parts(png))
    pixels = zlib.compress(zlib.decompress(b"".join(data for name, data in parts if name == b"IDAT")), 7)
    first = next(place for place, (name, _) in enumerate(parts) if name == b"IDAT")
    others = [part for part in parts if part[0] != b"IDAT"]
    others.insert(first, (b"IDAT", pixels))
    return _SIGNATURE + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in others
    )


def _parts(png: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield name and data of each chunk."""
    place = len(_SIGNATURE)
    while place < len(png):
        (size,) = struct.unpack(">I", png[place : place + 4])
        yield png[place + 4 : place + 8], png[place + 8 : place + 8 + size]
        place += 12 + size
