"""Holds the models of a population, their weights in one block, and runs them together or in turn."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from . import company
from .company import ALIGNED
from .model import Model

Loss = Callable[[Tensor, int | None], Tensor]
"""``loss(output, member) -> ()`` for one member's output; ``loss(outputs, None) -> (P,)`` for all members' ``(P, B, …)``."""


class Members(ABC):
    """The models of a population: they differ in their weights alone.

    block ``(P, N)``: all trained weights, a row a member; gradients ``(P, N)``: theirs
    """

    def __init__(self, models: Sequence[Model], rows: int) -> None:
        """rows: of a block; those beyond the members are only computed"""
        self.models, self._rows = models, rows
        places = list(_places(models[0]))
        first = next(models[0].parameters())
        width = sum(_padded(numbers) for _, _, numbers in places)
        real = first.real.dtype if first.is_complex() else first.dtype
        self._block = torch.zeros(self._rows, width, dtype=real, device=first.device)
        self._gradients = torch.zeros_like(self._block)
        self.block, self.gradients = self._block[: len(models)], self._gradients[: len(models)]
        self._places: dict[str, tuple[int, int, torch.Size]] = {}
        start = 0
        for name, shape, numbers in places:
            self._places[name] = (start, numbers, shape)
            start += _padded(numbers)
        with torch.no_grad():
            for row, model in enumerate(models):
                for name, parameter in model.named_parameters():
                    if parameter.requires_grad:
                        self.weight(self.block[row : row + 1], name, parameter.is_complex())[0] = parameter

    def __len__(self) -> int:
        return len(self.models)

    def weight(self, block: Tensor, name: str, is_complex: bool) -> Tensor:
        """One weight of every member, ``(P, …)``, as a view of a block."""
        start, numbers, shape = self._places[name]
        part = block[:, start : start + numbers]
        return torch.view_as_complex(part.view(-1, *shape, 2)) if is_complex else part.view(-1, *shape)

    @abstractmethod
    def outputs(self, x: Tensor) -> Tensor:
        """x ``(P, B, T, D)`` -> outputs ``(P, B, …)``, without gradients."""

    @abstractmethod
    def learn(self, x: Tensor, loss: Loss) -> Tensor:
        """The losses ``(P,)`` of a batch each, whose gradients are then in `gradients`."""

    def train(self, training: bool) -> None:
        for model in self.models:
            model.train(training)

    @abstractmethod
    def seed(self, seeds: Sequence[int]) -> None:
        """Let each member draw its dropout and the like from a generator of its own seed, where it may draw at all."""

    @abstractmethod
    def random(self, row: int) -> Tensor | None:
        """The state of a member's generator, on the CPU; None where members draw nothing."""

    @abstractmethod
    def set_random(self, row: int, state: Tensor | None) -> None:
        """Let a member draw on from there."""

    @abstractmethod
    def fixed(self, row: int) -> dict[str, Tensor]:
        """What a member's model uses and does not train, as it is now, on the CPU."""

    @abstractmethod
    def set_fixed(self, row: int, values: Mapping[str, Tensor]) -> None:
        """Let a member's model use these."""

    def state(self, row: int, weights: Tensor) -> dict[str, Tensor]:
        """A member's state_dict, on the CPU, where a row ``(N,)`` stands for its trained weights."""
        state = {name: value.detach().cpu().clone() for name, value in self.models[row].state_dict().items()}
        for name, parameter in self.models[row].named_parameters():
            if parameter.requires_grad and name in state:
                state[name] = self.weight(weights.unsqueeze(0), name, parameter.is_complex())[0].detach().cpu().clone()
        return state


