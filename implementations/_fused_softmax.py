"""The softmax of scores that the caller has, in blocks that stay in cache. Of `fused`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn.functional import pad

from attention_harness.implementations._fused_blocks import block, weigh

if TYPE_CHECKING:
    from torch import Tensor

    from attention_harness.implementations._fused_visibility import Visibility


def weights_of(scores: Tensor, visible: Visibility) -> Tensor:
    """Return the weights (B, H, Lq, Lk) of scores, computed in float32 or better; they are 0 where no key is seen."""
    if not visible.conditional and not visible.beyond_kernels and visible.segments is None:
        return scores.softmax(-1)
    learned = (scores, visible.bias, visible.relative_bias, visible.sinks)
    if torch.is_grad_enabled() and any(x is not None and x.requires_grad for x in learned):
        return _recorded(scores, visible)
    output = torch.empty_like(scores, memory_format=torch.contiguous_format)
    _write(output, scores, visible)
    return output


def _write(output: Tensor, scores: Tensor, visible: Visibility) -> None:
    for first, end, start, stop, part_of in visible.of_segments():
        rows = output[:, :, first:end]
        rows[..., :start], rows[..., stop:] = 0.0, 0.0
        of_segment, within = rows[..., start:stop], scores[:, :, first:end, start:stop]
        for i, i_end, j, j_end in part_of.blocks(block(part_of, scores.shape[0] * scores.shape[1])):
            of_block = of_segment[:, :, i:i_end]
            of_block[..., :j], of_block[..., j_end:] = 0.0, 0.0
            of_block[..., j:j_end] = _of_block(within, part_of, i, i_end, j, j_end)


def _recorded(scores: Tensor, visible: Visibility) -> Tensor:
    """Return the weights from what autograd records without a pass over all scores for each block."""
    keys, rows = scores.shape[-1], [scores[:, :, :0]]
    for first, end, start, stop, part_of in visible.of_segments():
        within = scores[:, :, first:end, start:stop]
        for i, i_end, j, j_end in part_of.blocks(visible.queries):
            rows.append(pad(_of_block(within, part_of, i, i_end, j, j_end), (start + j, keys - start - j_end)))
    return torch.cat([row.to(scores.dtype) for row in rows], -2)


def _of_block(scores: Tensor, visible: Visibility, first: int, end: int, start: int, stop: int) -> Tensor:
    scores = scores[:, :, first:end, start:stop]
    if visible.softcap is not None:
        scores = (scores.to(torch.promote_types(scores.dtype, torch.float32)) / visible.softcap).tanh()
        scores = scores * visible.softcap if scores.requires_grad else scores.mul_(visible.softcap)
    else:
        scores = scores.to(torch.promote_types(scores.dtype, torch.float32), copy=True)
    return weigh(scores, visible, first, end, start, stop)[0]
