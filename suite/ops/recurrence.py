"""Runs scans by what is derived from their steps, for all members of a population at once."""

from __future__ import annotations

import textwrap
import time
import warnings
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd.function import once_differentiable
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils import _pytree as pytree

from ..errors import SuiteError
from .derive import Derived, Piece, derive
from .scan import piece_length
from .tracing import Capture, Untraceable, capture, leaves

Call = Callable[..., Sequence[Tensor]]

REMEMBERED = 512
"""So many steps, and so many pieces for given shapes, are remembered."""


def arguments(piece: Piece, values: Mapping[str, Any]) -> list[Tensor]:
    """What a piece takes, from tensors by kind and place."""
    return [values[kind][place] for kind, place in piece.takes]


def members(piece: Piece, values: Mapping[str, Any], count: int) -> tuple[Tensor, ...]:
    """A piece's answer for so many members, which are the first dimension of each value."""

    def member(_: Tensor, *own: Tensor) -> tuple[Tensor, ...]:
        answer: tuple[Tensor, ...] = piece.graph(*own)
        return answer

    return torch.vmap(member)(torch.empty(count), *arguments(piece, values))


class Program:
    """A derived step, ready to run along time.

    specialise: makes a plain function of a piece, for members and samples as many as the tensors it is shown have
    """

    def __init__(self, derived: Derived, specialise: Callable[[Piece, Sequence[Tensor]], Call]) -> None:
        self.derived, self.specialise = derived, specialise

    def run(self, weights: Sequence[Tensor], x: Tensor, states: Sequence[Tensor]) -> Tensor:
        """x ``(P, B, T, D)`` and initial states ``(P, B, …)`` -> y ``(P, B, T, O)``."""
        derived, steps, piece = self.derived, x.shape[2], piece_length()
        constants = members(derived.once, {"weight": weights}, len(x))
        folded = x.transpose(1, 2).flatten(1, 2)  # (P, T·B, D)
        inputs = members(derived.before, {"constant": constants, "x": [folded]}, len(x))
        passed: Sequence[Tensor] = ()
        if derived.passed:
            by_step = [_steps_first(_unfolded(value, steps)) for value in inputs]
            tensors = (*constants, *by_step, *(state.contiguous() for state in states))
            recording = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
            passed = [value.flatten(1, 2) for value in Loop.apply(self, recording, steps, piece, *tensors)]  # type: ignore[no-untyped-call]
        (y,) = members(derived.after, {"constant": constants, "input": inputs, "passed": passed}, len(x))
        return _unfolded(y, steps).transpose(1, 2)


def _unfolded(values: Tensor, steps: int) -> Tensor:  # (P, T·B, …) -> (P, T, B, …)
    return values.reshape(len(values), steps, -1, *values.shape[2:])


def _steps_first(values: Tensor) -> Tensor:  # (P, T, B, …) -> (T, P, B, …)
    """Each step in one block of memory, so that what one step looks like does not depend on how many there are."""
    return values.transpose(0, 1).contiguous()


