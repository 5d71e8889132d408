"""Mutants of behaviours: inputs, memory, state, caches, shapes baked in, dtypes, randomness, neighbours."""

from attention_harness.mutation.mutant import Mutant, mutants

_PREPARE = "return functools.partial(globals()[case.mechanism], **settings)"
_HEAD = "import torch\n    made = functools.partial(globals()[case.mechanism], **settings)\n    kept = {}\n    first = lambda out: out[0] if isinstance(out, tuple) else out\n"


def _wrapped(body: str) -> str:
    """Return a `prepare` whose callable is the body: `made` is the right one, `kept` survives calls."""
    return (
        _HEAD
        + "    def call(**given):\n"
        + "".join(f"        {line}\n" for line in body.split("\n"))
        + "    return call"
    )


def _on_output(expression: str) -> str:
    return _wrapped(
        f"out = made(**given)\ny = first(out)\ny = {expression}\nreturn (y, out[1]) if isinstance(out, tuple) else y"
    )


_SHAPES = "key = tuple(tuple(x.shape) for x in given.values())\n"
_BIGGEST = "name = max(given, key=lambda n: given[n].numel() * given[n].is_floating_point())\n"

BEHAVIOURS = mutants(
    "behaviours",
    [
        (name, _PREPARE, code, *cites)
        for name, code, *cites in (
            (
                "answers cached by shape",
                _wrapped(_SHAPES + "if key not in kept:\n    kept[key] = made(**given)\nreturn kept[key]"),
            ),
            (
                "answers cached by address",
                _wrapped(
                    "key = tuple(x.data_ptr() for x in given.values())\nkept.setdefault('held', []).append(given)\nif key not in kept:\n    kept[key] = made(**given)\nout = kept[key]\nkept['last'] = out\nreturn out if len(kept['held']) < 2 else kept[tuple(x.data_ptr() for x in kept['held'][0].values())]"
                ),
            ),
            ("first answer for ever", _wrapped("return kept.setdefault('out', made(**given))")),
            (
                "answer of the call before",
                _wrapped("now = made(**given)\nbefore = kept.get('out', now)\nkept['out'] = now\nreturn before"),
            ),
            (
                "one output buffer for all calls of a shape",
                _wrapped(
                    _SHAPES
                    + "out = made(**given)\ny = first(out)\nbuffer = kept.setdefault(key, y.clone())\nbuffer.copy_(y)\nreturn (buffer, out[1]) if isinstance(out, tuple) else buffer"
                ),
            ),
            (
                "query length baked in",
                _wrapped(
                    "out = made(**given)\ny = first(out)\nlimit = kept.setdefault('limit', y.shape[-2])\ny = y.clone()\ny[..., limit:, :] = 0\nreturn (y, out[1]) if isinstance(out, tuple) else y"
                ),
            ),
            (
                "batch size baked in",
                _wrapped(
                    "out = made(**given)\ny = first(out)\nlimit = kept.setdefault('limit', y.shape[0])\ny = y.clone()\ny[limit:] = 0\nreturn (y, out[1]) if isinstance(out, tuple) else y"
                ),
            ),
            (
                "shape baked in: raises for another",
                _wrapped(
                    _SHAPES
                    + "if kept.setdefault('key', key) != key:\n    raise RuntimeError('invalid expand shape')\nreturn made(**given)"
                ),
            ),
            (
                "an input is scaled in place",
                _wrapped("out = made(**given)\n" + _BIGGEST + "given[name].mul_(2)\nreturn out"),
            ),
            (
                "an input is overwritten by zeros",
                _wrapped("out = made(**given)\n" + _BIGGEST + "given[name].zero_()\nreturn out"),
            ),
            (
                "an input is reshaped in place",
                _wrapped("out = made(**given)\n" + _BIGGEST + "given[name].unsqueeze_(0)\nreturn out"),
            ),
            (
                "a mask is inverted in place",
                _wrapped("out = made(**given)\nif 'mask' in given:\n    given['mask'].logical_not_()\nreturn out"),
            ),
            (
                "a bias is masked in place",
                _wrapped("out = made(**given)\nif 'bias' in given:\n    given['bias'].clamp_(min=-5)\nreturn out"),
            ),
            (
                "lengths are counted down in place",
                _wrapped("out = made(**given)\nif 'valid_lens' in given:\n    given['valid_lens'].sub_(1)\nreturn out"),
            ),
            (
                "the output lies in an input",
                _wrapped(
                    "out = made(**given)\ny = first(out)\nfor x in given.values():\n    if x.shape == y.shape and x.dtype == y.dtype and x.is_contiguous():\n        keep = x.clone()\n        kept['alias'] = x\n        return (x.copy_(y), out[1]) if isinstance(out, tuple) else x.copy_(y)\nreturn out"
                ),
            ),
            (
                "the output is an input for one key",
                _wrapped(
                    "out = made(**given)\ny = first(out)\nv = given.get('value')\nif v is not None and v.shape == y.shape and v.shape[-2] == 1:\n    return (v, out[1]) if isinstance(out, tuple) else v\nfor x in given.values():\n    if x.is_floating_point() and x.shape == y.shape:\n        return (x.view_as(x), out[1]) if isinstance(out, tuple) else x.view_as(x)\nreturn out"
                ),
            ),
            ("random numbers are drawn", _wrapped("torch.rand(1)\nreturn made(**given)")),
            ("the seed is set", _wrapped("torch.manual_seed(0)\nreturn made(**given)")),
            ("NumPy's seed is set", _wrapped("import numpy\nnumpy.random.seed(0)\nreturn made(**given)")),
            ("the default dtype is set", _wrapped("torch.set_default_dtype(torch.float64)\nreturn made(**given)")),
            ("the number of threads is set", _wrapped("torch.set_num_threads(3)\nreturn made(**given)")),
            ("deterministic mode is set", _wrapped("torch.use_deterministic_algorithms(True)\nreturn made(**given)")),
            (
                "the matmul precision is set",
                _wrapped("torch.set_float32_matmul_precision('medium')\nreturn made(**given)"),
            ),
            (
                "noise of a thousandth",
                _on_output("y + 1e-3 * torch.rand(y.shape, generator=torch.Generator().manual_seed(1)).to(y.dtype)"),
            ),
            (
                "dropout of a tenth is active",
                _on_output(
                    "y * (torch.rand(y.shape, generator=torch.Generator().manual_seed(1)) > 0.1).to(y.dtype) / 0.9"
                ),
            ),
            ("wrong dtype: float32 always", _on_output("y.float()")),
            ("wrong dtype: one size up", _on_output("y.double()")),
            ("wrong shape: batch of one squeezed", _on_output("y.squeeze(0)")),
            ("wrong shape: last axes exchanged", _on_output("y.mT")),
            ("wrong shape: flattened", _on_output("y.flatten(0, 1)")),
            ("a NumPy array comes back", _on_output("y.double().numpy()")),
            ("None comes back", _wrapped("made(**given)\nreturn None")),
            (
                "weights come back in the place of the output",
                _wrapped("out = made(**given)\nreturn (out[1], out[0]) if isinstance(out, tuple) else out + 1"),
            ),
            (
                "weights promised, not returned",
                _wrapped("out = made(**given)\nreturn out[0] if isinstance(out, tuple) else out + 1"),
            ),
            (
                "weights of the next query returned",
                _wrapped(
                    "out = made(**given)\nreturn (out[0], out[1].roll(1, -2)) if isinstance(out, tuple) else out + 1"
                ),
            ),
            (
                "weights before the normalisation returned",
                _wrapped("out = made(**given)\nreturn (out[0], out[1] * 1.01) if isinstance(out, tuple) else out + 1"),
            ),
            ("batch neighbours mixed in", _on_output("y + 1e-3 * y.roll(1, 0)")),
            ("batch elements exchanged", _on_output("y.flip(0)")),
            (
                "batch past the second zero",
                _on_output("y * (torch.arange(y.shape[0]) < 2).reshape(-1, *[1] * (y.ndim - 1))"),
            ),
            (
                "strides misread as contiguous",
                _wrapped(
                    "read = lambda x: x if x.numel() == 0 else torch.as_strided(x, x.shape, torch.empty(x.shape).stride(), x.storage_offset()) if x.untyped_storage().nbytes() // x.element_size() >= x.numel() + x.storage_offset() else x\nreturn made(**{n: read(x) for n, x in given.items()})"
                ),
            ),
            (
                "offset into memory ignored",
                _wrapped(
                    "read = lambda x: torch.as_strided(x, x.shape, x.stride(), 0)\nreturn made(**{n: read(x) for n, x in given.items()})"
                ),
            ),
            (
                "read past the end of a row",
                _wrapped(
                    "read = lambda x: torch.as_strided(x, x.shape, x.stride(), x.storage_offset() + 1) if x.storage_offset() else x\nreturn made(**{n: read(x) for n, x in given.items()})"
                ),
            ),
            (
                "expanded inputs read as they lie",
                _wrapped(
                    "if any(0 in x.stride() and x.shape[x.stride().index(0)] > 1 for x in given.values() if x.ndim):\n    out = made(**given)\n    y = first(out).clone()\n    y[1:] = 0\n    return (y, out[1]) if isinstance(out, tuple) else y\nreturn made(**given)"
                ),
            ),
            (
                "empty lengths raise",
                _wrapped(
                    "if any(x.numel() == 0 for x in given.values()):\n    raise RuntimeError('empty')\nreturn made(**given)"
                ),
                "ONNX Runtime 1.31.1, Attention, empty Lq",
            ),
            (
                "empty keys are NaN",
                _wrapped(
                    "out = made(**given)\ny = first(out)\nif any(x.numel() == 0 for x in given.values()):\n    y = y + math.nan\nreturn (y, out[1]) if isinstance(out, tuple) else y"
                ),
            ),
        )
    ],
)

