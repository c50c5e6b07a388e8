"""Imports what every worker needs into the server that workers are forked from, once; touches no GPU."""

import torch
import torch._inductor.codecache  # places the headers it compiles in the machine's temporary folder: a worker's own is emptied after a call

from . import worker  # noqa: F401 -- with all that it needs of the suite; plugins are imported by the workers, within their bounds

# The first optimiser step imports torch's compiler, which takes a second; it is made here, without a backward pass,
# since autograd's own threads would not survive the fork.
_parameter = torch.nn.Parameter(torch.zeros(1))
_parameter.grad = torch.zeros(1)
torch.optim.Adam([_parameter]).step()
