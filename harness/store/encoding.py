"""Values as JSON, and JSON as values: the text of others is bounded before it is parsed, and checked by its type."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping
from typing import Any

import msgspec

LONGEST_COMPLAINT = 200  # characters of an error's text, which may cite what it found

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


class WrongValue(ValueError):
    """JSON that is no value of the type."""


def encode(value: Any) -> bytes:
    """Return a value as JSON in one line. Half a surrogate pair, which no file can hold, becomes U+FFFD."""
    try:
        return msgspec.json.encode(value, enc_hook=_plain)
    except UnicodeEncodeError:
        text = json.dumps(plain(value), ensure_ascii=False)
        return _LONE_SURROGATE.sub("\ufffd", text).encode()


def document(value: Any) -> str:
    """Return a value as an indented JSON text of ASCII characters, which no terminal and no encoding changes.

    A number that is not finite, which JSON does not have, is null.
    """
    return json.dumps(msgspec.json.decode(encode(value)), indent=1)


def plain(value: Any) -> Any:
    """Return a value as dictionaries, lists, texts and numbers."""
    return msgspec.to_builtins(value, enc_hook=_plain)


def decode(data: bytes, kind: Any) -> Any:
    """Return the value of a type that JSON holds; ValueError says in a line what is wrong with it."""
    try:
        return _decoder(kind).decode(data)
    except RecursionError:
        raise ValueError("it nests too deep") from None
    except msgspec.ValidationError as error:  # of a field, or of a value that refuses to be built
        raise WrongValue(_short(error)) from None
    except ValueError as error:  # no JSON, or no UTF-8
        raise ValueError(_short(error)) from None


def _short(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= LONGEST_COMPLAINT else text[:LONGEST_COMPLAINT] + "…"


@functools.cache
def _decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind)


def _plain(value: Any) -> Any:
    """Return a mapping or a number of another library, such as NumPy's, as Python's own."""
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, float):
        return float(value)
    raise NotImplementedError(f"a {type(value).__name__} cannot be stored")
