"""Named workloads, one record each: shapes of real models, of the notes and of the papers, and a sweep over lengths.

Those of the quick and the default matrix are small enough that a call of the eager implementation takes 0.1 to 20 ms on
one core. Lengths are cut where a model's own would take longer; `cites` says so, and the full matrix has more of them.
Draws are chosen so that every query sees some key.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from attention_harness.model.case import Case
from attention_harness.model.measurement import SWEPT
from attention_harness.registry import unknown


@dataclass(frozen=True, slots=True)
class Workload:
    """A case with a name.

    cites        the configuration it is taken from
    matrix       the smallest one that has it: quick, default or full
    dtypes       that it is timed in; its case's if none is named
    directions   in which it is timed
    gated_on     the shorter case that is checked in its place; "" for itself
    """

    name: str
    cites: str
    case: str
    matrix: Literal["quick", "default", "full"] = "default"
    dtypes: tuple[str, ...] = ()
    directions: tuple[str, ...] = ("forward",)
    gated_on: str = ""

    @property
    def mechanism(self) -> str:
        """The mechanism that it computes."""
        return Case.from_id(self.case).mechanism


BOTH = ("forward", "forward_backward")


def _case(
    mechanism: str,
    sizes: str,
    *,
    options: str = "plain",
    content: str = "ordinary",
    draw: int = 0,
) -> str:
    further = f"-draw{draw}" if draw else ""
    return f"{mechanism}-{sizes}-float32-{options}-{content}-contiguous{further}"


_BERT = "BERT-base (Devlin et al. 2019): 12 heads of 64, the 128 tokens of its first pre-training phase"
_GPT2 = "GPT-2 small (Radford et al. 2019): 12 heads of 64, causal"
_LLAMA = "Llama 3 8B (Dubey et al. 2024, table 3): 32 heads of 128 over 8 key heads"
_BASE = "Transformer base (Vaswani et al. 2017, table 3): width 512, 8 heads"
_NOTE_000 = "note 000's own call: batch 10, length 12, hidden size 256"

SWEEP = (128, 256, 512, 1024, 2048, 4096, 8192)
_CHECKED, _DEFAULT = 1024, 2048  # the longest length that is checked itself, and the longest of the default matrix


def _swept(length: int) -> Workload:
    def at(length: int) -> str:
        return _case("scaled_dot_product", f"B1H1Hk1Lq{length}Lk{length}D64Dv64")

    return Workload(
        f"{SWEPT}{length}",
        f"one head of 64, as in BERT-base and GPT-2 small, over {length} tokens: how time and memory grow",
        at(length),
        matrix="full" if length > _DEFAULT else "default",
        gated_on=at(_CHECKED) if length > _CHECKED else "",
    )


WORKLOADS = (
    Workload(
        "minilm_layer0",
        "recorded from all-MiniLM-L6-v2, layer 0: two texts of 64 and 53 tokens (harness/cases/recordings)",
        _case("scaled_dot_product", "B2H12Hk12Lq64Lk64D32Dv32", options="mask=batch", content="recorded.minilm_layer0"),
        matrix="quick",
    ),
    Workload(
        "minilm_layer4",
        "recorded from all-MiniLM-L6-v2, layer 4: the milder scores of the same texts (harness/cases/recordings)",
        _case("scaled_dot_product", "B2H12Hk12Lq64Lk64D32Dv32", options="mask=batch", content="recorded.minilm_layer4"),
        matrix="full",
    ),
    Workload(
        "bert_base",
        _BERT,
        _case("scaled_dot_product", "B1H12Hk12Lq128Lk128D64Dv64"),
        matrix="quick",
        dtypes=("float32", "bfloat16"),
        directions=BOTH,
    ),
    Workload(
        "bert_base_padded",
        f"{_BERT}; batch 2, padded: lengths differ",
        _case("scaled_dot_product", "B2H12Hk12Lq128Lk128D64Dv64", options="valid_lens=batch", draw=1),
        matrix="full",
    ),
    Workload(
        "gpt2_causal",
        f"{_GPT2}; 256 of its 1024 tokens",
        _case("scaled_dot_product", "B1H12Hk12Lq256Lk256D64Dv64", options="causal=top_left"),
        matrix="quick",
        directions=BOTH,
    ),
    Workload(
        "gpt2_decode",
        f"{_GPT2}; one new token over a full cache of 1024",
        _case("scaled_dot_product", "B1H12Hk12Lq1Lk1024D64Dv64"),
        matrix="full",
    ),
    Workload(
        "vit_b16",
        "ViT-B/16 (Dosovitskiy et al. 2021, table 1): 12 heads of 64, patches of 16 of 224 pixels, a class token",
        _case("scaled_dot_product", "B1H12Hk12Lq197Lk197D64Dv64"),
        matrix="quick",
    ),
    Workload(
        "llama3_prefill",
        f"{_LLAMA}; a prompt of 64 tokens",
        _case("scaled_dot_product", "B1H32Hk8Lq64Lk64D128Dv128", options="causal=top_left"),
    ),
    Workload(
        "llama3_decode",
        f"{_LLAMA}; one new token over a cache of 256 of 8192",
        _case("scaled_dot_product", "B1H32Hk8Lq1Lk256D128Dv128"),
    ),
    Workload(
        "whisper_cross",
        "Whisper base (Radford et al. 2022, table 1): 8 heads of 64; a decoder asks the 1500 frames of 30 s of sound; "
        "64 of its 448 tokens",
        _case("scaled_dot_product", "B1H8Hk8Lq64Lk1500D64Dv64"),
    ),
    Workload(
        "stable_diffusion_cross",
        "Stable Diffusion 1 (Rombach et al. 2022; unet/config.json of v1-5: 8 heads): 32 x 32 latents of 640 channels, "
        "heads of 80, ask the 77 tokens of the prompt",
        _case("scaled_dot_product", "B1H8Hk8Lq1024Lk77D80Dv80"),
    ),
    Workload(
        "mpt_7b_bias",
        "MPT-7B (MosaicML 2023): 32 heads of 128 with a bias by head (ALiBi, Press et al. 2022), here "
        "random; 64 of its 2048 tokens",
        _case("scaled_dot_product", "B1H32Hk32Lq64Lk64D128Dv128", options="bias=head"),
        matrix="full",
    ),
    Workload(
        "t5_small",
        "T5 small (Raffel et al. 2020): 8 heads of 64, unscaled scores with a relative-position bias by head, here of "
        "random numbers; 128 of its 512 tokens",
        _case("dot_product", "B1H8Hk8Lq128Lk128D64Dv64", options="bias=head"),
        matrix="quick",
    ),
    Workload(
        "swin_v2_tiny",
        "Swin V2 tiny, first stage (Liu et al. 2022): cosine scores in windows of 8 x 8, 3 heads of 32; 64 windows "
        "of a 256 x 256 picture, without its learned temperature",
        _case("cosine", "B64H3Hk3Lq64Lk64D32Dv32"),
        matrix="quick",
    ),
    Workload(
        "additive_note",
        "notes 003 and 004, `AdditiveAttention`, at note 000's size: batch 10, length 12, hidden size 256",
        _case("additive", "B10H1Lq1Lk12Dq256Dk256Dv256A256"),
        matrix="quick",
    ),
    Workload(
        "rnnsearch_50",
        "RNNsearch-50 (Bahdanau et al. 2015, appendix A): one decoder step over 50 words, 1000 hidden units, 2000 "
        "annotations",
        _case("additive", "B1H1Lq1Lk50Dq1000Dk2000Dv2000A1000"),
        directions=BOTH,
    ),
    Workload(
        "additive_self",
        "additive scores of a whole sequence of 64, each with each: the largest intermediate of the notes",
        _case("additive", "B1H1Lq64Lk64Dq256Dk256Dv256A256", options="valid_lens=query", draw=1),
        matrix="full",
    ),
    Workload(
        "luong_concat",
        "concat score (Luong et al. 2015; note 001, second formula): one decoder step over 50 words, 1000 cells",
        _case("concat_tanh", "B1H1Lq1Lk50Dq1000Dk1000Dv1000A1000"),
        matrix="quick",
    ),
    Workload(
        "tanh_gated_note",
        "note 002, first layer, at note 000's size: batch 10, length 12, hidden size 256",
        _case("tanh_gated", "B10H1Lq1Lk12Dq256Dk256Dv256"),
        matrix="quick",
    ),
    Workload(
        "kernel_regression",
        "note 004, `NWKernelRegression`: a scalar regression; 512 points observed and asked, so that a call is not "
        "overhead alone",
        _case("gaussian_kernel", "B1H1Lq512Lk512D1Dv1"),
        matrix="quick",
        directions=BOTH,
    ),
    Workload(
        "kernel_vectors",
        "notes 003 and 004, the Gaussian kernel over vectors: 64 points of width 64 for each of 4 heads",
        _case("gaussian_kernel", "B1H4Lq64Lk64D64Dv64"),
        matrix="full",
    ),
    Workload(
        "seq2seq_location",
        "note 001's seq2seq module, whose shape is AttnDecoderRNN of the PyTorch translation tutorial: hidden size "
        "256, 10 positions; batch 32 of 10 words",
        _case("location", "B32Lq10P10Dq256Dk256Dv256O256"),
        matrix="quick",
    ),
    Workload(
        "projected_note",
        f"{_NOTE_000}, 'dot'",
        _case("projected", "B10Lq1Lk12D256Dv256Eq256Ek256Ev256", options="score=dot_product"),
        matrix="quick",
    ),
    Workload(
        "projected_cosine_note",
        f"{_NOTE_000}, 'cosine'",
        _case("projected", "B10Lq1Lk12D256Dv256Eq256Ek256Ev256", options="score=cosine"),
        matrix="full",
    ),
    Workload(
        "projected_scaled",
        f"{_BASE}, as one head over 64 tokens",
        _case("projected", "B1Lq64Lk64D512Dv512Eq512Ek512Ev512", options="score=scaled_dot_product"),
        matrix="full",
    ),
    Workload(
        "transformer_base",
        f"{_BASE}: its encoder layer's attention with all projections, 64 tokens",
        _case("multi_head", "B1H8Lq64Lk64E512Eq512Ek512Ev512O512"),
        matrix="quick",
    ),
    Workload(
        "multi_head_lens",
        f"note 004, `MultiHeadAttention` with valid lengths, at the size of {_BASE}; batch 4 of 16 tokens",
        _case("multi_head", "B4H8Lq16Lk16E512Eq512Ek512Ev512O512", options="valid_lens=batch", draw=1),
        matrix="full",
    ),
    Workload(
        "self_attention_positions",
        f"notes 003 and 004: one sequence with sinusoidal positions; {_BASE}, 128 tokens",
        _case("self_attention", "B1L128E512", options="positions=sinusoidal"),
        matrix="quick",
    ),
    Workload(
        "self_attention_plain",
        f"note 001: Q = K = V without positions; {_BASE}, 128 tokens",
        _case("self_attention", "B1L128E512", options="positions=none"),
        matrix="full",
    ),
    Workload(
        "cross_attention",
        f"note 000, Cross Attention: a decoder of 32 tokens asks an encoder of 64; widths of {_BASE}, one head",
        _case("cross_attention", "B1Lq32Lk64D512E512"),
        matrix="quick",
    ),
    Workload(
        "masked_softmax",
        f"note 003, `mask_softmax`, over the scores of {_BERT}; padded",
        _case("masked_softmax", "B1H12Lq128Lk128", options="valid_lens=batch", draw=1),
        matrix="quick",
    ),
    Workload(
        "positional_encoding",
        f"note 004, `PositionalEncoding`; {_BASE}, 512 positions",
        _case("positional_encoding", "B1L512E512"),
        matrix="quick",
    ),
    # --- the full matrix alone: the same models at their own lengths
    Workload(
        "bert_base_512",
        "BERT-base (Devlin et al. 2019): 12 heads of 64, the 512 tokens of its second pre-training phase",
        _case("scaled_dot_product", "B1H12Hk12Lq512Lk512D64Dv64"),
        matrix="full",
        directions=BOTH,
    ),
    Workload(
        "gpt2_1024",
        f"{_GPT2}; all of its 1024 tokens",
        _case("scaled_dot_product", "B1H12Hk12Lq1024Lk1024D64Dv64", options="causal=top_left"),
        matrix="full",
        gated_on=_case("scaled_dot_product", "B1H12Hk12Lq256Lk256D64Dv64", options="causal=top_left"),
    ),
    Workload(
        "llama3_prefill_1024",
        f"{_LLAMA}; a prompt of 1024 tokens",
        _case("scaled_dot_product", "B1H32Hk8Lq1024Lk1024D128Dv128", options="causal=top_left"),
        matrix="full",
        gated_on=_case("scaled_dot_product", "B1H32Hk8Lq64Lk64D128Dv128", options="causal=top_left"),
    ),
    Workload(
        "llama3_decode_8192",
        f"{_LLAMA}; one new token over a cache of 8192",
        _case("scaled_dot_product", "B1H32Hk8Lq1Lk8192D128Dv128"),
        matrix="full",
    ),
    Workload(
        "stable_diffusion_cross_4096",
        "Stable Diffusion 1, its widest layer: 64 x 64 latents of 320 channels, heads of 40, ask 77 tokens",
        _case("scaled_dot_product", "B1H8Hk8Lq4096Lk77D40Dv40"),
        matrix="full",
    ),
    *map(_swept, SWEEP),
)


def of_matrix(size: str) -> tuple[Workload, ...]:
    """Return the workloads of the quick, the default or the full matrix; each has those of the smaller ones."""
    sizes = ("quick", "default", "full")
    return tuple(one for one in WORKLOADS if one.matrix in sizes[: sizes.index(size) + 1])


def select(names: Sequence[str]) -> tuple[Workload, ...]:
    """Return the named workloads, in the order of the names."""
    known = {workload.name: workload for workload in WORKLOADS}
    for name in names:
        if name not in known:
            raise unknown("workload", name, known)
    return tuple(known[name] for name in names)
