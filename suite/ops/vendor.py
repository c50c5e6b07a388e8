"""Runs recurrences on the vendor's kernels (cuDNN, oneDNN), with the parameters of the reference."""

from __future__ import annotations

import torch
from torch import Tensor


def _check(x: Tensor, weight_x: Tensor, weight_h: Tensor) -> None:
    """Raises ValueError where shapes do not fit: the kernels read beyond the weights instead of complaining."""
    if x.dim() != 3:
        raise ValueError(f"x has shape {tuple(x.shape)}; it must be (B, T, D)")
    if x.shape[2] != weight_x.shape[1]:
        raise ValueError(f"x has {x.shape[2]} features a step, and weight_x of shape {tuple(weight_x.shape)} takes {weight_x.shape[1]}")
    if weight_x.shape[0] != weight_h.shape[0]:
        raise ValueError(f"weight_x of shape {tuple(weight_x.shape)} and weight_h of shape {tuple(weight_h.shape)} differ in their rows")


def _flat(weight_x: Tensor, weight_h: Tensor, bias: Tensor) -> list[Tensor]:
    # torch's layers carry a second bias a gate; held at zero and untrained here, as the equations have one
    return [weight_x, weight_h, bias, torch.zeros_like(bias)]


def _zeros(x: Tensor, hidden_size: int, directions: int = 1) -> Tensor:
    return x.new_zeros(directions, len(x), hidden_size)


def vendor_rnn(x: Tensor, weight_x: Tensor, weight_h: Tensor, bias: Tensor) -> Tensor:
    """Run h_t = tanh(W_x x_t + W_h h_{t−1} + b) on cuDNN or oneDNN.

    x ``(B, T, D)``, weight_x ``(H, D)``, weight_h ``(H, H)``, bias ``(H,)`` -> ``(B, T, H)``

    Raises ValueError where the shapes do not fit.
    """
    _check(x, weight_x, weight_h)
    y, _ = torch.rnn_tanh(x, _zeros(x, weight_h.shape[1]), _flat(weight_x, weight_h, bias), True, 1, 0.0, True, False, True)
    return y


def vendor_gru(x: Tensor, weight_x: Tensor, weight_h: Tensor, bias: Tensor) -> Tensor:
    """Run a GRU (gates in the order r, z, n; reset after the product) on cuDNN or oneDNN.

    x ``(B, T, D)``, weight_x ``(3H, D)``, weight_h ``(3H, H)``, bias ``(3H,)`` -> ``(B, T, H)``

    Raises ValueError where the shapes do not fit.
    """
    _check(x, weight_x, weight_h)
    y, _ = torch.gru(x, _zeros(x, weight_h.shape[1]), _flat(weight_x, weight_h, bias), True, 1, 0.0, True, False, True)
    return y


def vendor_lstm(x: Tensor, *directions: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """Run an LSTM (gates in the order i, f, g, o) on cuDNN or oneDNN, forward or, with two directions, both ways.

    x ``(B, T, D)``; a direction is weight_x ``(4H, D)``, weight_h ``(4H, H)``, bias ``(4H,)`` -> ``(B, T, H · directions)``

    Raises ValueError where the shapes do not fit.
    """
    for weight_x, weight_h, _ in directions:
        _check(x, weight_x, weight_h)
    flat = [tensor for direction in directions for tensor in _flat(*direction)]
    state = _zeros(x, directions[0][1].shape[1], len(directions))
    y, _, _ = torch.lstm(x, (state, state), flat, True, 1, 0.0, True, len(directions) == 2, True)
    return y
