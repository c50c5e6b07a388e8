"""Runs scans by what is derived from their steps, for all members of a population at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.utils import _pytree as pytree

from ..errors import SuiteError
from .derive import Derived, Piece, derive
from .pieces import FIXED, Call, Ends, form, members, reachable, specialise, unfilled
from .scan import piece_length
from .stepping import Carried, Series, Specialise, Stepping, outputs
from .tracing import Capture, Untraceable, capture, leaves

REMEMBERED = 512
"""So many steps, and so many pieces for given shapes, are remembered."""


class Program:
    """A derived step, ready to run along time.

    placing: whether what is needed of all steps at once is written, as it is made, into one block; else it is stacked in the end
    """

    def __init__(self, derived: Derived, specialise: Specialise, *, placing: bool) -> None:
        self.derived, self.specialise, self.placing = derived, specialise, placing
        needed, passed, kept = set(derived.gather.takes), range(derived.passed), derived.passed + derived.states
        states = [place for place in range(derived.states) if ("state", place) in needed]
        gathered = [*(derived.passed + place for place in states)]
        gathered += [kept + place for place in range(derived.kept) if ("kept", place) in needed]
        behind = range(derived.passed, kept + derived.kept)
        # what is passed on may be changed by who takes it, so that its memory is its own
        self.of_record = outputs(derived.record, (*passed, *gathered), behind, passed, placing=placing)
        # states that are the same after a step may not have been so at the start: one of them has a block with the first state in it
        self.ahead = list({self.of_record.same[derived.passed + place]: place for place in reversed(states)}.values())
        self.of_recur = outputs(derived.recur, passed, (), passed, placing=placing)
        fed, stored = range(len(derived.fed)), len(derived.fed) + len(derived.carried) + len(derived.summed)
        every = (*fed, *range(stored, stored + derived.stored))
        self.of_back = outputs(derived.back, every, (), every, placing=placing)
        self.trailing = any(kind == "state_grad" for kind, _ in needed)

    def run(self, weights: Sequence[Tensor], x: Tensor, states: Sequence[Tensor]) -> Tensor:
        """x ``(P, B, T, D)`` and initial states ``(P, B, …)`` -> y ``(P, B, T, O)``."""
        derived, steps, piece = self.derived, x.shape[2], piece_length()
        with unfilled():
            constants = members(derived.once, {"weight": weights}, len(x))
            folded = x.transpose(1, 2).flatten(1, 2)  # (P, T·B, D)
            inputs = members(derived.before, {"constant": constants, "x": [folded]}, len(x))
            passed: Sequence[Tensor] = ()
            if derived.passed:
                by_step = [_unfolded(value, steps).contiguous() for value in inputs]
                for value in by_step if self.placing else ():
                    reachable(value)
                tensors = (*constants, *by_step, *(state.contiguous() for state in states))
                recording = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
                passed = [value.flatten(1, 2) for value in Loop.apply(self, recording, steps, piece, *tensors)]  # type: ignore[no-untyped-call]
            (y,) = members(derived.after, {"constant": constants, "input": inputs, "passed": passed}, len(x))
        return _unfolded(y, steps).transpose(1, 2)


def _unfolded(values: Tensor, steps: int) -> Tensor:  # (P, T·B, …) -> (P, T, B, …)
    return values.reshape(len(values), steps, -1, *values.shape[2:])


class Loop(torch.autograd.Function):
    """The steps of a recurrence one after another, and the way back through them.

    constants, inputs ``(P, T, B, …)`` and initial states ``(P, B, …)`` -> passed values ``(P, T, B, …)``

    Memory grows as the steps do. With pieces of so many steps, the way there keeps the state that each begins with, and the way back
    does a piece again before it goes through it (Chen et al. 2016, arXiv:1604.06174).
    """

    @staticmethod
    def forward(ctx: Any, program: Program, recording: bool, steps: int, piece: int, *tensors: Tensor) -> tuple[Tensor, ...]:
        constants, inputs, state = _by_kind(program.derived, tensors)
        ctx.program, ctx.steps, ctx.piece, ctx.runs = program, steps, piece or steps, []
        passed: list[list[Tensor]] = []
        for own in _pieces(steps, ctx.piece):
            run = Run(program, recording and not piece, constants, own.stop - own.start, [value[:, own] for value in inputs], state)
            passed.append(run.passed)
            state = run.state
            ctx.runs.append(run.begun if piece else run.record)  # not the run, whose passed values would hold this way back in a circle
        ctx.save_for_backward(*tensors)
        return tuple(values[0] if len(values) == 1 else torch.cat(values, dim=1) for values in zip(*passed, strict=True))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        program, derived = ctx.program, ctx.program.derived
        constants, inputs, initial = _by_kind(derived, ctx.saved_tensors)
        with unfilled():
            way = Way(program, constants, inputs, [torch.zeros_like(state) for state in initial])
            whole = [grad.contiguous() for grad in grads]
            for number, own in reversed(list(enumerate(_pieces(ctx.steps, ctx.piece)))):
                record = ctx.runs[number]
                if not isinstance(record, Record):
                    record = Run(program, True, constants, own.stop - own.start, [value[:, own] for value in inputs], record).record
                way.go(record, own, [grad[:, own] for grad in whole])
        of_constants = dict(zip((*derived.summed, *derived.gathered), (*way.summed, *way.gathered), strict=True))
        of_u = dict(zip(derived.fed, way.of_inputs, strict=True))
        every = (*map(of_constants.get, range(derived.constants)), *map(of_u.get, range(derived.inputs)))
        return (None, None, None, None, *every, *way.state_grads)


def _pieces(steps: int, length: int) -> list[slice]:
    return [slice(start, min(start + length, steps)) for start in range(0, steps, length)]


@dataclass(frozen=True)
class Record:
    """What the way back through successive steps needs of each: its inputs, the states before it, and what was kept for that."""

    inputs: Sequence[Series]
    states: Sequence[Series]
    kept: Sequence[Series]


class Run:
    """Successive steps of a recurrence, done.

    begun: the state before the first step; state: that behind the last; passed ``(P, T, B, …)``; record: empty where nothing is recorded
    """

    def __init__(
        self,
        program: Program,
        recording: bool,
        constants: Sequence[Tensor],
        steps: int,
        inputs: Sequence[Tensor],
        state: Sequence[Tensor],
    ) -> None:
        derived = program.derived
        piece, kept_of = (derived.record, program.of_record) if recording else (derived.recur, program.of_recur)
        self.begun, by_step = state, [Series.of(value) for value in inputs]
        behind = range(derived.passed, derived.passed + derived.states)
        ahead = dict(_with_first(state, steps, program.ahead)) if recording and program.placing else {}
        stepping = Stepping(program.specialise, piece, kept_of, steps, {behind[place]: block[:, 1:] for place, block in ahead.items()})
        first = [ahead[place][:, 0] if place in ahead else value for place, value in enumerate(state)]
        carried = Carried("state", first, dict(enumerate(behind)))
        self.state = stepping.go(range(steps), {"constant": constants, "input": by_step}, carried)
        self.passed = [stepping.series(index).block for index in range(derived.passed)]
        states, kept = [], []
        if recording:
            for place, value in enumerate(first):
                after = stepping.series(behind[place])
                states.append(Series.of(ahead[place][:, :-1]) if place in ahead else Series([value, *after.values[:-1]]))
            kept = [stepping.series(behind.stop + place) for place in range(derived.kept)]
        self.record = Record(by_step, states, kept)


def _with_first(state: Sequence[Tensor], steps: int, places: Sequence[int]) -> Iterator[tuple[int, Tensor]]:
    """Memory for some of the states before the first step and after each ``(P, 1 + T, B, …)``, with the first in it."""
    for place in places:
        first = state[place]
        block = reachable(first.new_empty(first.shape[0], steps + 1, *first.shape[1:]))
        block[:, 0] = first
        yield place, block


class Way:
    """The way back through a recurrence, run by run from the last one, with the gradients that are known so far.

    state_grads: of the state that the next run ends with; summed, gathered: of constants; of_inputs: of the inputs ``(P, T, B, …)``
    """

    def __init__(self, program: Program, constants: Sequence[Tensor], inputs: Sequence[Tensor], state_grads: Sequence[Tensor]) -> None:
        self._program, self._constants, self._zeros = program, constants, state_grads
        self.state_grads = state_grads
        self.summed = [torch.zeros_like(constants[place]) for place in program.derived.summed]
        self.gathered: Sequence[Tensor] = ()
        self.of_inputs = [torch.empty_like(inputs[place]) for place in program.derived.fed]

    def go(self, record: Record, own: slice, grads: Sequence[Tensor]) -> None:
        """Go back through the steps of a record, which are these of all, given the gradients ``(P, T, B, …)`` of what it passed."""
        program, derived, constants = self._program, self._program.derived, self._constants
        steps = own.stop - own.start
        of_inputs = [block[:, own] for block in self.of_inputs]
        stepping = Stepping(program.specialise, derived.back, program.of_back, steps, dict(enumerate(of_inputs)))
        of_passed = [Series.of(grad) for grad in grads]
        known = {"constant": constants, "input": record.inputs, "state": record.states, "kept": record.kept, "passed_grad": of_passed}
        behind = len(derived.fed) + len(derived.carried)
        stored = behind + len(derived.summed)
        carried = Carried("state_grad", self.state_grads, dict(zip(derived.carried, range(len(derived.fed), behind), strict=True)))
        sums = dict(zip(range(behind, stored), self.summed, strict=True))
        self.state_grads = stepping.go(range(steps)[::-1], known, carried, sums, trailing=program.trailing)
        if not program.placing:
            for index, block in enumerate(of_inputs):
                torch.stack(list(stepping.series(index).values), dim=1, out=block)
        self._gather(
            {
                **known,
                "input_grad": dict(zip(derived.fed, map(Series.of, of_inputs), strict=True)),
                "state_grad": [Series(values) for values in zip(*reversed(stepping.before), strict=True)],
                "stored": [stepping.series(stored + place) for place in range(derived.stored)],
            }
        )

    def _gather(self, series: Mapping[str, Any]) -> None:
        """Add to the gradients of constants what comes of all steps of a run."""
        piece = self._program.derived.gather
        values: dict[str, dict[int, Tensor]] = {}
        for kind, place in piece.takes:
            values.setdefault(kind, {})[place] = series[kind][place] if kind in FIXED else series[kind][place].samples
        gathered = members(piece, values, len(self._zeros[0]))
        self.gathered = [sum_ + more for sum_, more in zip(self.gathered, gathered, strict=True)] if self.gathered else gathered


def _by_kind(derived: Derived, tensors: Sequence[Tensor]) -> tuple[Sequence[Tensor], Sequence[Tensor], Sequence[Tensor]]:
    """The constants, inputs and states of a loop."""
    behind = derived.constants + derived.inputs
    return tensors[: derived.constants], tensors[derived.constants : behind], tensors[behind:]


class Batched(torch.autograd.Function):
    """A scan inside ``torch.vmap``: its rule takes the members out, so that the loop sees stacked tensors."""

    @staticmethod
    def forward(*_: Any) -> Tensor:
        raise RuntimeError("a scan of members that are not batched")

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """The rule below has a way back of its own."""

    @staticmethod
    def vmap(info: Any, in_dims: Any, deriver: Deriver, captured: Capture, form: Any, count: int, *tensors: Tensor) -> tuple[Tensor, int]:
        places = in_dims[4:]
        stacked = [
            tensor.unsqueeze(0).expand(info.batch_size, *tensor.shape) if place is None else tensor.movedim(place, 0)
            for tensor, place in zip(tensors, places, strict=True)
        ]
        return deriver.stacked(captured, form, count, stacked), 0


class Deriver:
    """Runs scans by what is derived from their steps, and remembers what it has derived.

    compiled: whether the pieces that run step after step are compiled; seconds: how long compiling has taken so far
    placing: whether they write what is needed of all steps at once into blocks, which only spares time where they are compiled
    """

    def __init__(self, *, compiled: bool, placing: bool | None = None) -> None:
        self.compiled, self.placing = compiled, compiled if placing is None else placing
        self.seconds = 0.0
        self._programs: dict[Any, Program] = {}
        self._calls: dict[Any, Call] = {}

    def scan(self, step: Callable[..., Any], x: Tensor, state: Any) -> Tensor:
        """As ``suite.ops.scan``; inside ``torch.vmap``, whose dimension is that of the members, all of them at once.

        Raises SuiteError where the step cannot be traced.
        """
        try:
            captured = capture(step)
            flat, form = leaves(state)
            if any(not leaf.dim() or len(leaf) != len(x) for leaf in flat):
                raise Untraceable("begins with a state that has no row for each sample: the batch must be its first dimension")
            weights = captured.tensors()
            if any(map(torch._C._functorch.is_batchedtensor, (x, *weights, *flat))):
                batched: Tensor = Batched.apply(self, captured, form, len(weights), *weights, x, *flat)  # type: ignore[no-untyped-call]
                return batched
            return self.stacked(captured, form, len(weights), [tensor.unsqueeze(0) for tensor in (*weights, x, *flat)])[0]
        except Untraceable as error:
            raise SuiteError(f"its step {error}") from error

    def stacked(self, captured: Capture, form: Any, count: int, tensors: Sequence[Tensor]) -> Tensor:
        """The outputs ``(P, B, T, O)`` for stacked weights, inputs ``(P, B, T, D)`` and states ``(P, B, …)``."""
        weights, x, flat = tensors[:count], tensors[count], tensors[count + 1 :]
        return self._program(captured, form, weights, x, flat).run(weights, x, flat)

    def _program(self, captured: Capture, form: Any, weights: Sequence[Tensor], x: Tensor, flat: Sequence[Tensor]) -> Program:
        learned = tuple(weight.requires_grad for weight in weights)
        shapes = tuple((value.shape[2:], value.dtype) for value in (x[:, :, 0], *flat))
        key = (captured.identity, form, shapes, x.device, learned, tuple((weight.shape[1:], weight.dtype) for weight in weights))
        if key not in self._programs:
            single = [weight[0].detach().requires_grad_(wanted) for weight, wanted in zip(weights, learned, strict=True)]
            state = pytree.tree_unflatten([value[0] for value in flat], form)
            _keep(self._programs, key, Program(derive(captured, single, x[0, :, 0], state), self._specialised, placing=self.placing))
        return self._programs[key]

    def _specialised(self, piece: Piece, given: Sequence[Tensor], ends: Ends) -> Call:
        """The piece for members and samples as many as these tensors have, compiled where that is asked for; each once."""
        key = (piece.graph.code, form(piece, given), ends)
        if key not in self._calls:
            start = time.perf_counter()
            _keep(self._calls, key, specialise(piece, given, ends, compiled=self.compiled))
            self.seconds += time.perf_counter() - start
        return self._calls[key]


def _keep(kept: dict[Any, Any], key: Any, value: Any) -> None:
    """Enter a value; where there are many, the oldest goes."""
    if len(kept) >= REMEMBERED:
        del kept[next(iter(kept))]
    kept[key] = value


DERIVER = Deriver(compiled=False)
COMPILER = Deriver(compiled=True)
PLACER = Deriver(compiled=False, placing=True)
"""Does what the compiler's code does, so that it can be tried without waiting for the compiler."""
