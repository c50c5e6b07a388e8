"""Trains a variant's core for a moment, to see that it can learn at all."""

from __future__ import annotations

import time

import torch
from torch import Tensor

from ..spec import Variant
from ..training import model
from .contract import Failed, Skipped, Subject
from .probe import engines, shape_task

B, H = 32, 16


def improves(subject: Subject[Variant], steps: int, remember: bool, updates: int, seconds: float) -> None:
    """Raises Failed unless the loss halves in so many updates and seconds, from where it begins or from a blind guess's, 1.

    Inputs are signs, with a mark on the first one; the target is the first, or the sum of all scaled to unit variance. (Gates that see
    the input alone could not know the first without its mark.) The readout stays as drawn, times four, so that it is the core that
    learns. Dropout draws from a seeded generator, as in a trial. Seconds are this thread's own, so that a busy
    machine fails nobody.
    """
    torch.manual_seed(0)
    net = model.build(subject.noun, subject.options, shape_task(2, 1), H, next(engines(subject))[0].name, seed=0)
    net.readout.requires_grad_(False)
    net.readout.weight *= 4
    trained = [parameter for parameter in net.core.parameters() if parameter.requires_grad]
    if not trained:
        raise Skipped("it has no weights to train")
    optimizer = torch.optim.Adam(trained, lr=0.01)
    generator = torch.Generator().manual_seed(0)

    def loss(samples: int) -> Tensor:
        signs = 2.0 * torch.randint(2, (samples, steps, 1), generator=generator) - 1
        mark = (torch.arange(steps) == 0).to(signs).expand(samples, steps)[..., None]
        target = signs[:, 0] if remember else signs.sum(1) / steps**0.5
        return (net(torch.cat([signs, mark, torch.ones_like(mark)], dim=2)) - target).square().mean()  # type: ignore[no-any-return]

    with torch.no_grad():
        first = min(1.0, loss(512).item())
    end, average, done = time.thread_time() + seconds, first, 0
    while done < updates and time.thread_time() < end:
        now = loss(B)
        optimizer.zero_grad()
        now.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        average = 0.9 * average + 0.1 * now.item()
        done += 1
        if average < first / 2:
            return
    raise Failed(f"the loss went from {first:.3g} to {average:.3g} in {done} updates; it must halve")