class Loop(torch.autograd.Function):
    """The steps of a recurrence one after another, and the way back through them.

    constants, inputs ``(T, P, B, …)`` and initial states ``(P, B, …)`` -> passed values ``(P, T, B, …)``

    Memory grows as the steps do. With pieces of so many steps, the way there keeps the state that each begins with, and the way back
    does a piece again before it goes through it (Chen et al. 2016, arXiv:1604.06174).
    """

    @staticmethod
    def forward(ctx: Any, program: Program, recording: bool, steps: int, piece: int, *tensors: Tensor) -> tuple[Tensor, ...]:
        derived = program.derived
        constants, inputs, state = _by_kind(derived, tensors)
        by_step = [value.unbind(0) for value in inputs]
        ctx.program, ctx.steps, ctx.piece, ctx.runs, passed = program, steps, piece or steps, [], []
        for start in range(0, steps, ctx.piece):
            own = slice(start, min(start + ctx.piece, steps))
            run = Run(program, recording and not piece, constants, own.stop - start, [value[own] for value in by_step], state)
            passed += run.passed
            state = run.state
            ctx.runs.append(run if not piece else run.begun)
        ctx.save_for_backward(*tensors)
        return tuple(torch.stack(values, dim=1) for values in zip(*passed, strict=True))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        program, derived = ctx.program, ctx.program.derived
        constants, inputs, initial = _by_kind(derived, ctx.saved_tensors)
        by_step, grads_by_step = [value.unbind(0) for value in inputs], [_steps_first(grad).unbind(0) for grad in grads]
        way = Way(program, constants, [torch.zeros_like(state) for state in initial])
        for number, start in reversed(list(enumerate(range(0, ctx.steps, ctx.piece)))):
            own = slice(start, min(start + ctx.piece, ctx.steps))
            run = ctx.runs[number]
            if not isinstance(run, Run):
                run = Run(program, True, constants, own.stop - start, [value[own] for value in by_step], run)
            way.go(run, [grad[own] for grad in grads_by_step], [grad[:, own].flatten(1, 2) for grad in grads])
        of_constants = dict(zip((*derived.summed, *derived.gathered), (*way.summed, *way.gathered), strict=True))
        of_u = {place: _unfolded(way.of_inputs[place], ctx.steps).transpose(0, 1) for place in derived.fed}
        every = (*map(of_constants.get, range(derived.constants)), *map(of_u.get, range(derived.inputs)))
        return (None, None, None, None, *every, *way.state_grads)


class Run:
    """Successive steps of a recurrence, done.

    inputs: of each step; begun: the state before the first step; state: that behind the last; passed: a step
    states, kept: before each step, and what its way back needs, where they are recorded
    """

    def __init__(
        self, program: Program, recording: bool, constants: Any, steps: int, by_step: Sequence[Sequence[Tensor]], state: Any
    ) -> None:
        derived = program.derived
        piece = derived.record if recording else derived.recur
        self.inputs = [[value[step] for value in by_step] for step in range(steps)]
        self.begun, self.state = state, state
        self.passed: list[Sequence[Tensor]] = []
        self.states: list[Sequence[Tensor]] = []
        self.kept: list[Sequence[Tensor]] = []
        call: Call | None = None
        for inputs in self.inputs:
            given = arguments(piece, {"constant": constants, "input": inputs, "state": self.state})
            call = call or program.specialise(piece, given)
            made = call(*given)
            if recording:
                self.states.append(self.state)
                self.kept.append(made[derived.passed + derived.states :])
            self.passed.append(made[: derived.passed])
            self.state = [value.contiguous() for value in made[derived.passed : derived.passed + derived.states]]


class Way:
    """The way back through a recurrence, run by run from the last one, with the gradients that are known so far.

    state_grads: of the state that the next run ends with; summed, gathered: of constants; of_inputs: of each step's
    """

    def __init__(self, program: Program, constants: Sequence[Tensor], state_grads: Sequence[Tensor]) -> None:
        self._program, self._constants, self._zeros = program, constants, state_grads
        self._call: Call | None = None
        self.state_grads = state_grads
        self.summed = [torch.zeros_like(constants[place]) for place in program.derived.summed]
        self.gathered: Sequence[Tensor] = ()
        self.of_inputs = Series()

    def go(self, run: Run, grads_by_step: Sequence[Sequence[Tensor]], grads: Sequence[Tensor]) -> None:
        """Go back through a run, given the gradients of what it passed: one a step, and all of them ``(P, T·B, …)``."""
        derived, constants = self._program.derived, self._constants
        of_inputs, of_states, stored = Series(), Series(), Series()
        for step in reversed(range(len(run.states))):
            values = {
                "constant": constants,
                "input": run.inputs[step],
                "state": run.states[step],
                "kept": run.kept[step],
                "passed_grad": [grad[step] for grad in grads_by_step],
                "state_grad": self.state_grads,
            }
            given = arguments(derived.back, values)
            self._call = self._call or self._program.specialise(derived.back, given)
            made = iter(self._call(*given))
            of_inputs.steps.appendleft({place: next(made) for place in derived.fed})
            of_states.steps.appendleft(self.state_grads)
            carried = {place: next(made).contiguous() for place in derived.carried}
            for total in self.summed:
                total.add_(next(made))
            stored.steps.appendleft(list(made))
            self.state_grads = [carried.get(place, none) for place, none in enumerate(self._zeros)]
        every = {
            "constant": constants,
            "input_grad": of_inputs,
            "input": Series(run.inputs),
            "state": Series(run.states),
            "kept": Series(run.kept),
            "passed_grad": grads,
            "state_grad": of_states,
            "stored": stored,
        }
        gathered = members(derived.gather, every, len(self._zeros[0]))
        self.gathered = [sum_ + more for sum_, more in zip(self.gathered, gathered, strict=True)] if self.gathered else gathered
        self.of_inputs.steps.extendleft(reversed(of_inputs.steps))


