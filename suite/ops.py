"""Runs recurrences that variants share: the slow, readable reference and its fast twins."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn

State = TypeVar("State")


def scan(step: Callable[[Tensor, State], tuple[Tensor, State]], x: Tensor, state: State) -> Tensor:
    """Apply ``step(x_t, state) -> (y_t, state)`` along time.

    x ``(B, T, D)``, x_t ``(B, D)``, y_t ``(B, O)`` -> ``(B, T, O)``
    """
    outputs = []
    for x_t in x.unbind(1):  # indexing x[:, t] would make the backward pass quadratic in T
        y_t, state = step(x_t, state)
        outputs.append(y_t)
    return torch.stack(outputs, dim=1)


def initialise(module: nn.Module, hidden_size: int) -> None:
    """Draw every parameter from U(−1/√H, 1/√H), as torch's own recurrent layers do."""
    bound = hidden_size**-0.5
    for parameter in module.parameters():
        nn.init.uniform_(parameter, -bound, bound)


def _flat(weight_x: Tensor, weight_h: Tensor, bias: Tensor) -> list[Tensor]:
    # torch's layers carry a second bias a gate; held at zero and untrained here, as the equations have one
    return [weight_x, weight_h, bias, torch.zeros_like(bias)]


def _zeros(x: Tensor, hidden_size: int, directions: int = 1) -> Tensor:
    return x.new_zeros(directions, len(x), hidden_size)


def vendor_rnn(x: Tensor, weight_x: Tensor, weight_h: Tensor, bias: Tensor) -> Tensor:
    """Run h_t = tanh(W_x x_t + W_h h_{t−1} + b) on cuDNN or oneDNN.

    x ``(B, T, D)``, weight_x ``(H, D)``, weight_h ``(H, H)``, bias ``(H,)`` -> ``(B, T, H)``
    """
    y, _ = torch.rnn_tanh(x, _zeros(x, weight_h.shape[1]), _flat(weight_x, weight_h, bias), True, 1, 0.0, True, False, True)
    return y


def vendor_gru(x: Tensor, weight_x: Tensor, weight_h: Tensor, bias: Tensor) -> Tensor:
    """Run a GRU (gates in the order r, z, n; reset after the product) on cuDNN or oneDNN.

    x ``(B, T, D)``, weight_x ``(3H, D)``, weight_h ``(3H, H)``, bias ``(3H,)`` -> ``(B, T, H)``
    """
    y, _ = torch.gru(x, _zeros(x, weight_h.shape[1]), _flat(weight_x, weight_h, bias), True, 1, 0.0, True, False, True)
    return y


def vendor_lstm(x: Tensor, *directions: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """Run an LSTM (gates in the order i, f, g, o) on cuDNN or oneDNN, forward or, with two directions, both ways.

    x ``(B, T, D)``; a direction is weight_x ``(4H, D)``, weight_h ``(4H, H)``, bias ``(4H,)`` -> ``(B, T, H · directions)``
    """
    flat = [tensor for direction in directions for tensor in _flat(*direction)]
    state = _zeros(x, directions[0][1].shape[1], len(directions))
    y, _, _ = torch.lstm(x, (state, state), flat, True, 1, 0.0, True, len(directions) == 2, True)
    return y
