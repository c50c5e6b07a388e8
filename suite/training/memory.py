"""Sets how long a model remembers at first, by the biases of the gates that keep its state.

A gate σ(b) keeps σ(b)^T of a state over T steps: with b = 1 and T = 60, 7·10⁻⁹ of it. Left to each variant, a comparison of variants
would be one of that constant.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..errors import SuiteError
from ..spec import Variant
from ..trial import Trial
from . import data


@torch.no_grad()
def set_memory(variant: Variant, core: nn.Module, trial: Trial) -> None:
    """Let a core that was just built begin with the memory that the trial asks for; one without such gates stays as it is.

    ``chrono``: keeping biases log u with u ~ U(1, T − 1), writing ones −log u (Tallec & Ollivier, 2018, arXiv:1804.11188, equation 16)

    Raises SuiteError where what the variant yields are no biases of one shape.
    """
    wanted = trial.training.initial_memory
    if variant.memory is None or wanted == "own":
        return
    rng = data.generator("initial memory", trial.task.name, dict(trial.task.options), trial.length, trial.seed)
    for keep, write in variant.memory(core):
        if not isinstance(keep, Tensor) or keep.dim() != 1 or (write is not None and write.shape != keep.shape):
            raise SuiteError(
                f"variant '{variant.name}': memory yields pairs of biases (H,), of what keeps a state and of what writes to it"
            )
        if wanted != "chrono":
            keep.fill_(wanted)
            continue
        keep.copy_(torch.from_numpy(rng.uniform(1, max(trial.length - 1, 2), size=len(keep))).log())
        if write is not None:
            write.copy_(-keep)
