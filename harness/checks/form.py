"""Whether something returned is a tensor of the right shape, dtype and device, and the numbers that it holds."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from attention_harness.model.case import Case


class WrongForm(Exception):
    """What an implementation returned has no numbers to compare: a wrong type, shape, dtype or device."""


def wrong_form(tensor: Any, case: Case, shape: tuple[int, ...], what: str) -> str:
    """Return what is wrong with a tensor's type, shape, dtype or device, or ""."""
    import torch

    if type(tensor) is not torch.Tensor:
        return f"{what} is a {type(tensor).__name__}, expected torch.Tensor"
    if tuple(tensor.shape) != shape:
        return f"{what} has shape {tuple(tensor.shape)}, expected {shape}"
    if tensor.dtype != getattr(torch, case.format.torch):
        return f"{what} has dtype {tensor.dtype}, expected torch.{case.dtype}"
    if tensor.device.type != case.device:
        return f"{what} is on {tensor.device}, expected {case.device}"
    return ""


def numbers(tensor: Any, case: Case, shape: tuple[int, ...], what: str) -> NDArray[np.float64]:
    """Return a tensor's numbers in float64, or raise WrongForm."""
    if wrong := wrong_form(tensor, case, shape, what):
        raise WrongForm(wrong)
    return to_array(tensor)


def to_array(tensor: Any) -> NDArray[np.float64]:
    """Return a tensor's numbers in float64."""
    return tensor.detach().double().cpu().numpy()