def _by_kind(derived: Derived, tensors: Sequence[Tensor]) -> tuple[Sequence[Tensor], Sequence[Tensor], Sequence[Tensor]]:
    """The constants, inputs and states of a loop."""
    behind = derived.constants + derived.inputs
    return tensors[: derived.constants], tensors[derived.constants : behind], tensors[behind:]


class Series:
    """Values of each step, which are stacked as more samples when they are asked for."""

    def __init__(self, steps: Sequence[Sequence[Tensor] | Mapping[int, Tensor]] = ()) -> None:
        self.steps = deque(steps)

    def __getitem__(self, place: int) -> Tensor:  # T of (P, B, …) -> (P, T·B, …)
        return torch.stack([values[place] for values in self.steps], dim=1).flatten(1, 2)


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
    """

    def __init__(self, *, compiled: bool) -> None:
        self.compiled = compiled
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
            _keep(self._programs, key, Program(derive(captured, single, x[0, :, 0], state), self._specialised))
        return self._programs[key]

    def _specialised(self, piece: Piece, given: Sequence[Tensor]) -> Call:
        """The piece for members and samples as many as these tensors have, compiled where that is asked for; each once."""
        forms = tuple((tensor.shape, _strides(tensor), tensor.dtype, tensor.device) for tensor in given)
        key = (piece.graph.code, forms)
        if key not in self._calls:
            start = time.perf_counter()
            module = for_members(piece, given)
            _keep(self._calls, key, compile_piece(module, given) if self.compiled else module.forward)
            self.seconds += time.perf_counter() - start
        return self._calls[key]


def _keep(kept: dict[Any, Any], key: Any, value: Any) -> None:
    """Enter a value; where there are many, the oldest goes."""
    if len(kept) >= REMEMBERED:
        del kept[next(iter(kept))]
    kept[key] = value


def _strides(tensor: Tensor) -> tuple[int, ...]:
    """The strides of those dimensions that are stepped along at all."""
    return tuple(stride if size > 1 else 0 for size, stride in zip(tensor.shape, tensor.stride(), strict=True))


def for_members(piece: Piece, given: Sequence[Tensor]) -> torch.fx.GraphModule:
    """A piece for members as a graph of plain operations on tensors of these shapes."""
    with FakeTensorMode():
        fakes = [torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device=tensor.device) for tensor in given]
    with torch.no_grad():
        return make_fx(torch.vmap(piece.graph))(*fakes)


def compile_piece(module: torch.fx.GraphModule, given: Sequence[Tensor]) -> Call:
    """The graph as machine code, by torch's compiler.

    Raises SuiteError where that fails.
    """
    try:
        return _compiled(module, given)
    except Exception as error:
        raise SuiteError(f'torch could not compile the step ({_cause(error)}); set engine = "derived" in [training]') from error


def _compiled(module: torch.fx.GraphModule, given: Sequence[Tensor]) -> Call:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of torch, about torch
        import torch._inductor  # takes seconds, which only those wait for who compile

        # torch's vectorised tanh takes three times as long as its exp
        call: Call = torch._inductor.compile(module, [tensor.detach() for tensor in given], options={"cpp.use_decompose_tanh": True})
    return call


def _cause(error: Exception) -> str:
    """Why a compiler failed, in a line: what it complains of first, where it is among much else."""
    lines = [line for line in str(error).splitlines() if "error:" in line]
    return textwrap.shorten(f"{type(error).__name__}: {lines[0] if lines else error}", 300, placeholder=" …")


DERIVER = Deriver(compiled=False)
COMPILER = Deriver(compiled=True)
