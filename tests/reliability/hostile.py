"""Implementations that harm whoever runs them: each a file, and the verdicts that it must get.

The harm is done on cases with 3 keys alone, unless it is done while the file is prepared; `right` stands beside each.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tests.registry.sources import TINY, write

OTHER = TINY.replace("Lk3", "Lk4")
MARK = "HARNESS_TEST_MARK"
_HERE = "if key.shape[-2] == 3: "
_MANY = "taken = []\n        while key.shape[-2] == 3: taken.append({})"
_CONFORMS = "query @ key.mT / query.shape[-1] ** 0.5"


@dataclass(frozen=True)
class Hostile:
    """Parts of the file, and the verdicts on the case where it does harm.

    status   of the verdicts there: of all, or of the check that `only` names; where that is "any", of all that would pass
    words    that the reason holds
    spares   whether the other case conforms
    """

    name: str
    status: str
    words: str
    body: str = "pass"
    top: str = ""
    scores: str = _CONFORMS
    bottom: str = ""
    only: str = ""
    spares: bool = True

    def write(self, folder: Path) -> Path:
        """Write the file."""
        return write(folder / f"{self.name}.py", top=self.top, body=self.body, scores=self.scores, bottom=self.bottom)


def _ends(name: str, words: str, body: str, top: str = "import ctypes, os, signal") -> Hostile:
    return Hostile(name, "crash", words, _HERE + body, top)


def _spoils(name: str, what: str, body: str, top: str = "import os, torch") -> Hostile:
    return Hostile(name, "fail", what, _HERE + body, top, only="purity")


def _patches(name: str, what: str, line: str) -> Hostile:
    return Hostile(
        name,
        "fail",
        f"it replaced {what}: its verdicts cannot be trusted",
        _HERE + line,
        "import builtins, math, numpy, torch",
        only="any",
    )


_CHILD = "subprocess.Popen(['sleep', '600']{}, stdout=-3, stderr=-3)"
_DAEMON = (
    "def daemon():\n    if os.fork() == 0:\n        os.setsid()\n        if os.fork() == 0:\n            time.sleep(600)\n"
    "        os._exit(0)\n"
)
_LATE = (
    "class Late(torch.Tensor):\n    @classmethod\n    def __torch_function__(cls, f, types, args=(), kwargs=None):\n"
)
_LATE += "        return super().__torch_function__(f, types, args, kwargs or {})\n"

HOSTILE = (
    _ends("kills_its_parent", "it ended the process that had started its own", "os.kill(os.getppid(), signal.SIGKILL)"),
    _ends("segfault", "SIGSEGV", "ctypes.string_at(0)"),
    _ends("aborts", "SIGABRT", "os.abort()"),
    _ends("divides", "SIGFPE", "os.kill(os.getpid(), signal.SIGFPE)"),
    _ends("kills_itself", "SIGKILL", "os.kill(os.getpid(), signal.SIGKILL)"),
    _ends("leaves_0", "its process ended with exit status 0", "os._exit(0)"),
    _ends("leaves_3", "its process died: exit status 3", "os._exit(3)"),
    _ends(
        "in_a_thread",
        "its process died: exit status 7",
        "threading.Thread(target=os._exit, args=(7,)).start(); time.sleep(60)",
        "import os, threading, time",
    ),
    _ends("closes_all", "its process died: exit status 9", "os.closerange(3, 4096)"),
    Hostile("python_loop", "timeout", "no answer within", "while key.shape[-2] == 3: pass"),
    Hostile("native_loop", "timeout", "no answer within", _HERE + "ctypes.PyDLL(None).pause()", "import ctypes"),
    Hostile(
        "deaf_loop",
        "timeout",
        "no answer within",
        "while key.shape[-2] == 3: pass",
        "import signal\nfor one in (signal.SIGTERM, signal.SIGHUP): signal.signal(one, signal.SIG_IGN)",
        spares=False,
    ),
    Hostile("python_memory", "error", "out of memory: MemoryError", _MANY.format("bytearray(1 << 24)")),
    Hostile("numpy_memory", "error", "out of memory: ", _MANY.format("numpy.ones(1 << 21)"), "import numpy"),
    Hostile(
        "torch_memory", "error", "out of memory: RuntimeError", _MANY.format("torch.ones(1 << 22)"), "import torch"
    ),
    Hostile(
        "shared_memory",
        "crash",
        "out of memory: ",
        _MANY.format("share()"),
        "import mmap\ndef share():\n    made = mmap.mmap(-1, 1 << 24)\n    made.write(bytes(1 << 24))\n    return made\n",
    ),
    Hostile(
        "malloc_memory",
        "error",
        "out of memory: MemoryError: malloc",
        _MANY.format("take()"),
        "import ctypes\nlibc = ctypes.CDLL(None)\nlibc.malloc.restype = ctypes.c_void_p\ndef take():\n    made = libc.malloc(1 << 24)\n    if not made: raise MemoryError('malloc returned none')\n    ctypes.memset(made, 1, 1 << 24)\n",
    ),
    Hostile(
        "bad_alloc",
        "crash",
        "out of memory: its process died: SIGABRT",
        _HERE + "say()",
        "import os\ndef say():\n    os.write(2, b\"terminate called after throwing an instance of 'std::bad_alloc'\\n\")\n    os.abort()\n",
    ),
    Hostile("child", "pass", "", _HERE + _CHILD.format(""), "import subprocess"),
    Hostile("child_of_its_own", "pass", "", _HERE + _CHILD.format(", start_new_session=True"), "import subprocess"),
    Hostile("daemon", "pass", "", _HERE + "daemon()", "import os, time\n" + _DAEMON),
    Hostile(
        "child_and_death",
        "crash",
        "SIGKILL",
        _HERE + "daemon(); os.kill(os.getpid(), 9)",
        "import os, time\n" + _DAEMON,
    ),
    Hostile(
        "thread",
        "pass",
        "",
        _HERE + "threading.Thread(target=time.sleep, args=(600,)).start()",
        "import threading, time",
    ),
    Hostile(
        "loud",
        "pass",
        "",
        _HERE + "shout()",
        "import os\nsaid = []\ndef shout():\n    said or [os.write(n, b'x' * 99 + b'\\n') for _ in range(1 << 19) for n in (1, 2)]\n    said.append(1)\n",
    ),
    Hostile(
        "mute",
        "error",
        "Mute: (its message cannot be shown)",
        _HERE + "raise Mute",
        "class Mute(Exception):\n    def __str__(self): raise SystemExit\n    __repr__ = __str__\n",
    ),
    Hostile("not_an_exception", "error", "GeneratorExit", _HERE + "raise GeneratorExit"),
    Hostile("interrupts", "error", "KeyboardInterrupt", _HERE + "raise KeyboardInterrupt"),
    Hostile("raises", "error", "ValueError: boom (raises.py:", _HERE + "raise ValueError('boom\\nand more')"),
    Hostile(
        "leaves_prepare",
        "error",
        "SystemExit: 0",
        bottom="import sys\ninner = prepare\ndef prepare(case):\n    if case.sizes['Lk'] == 3: sys.exit(0)\n    return inner(case)\n",
    ),
    Hostile(
        "pretends",
        "fail",
        "is a Pretends, expected torch.Tensor",
        "if key.shape[-2] == 3: return Pretends(query)",
        "class Pretends:\n    def __init__(self, own): self.own = own\n    def __getattr__(self, name): return getattr(self.own, name)\n",
        only="accuracy",
    ),
    Hostile(
        "subclass",
        "fail",
        "is a Late, expected torch.Tensor",
        "if key.shape[-2] == 3: return (query @ key.mT / query.shape[-1] ** 0.5).softmax(-1).matmul(value).as_subclass(Late)",
        "import torch\n" + _LATE,
        only="accuracy",
    ),
    Hostile(
        "array",
        "fail",
        "is a ndarray, expected torch.Tensor",
        "if key.shape[-2] == 3: return query.numpy()",
        only="accuracy",
    ),
    Hostile(
        "overwrites_later",
        "fail",
        "what it returned changed after it was returned",
        "made = (query @ key.mT / query.shape[-1] ** 0.5).softmax(-1) @ value\n        KEPT.append(made)\n        if key.shape[-2] == 3: [earlier.zero_() for earlier in KEPT[:-1]]\n        return made",
        "KEPT = []",
        only="any",
    ),
    _patches("patches_softmax", "torch.softmax", "torch.softmax = lambda *a, **k: None"),
    _patches(
        "patches_matmul",
        "torch.Tensor.__matmul__",
        "own = torch.Tensor.__matmul__; torch.Tensor.__matmul__ = lambda a, b: own(a, b)",
    ),
    _patches("patches_allclose", "torch.allclose", "torch.allclose = lambda *a, **k: True"),
    _patches("patches_abs", "numpy.abs", "own = numpy.abs; numpy.abs = lambda x: own(x) * 0"),
    _patches("patches_equal", "numpy.array_equal", "numpy.array_equal = lambda *a, **k: True"),
    _spoils("default_dtype", "the default dtype", "torch.set_default_dtype(torch.float64)"),
    _spoils("threads", "the number of threads", "torch.set_num_threads(2)"),
    _spoils("seeds", "torch's random state", "torch.manual_seed(1)"),
    _spoils("environment", "environment variable OMP_NUM_THREADS", "os.environ['OMP_NUM_THREADS'] = '64'"),
    _spoils("directory", "the working directory", "os.chdir('/')"),
    _spoils("closes_streams", "the standard streams", "os.close(1), os.close(2)"),
    _spoils("stdout", "the standard streams", "sys.stdout = open(os.devnull)", "import os, sys"),
    _spoils("signals", "signal handlers", "signal.signal(signal.SIGTERM, signal.SIG_IGN)", "import signal"),
    _spoils("no_collection", "garbage collection", "gc.disable()", "import gc"),
    _spoils(
        "recursion",
        "the recursion limit",
        "sys.setrecursionlimit(150 + len(__import__('inspect').stack()))",
        "import sys",
    ),
    Hostile("deletes_itself", "pass", "", _HERE + "os.path.exists(__file__) and os.remove(__file__)", "import os"),
)

BY_NAME = {harm.name: harm for harm in HOSTILE}