class Stacked(Members):
    """Members that run as one program, inside ``torch.vmap``."""

    def __init__(self, models: Sequence[Model]) -> None:
        # a product for a single member takes another kernel than one for several, and rounds otherwise
        each = company.rows(models[0].core, models[0].input_size)
        super().__init__(models, -(-max(2, len(models)) // each) * each)
        self._model = models[0]
        self._weights: dict[str, Tensor] = {}
        self._grads: list[Tensor] = []
        for name, parameter in self._model.named_parameters():
            if parameter.requires_grad:
                self._weights[name] = self.weight(self._block, name, parameter.is_complex()).detach().requires_grad_()
                self._grads.append(self.weight(self._gradients, name, parameter.is_complex()))
        fixed = [dict(_fixed(model)) for model in models]
        fixed += fixed[:1] * (self._rows - len(models))
        self._fixed = {name: torch.stack([values[name] for values in fixed]) for name in fixed[0]}

    def outputs(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            return self._outputs(x)

    def learn(self, x: Tensor, loss: Loss) -> Tensor:
        self._gradients.zero_()
        losses = loss(self._outputs(x), None)
        gradients = torch.autograd.grad(losses.sum(), tuple(self._weights.values()), allow_unused=True)
        for place, gradient in zip(self._grads, gradients, strict=True):
            if gradient is not None:
                place.copy_(gradient)
        return losses.detach()

    def _outputs(self, x: Tensor) -> Tensor:
        count, samples = x.shape[:2]
        padded = functional.pad(x, (0, 0, 0, 0, 0, -samples % ALIGNED, 0, self._rows - count))

        def member(weights: Mapping[str, Tensor], fixed: Mapping[str, Tensor], x: Tensor) -> Tensor:
            return torch.func.functional_call(self._model, {**weights, **fixed}, (x,))  # type: ignore[no-any-return]

        y: Tensor = torch.vmap(member)(self._weights, self._fixed, padded)
        return y[:count, :samples]

    def train(self, training: bool) -> None:
        self._model.train(training)

    def seed(self, seeds: Sequence[int]) -> None:
        """Nothing: ``torch.vmap`` refuses what draws at random."""

    def random(self, row: int) -> None:  # noqa: ARG002
        return None

    def set_random(self, row: int, state: Tensor | None) -> None:
        """Nothing, for the same reason."""

    def fixed(self, row: int) -> dict[str, Tensor]:
        return {name: stacked[row].detach().cpu().clone() for name, stacked in self._fixed.items()}

    def set_fixed(self, row: int, values: Mapping[str, Tensor]) -> None:
        for name, value in values.items():
            self._fixed[name][row].copy_(value)


class InTurn(Members):
    """Members that run one after another, on an engine that knows no stacked weights."""

    def __init__(self, models: Sequence[Model]) -> None:
        super().__init__(models, len(models))
        for row, model in enumerate(models):
            for name, parameter in model.named_parameters():
                if parameter.requires_grad:
                    parameter.data = self.weight(self.block[row : row + 1], name, parameter.is_complex())[0]
                    parameter.grad = self.weight(self.gradients[row : row + 1], name, parameter.is_complex())[0]
        self._random = [_random_state(self.block.device)] * len(models)

    def outputs(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            return torch.stack([model(own) for model, own in zip(self.models, x, strict=True)])

    def learn(self, x: Tensor, loss: Loss) -> Tensor:
        self.gradients.zero_()
        losses = []
        for row, model in enumerate(self.models):
            _set_random_state(self._random[row], self.block.device)  # each draws its dropout as if it were alone
            value = loss(model(x[row]), row)
            value.backward()  # type: ignore[no-untyped-call]
            losses.append(value.detach())
            self._random[row] = _random_state(self.block.device)
        return torch.stack(losses)

    def seed(self, seeds: Sequence[int]) -> None:
        device = self.block.device
        self._random = [torch.Generator(device).manual_seed(seed).get_state() for seed in seeds]

    def random(self, row: int) -> Tensor | None:
        return self._random[row].clone()

    def set_random(self, row: int, state: Tensor | None) -> None:
        if state is not None:
            self._random[row] = state.clone()

    def fixed(self, row: int) -> dict[str, Tensor]:
        return {name: value.detach().cpu().clone() for name, value in _fixed(self.models[row])}

    @torch.no_grad()
    def set_fixed(self, row: int, values: Mapping[str, Tensor]) -> None:
        for name, value in values.items():
            holder, _, own = name.rpartition(".")
            part = self.models[row].get_submodule(holder)
            tensor: Tensor = getattr(part, own)
            if (tensor.shape, tensor.dtype) == (value.shape, value.dtype):
                tensor.copy_(value)
            else:  # a forward has put another one there
                setattr(part, own, value.to(self.block.device, copy=True))


def _places(model: nn.Module) -> Iterator[tuple[str, torch.Size, int]]:
    """Each trained weight with its shape, and how many real numbers it is."""
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            yield name, parameter.shape, parameter.numel() * (2 if parameter.is_complex() else 1)


def _fixed(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """What the model uses and does not train."""
    yield from ((name, parameter.detach()) for name, parameter in model.named_parameters() if not parameter.requires_grad)
    yield from model.named_buffers()


def _padded(numbers: int) -> int:
    return numbers + -numbers % ALIGNED


def _random_state(device: torch.device) -> Tensor:
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()


def _set_random_state(state: Tensor, device: torch.device) -> None:
    torch.cuda.set_rng_state(state, device) if device.type == "cuda" else torch.set_rng_state(state)
