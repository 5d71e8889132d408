"""A recording is numbers: whatever else an archive holds is refused in a line, before it is unpacked."""

from __future__ import annotations

import io
import pickle
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attention_harness.cases import captures, inputs
from attention_harness.model.errors import HarnessError
from tests.untrusted.inside import profile

SHAPE = (1, 2, 3, 4)


def arrays() -> dict[str, np.ndarray]:
    """Return the arrays of a small recording."""
    found = {f"layer0.{name}": np.ones(SHAPE, np.float32) for name in ("query", "key", "value", "output")}
    return found | {"layer0.mask": np.ones((1, 1, 1, 3), bool)}


def packed(members: dict[str, bytes]) -> bytes:
    """Return an archive of members."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def members(**changed: bytes) -> dict[str, bytes]:
    """Return the members of a small recording, some of them changed."""
    found = {}
    for name, array in arrays().items():
        file = io.BytesIO()
        np.save(file, array)
        found[f"{name}.npy"] = file.getvalue()
    return found | {f"layer0.{name}.npy": content for name, content in changed.items()}


def header(text: str, version: bytes = b"\x01\x00") -> bytes:
    """Return the beginning of an .npy file that says anything."""
    return b"\x93NUMPY" + version + len(text).to_bytes(2, "little") + text.encode()


def array(dtype: str, shape: str) -> bytes:
    """Return the beginning of an .npy file of that dtype and shape."""
    return header(f"{{'descr': {dtype}, 'fortran_order': False, 'shape': {shape}}}\n")


def complaint(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    with pytest.raises(HarnessError) as caught:
        captures.read(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


class Bomb:
    """Runs when it is unpickled."""

    def __reduce__(self):
        return (pytest.fail, ("a pickle was read",))


def _objects() -> bytes:
    file = io.BytesIO()
    np.save(file, np.array([Bomb()], object), allow_pickle=True)
    return file.getvalue()


WRONG = {
    "objects": (members(query=_objects()), "holds object"),
    "a bare pickle": (members(query=pickle.dumps(Bomb())), "magic string is not correct"),
    "integers": (members(query=array("'<i4'", "(1, 1, 1, 1)") + b"1234"), "holds int32"),
    "records": (members(query=array("[('a','<f4')]", "(1, 1, 1, 1)") + b"1234"), "holds [('a', '<f4')]"),
    "a shape of terabytes": (members(query=array("'<f4'", "(1, 1, 1, 999999999999)")), "not as long as its shape"),
    "a negative shape": (members(query=array("'<f4'", "(-1, 1, 1, -4)") + b"0" * 16), "not as long as its shape"),
    "code in a header": (members(query=header("__import__('os').abort()\n")), "malformed node"),
    "a header without end": (members(query=header("{" * 60000)), "large"),
    "an unknown version": (members(query=header("{}", b"\x09\x00")), "version"),
    "a bomb": (members(query=header("{}") + bytes(captures.MEMBER_BYTES)), "unpacks to"),
    "a layer that leads out": ({f"../../{name}": content for name, content in members().items()}, "lacks"),
    "a layer without a mask": ({k: v for k, v in members().items() if "mask" not in k}, "lacks one of"),
    "another file": ({"readme.txt": b"hello, reader"}, "magic string is not correct"),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_what_is_no_recording_is_refused(tmp_path, what):
    """The line names the file and says what is wrong; nothing is unpickled, and nothing large allocated."""
    content, expected = WRONG[what]
    assert expected in complaint(tmp_path / "wrong.npz", packed(content))


def test_many_members_are_refused(tmp_path):
    """As are two of one name, of which one would hide the other."""
    content = packed({f"layer{n}.query.npy": b"" for n in range(captures.MEMBERS + 1)})
    assert "more than 1000 members" in complaint(tmp_path / "many.npz", content)


def test_a_right_one_is_read(tmp_path):
    """So are the shipped ones."""
    (tmp_path / "right.npz").write_bytes(packed(members()))
    assert SHAPE == captures.read(tmp_path / "right.npz")["layer0.query"].shape
    assert all(captures.read(path) for path in inputs.RECORDINGS.glob("*.npz"))


@given(data=st.data())
@profile(150)
def test_a_damaged_recording_is_refused_or_read(data):
    """Bytes changed, cut off or put in anywhere: numbers of the stated shapes, or a line."""
    content = bytearray(packed(members()))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content)))
        content[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content))) :]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "damaged.npz"
        path.write_bytes(content)
        try:
            found = captures.read(path)
        except HarnessError:
            return
        assert {array.dtype.kind for array in found.values()} == {"f", "b"}