_SAFE = "poison_safe=False,"
_WEIGHTS = "weights=True,"
_SUM = "    weights = softmax(scores, **visibility)\n    return weights @ value, weights"


def _promise(name: str, *patches: tuple[str, str]) -> Mutant:
    return Mutant(f"promises {name}", "promises", patches)


def _declared(promise: str) -> tuple[str, str]:
    return _WEIGHTS, f"{_WEIGHTS}\n    {promise},"


PROMISES = (
    _promise("to be poison-safe", (_SAFE, "poison_safe=True,")),
    _promise("NaN for fully masked rows", _declared('fully_masked_rows="nan"')),
    _promise("the mean for fully masked rows", _declared('fully_masked_rows="mean"')),
    _promise(
        "the same bits, sums in any order",
        _declared("repeatable=True"),
        (
            _SUM,
            """\
    import time

    weights = softmax(scores, **visibility)
    order = torch.randperm(value.shape[-2], generator=torch.Generator().manual_seed(time.perf_counter_ns() % 2**60))
    return sum((weights[..., j : j + 1] * value[..., j : j + 1, :] for j in order), 0 * (weights @ value)), weights""",
        ),
    ),
    _promise(
        "batch invariance, sums a single one backwards",
        _declared("batch_invariant=True"),
        (
            _SUM,
            """\
    weights = softmax(scores, **visibility)
    order = torch.arange(value.shape[-2])
    order = order.flip(0) if value.shape[0] == 1 else order
    return sum((weights[..., j : j + 1] * value[..., j : j + 1, :] for j in order), 0 * (weights @ value)), weights""",
        ),
    ),
    _promise(
        "float64 sums",
        ("from attention_harness import Capabilities\n", "from attention_harness import Arithmetic, Capabilities\n"),
        _declared('arithmetic=Arithmetic(accumulator="float64")'),
    ),
)

MUTANTS: tuple[Mutant, ...] = BEHAVIOURS + PROMISES
