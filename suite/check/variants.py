"""Checks variants: shapes, causality, independence of rows, repeatability, gradients, parameters, twins, and that they learn."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.gradcheck import GradcheckError

from ..measures.resumption import departure
from ..measures.soundness import looking_ahead, mixing_rows, noise
from ..ops.engines import COMPILED, DERIVED, REFERENCE, Engine
from ..ops.scan import observed, scan
from ..registry.guard import TORCH_RANDOM_STATE
from ..spec import Variant
from ..training import model
from .contract import Failed, Skipped, Subject, check, check_options, require
from .probe import (
    answer,
    backward,
    build,
    build_repeatable,
    copied,
    draws,
    engines,
    forward,
    forward_seeded,
    leaves,
    numbers,
    relative,
    shape_task,
    stir,
)
from .surroundings import shuffle_global_generators, unchanged_surroundings
from .training import improves
from .twins import compare_twins

SIZES = ((1, 1, 1, 1), (7, 1, 7, 1), (1, 7, 1, 7), (2, 3, 64, 7), (3, 2, 5, 64))  # B, T, D, H


@check("Give one output a step and a sample: forward takes (B, T, D) and returns (B, T, O), for any B, T, D and H from 1.", first=True)
def shapes(subject: Subject[Variant]) -> None:
    """It builds at odd sizes, and y is (B, T, O) and finite, for one sample and for one step too."""
    for engine, name in engines(subject):
        for B, T, D, H in SIZES:
            core, size = build(subject, D, H, torch.float32), f"B={B}, T={T}, D={D}, H={H}"
            O = model.output_size(subject.noun, build(subject, D, H, torch.float32), D)  # noqa: E741
            y = forward(subject, core, noise(B, T, D, dtype=torch.float32), engine)
            require(isinstance(y, Tensor), f"{name} returned {type(y).__name__}, not a tensor")
            require(y.shape == (B, T, O), f"{name} gave {tuple(y.shape)} and not {(B, T, O)} at {size}")
            require(y.isfinite().all(), f"{name} gave NaN or infinity at {size}")


@check("Make new tensors from x (x.new_zeros(…)), and convert nothing to a fixed dtype.", first=True)
def dtypes(subject: Subject[Variant]) -> None:
    """The output has the dtype of input and weights, float32 and float64 alike."""
    for engine, name in engines(subject):
        for dtype in (torch.float32, torch.float64):
            y = forward(subject, build(subject, 3, 5, dtype), noise(2, 4, 3, dtype=dtype), engine)
            require(y.dtype == dtype, f"{name} gave {y.dtype} for {dtype}")


@check("Work on a copy (x.clone()), or use operations without a trailing underscore: others read the same batch.", first=True)
def input(subject: Subject[Variant]) -> None:  # noqa: A001
    """The input is the same to the bit after forward and backward."""
    for engine, name in engines(subject):
        core, x = build(subject, 3, 5), noise(2, 5, 3)
        kept = x.clone()
        backward(forward(subject, core, x, engine))
        require(torch.equal(x, kept), f"{name} writes into x")


@check(
    "Draw with torch's generator alone: weights in build, which is seeded for it, and dropout and its like in training mode alone "
    "(self.training); use no clock, id or set order.",
    first=True,
)
def determinism(subject: Subject[Variant]) -> None:
    """The same seed gives the same weights, outputs and gradients to the bit, another seed other weights; evaluation draws nothing."""
    for engine, name in engines(subject):
        first, second = (_trained(subject, engine, shuffle) for shuffle in (1, 2))
        changed = [key for key in first if not torch.equal(first[key], second[key])]
        require(not changed, f"{name}: two runs from one seed differ in {', '.join(changed)}")
        evaluated, again = (_evaluated(subject, engine, shuffle) for shuffle in (1, 2))
        require(torch.equal(evaluated, again), f"{name} draws at random in evaluation mode")
    weights, others = (dict(build(subject, 3, 5, seed=seed).named_parameters()) for seed in (0, 1))
    differ = not weights or any(not torch.equal(weights[key], others[key]) for key in weights)
    require(differ, "two seeds give the same weights: seeds could not be told apart")


def _trained(subject: Subject[Variant], engine: Engine, shuffle: int) -> dict[str, Tensor]:
    """Weights, output and gradients of a module built anew, by name; dropout draws from a seeded generator, as in a trial."""
    shuffle_global_generators(shuffle)
    core, x = build(subject, 3, 5, torch.float32), noise(4, 9, 3, dtype=torch.float32).requires_grad_()
    weights = copied(core)
    y = forward_seeded(subject, core, x, engine)
    backward(y)
    gradients = {"x": x.grad, **{key: parameter.grad for key, parameter in core.named_parameters()}}
    return {**weights, "y": y, **{f"the gradient of {key}": value for key, value in gradients.items() if value is not None}}


@torch.no_grad()
def _evaluated(subject: Subject[Variant], engine: Engine, shuffle: int) -> Tensor:
    """Output in evaluation mode, from global generators that are seeded apart."""
    core = build(subject, 3, 5, torch.float32).eval()
    shuffle_global_generators(shuffle)
    return forward(subject, core, noise(4, 9, 3, dtype=torch.float32), engine)


@check("Begin every forward from a fresh state: keep no tensor on self, and change no buffer or weight in forward.", first=True)
def state(subject: Subject[Variant]) -> None:
    """A call leaves nothing behind for the next: no hidden state, no changed buffer."""
    for engine, name in engines(subject):
        core, x = build(subject, 3, 5), noise(3, 6, 3)
        before = copied(core)
        y = forward_seeded(subject, core, x, engine)
        backward(y)
        for other in (x, noise(3, 6, 3, seed=2), noise(2, 4, 3, seed=3)):
            forward(subject, core, other, engine)
            again = forward_seeded(subject, core, x, engine)
            require(torch.equal(again, y), f"{name} gives another y for the same x after other calls")
        changed = [key for key, value in core.state_dict().items() if not torch.equal(value, before[key])]
        require(not changed, f"{name} changes {', '.join(changed)}")


@check("Put options behind a `*` in build, each with a default and one of the types bool, int, float, str or Literal.")
def options(subject: Subject[Variant]) -> None:
    """Every option can be named in a plan: it is keyword-only and has a default and a plain type."""
    check_options(subject.noun.build, positional=2)


@check(
    "Leave the global generators, the default dtype, the thread count and the like alone; dropout and its like may draw from torch's "
    "generator in training mode, and all else from a torch.Generator of your own."
)
def surroundings(subject: Subject[Variant]) -> None:
    """Building, forward and backward change nothing that is shared with other plugins; in training mode dropout may draw."""
    with unchanged_surroundings("build"):
        core = build(subject, 3, 5)
    x, apart = noise(2, 5, 3), {TORCH_RANDOM_STATE} if draws(subject) else set()
    for engine, name in engines(subject):
        with unchanged_surroundings(name, apart):
            y = forward(subject, core, x, engine)
        with unchanged_surroundings(f"the backward pass of {name}", apart):
            backward(y)
    core.eval()
    for engine, name in engines(subject):
        with unchanged_surroundings(name):
            forward(subject, core, x, engine)


@check("Make new tensors on x's device (x.new_zeros(…)), and register constants with register_buffer.")
def device(subject: Subject[Variant]) -> None:
    """The module follows its weights to another device: CUDA where there is one, else torch's meta device."""
    there = "cuda" if torch.cuda.is_available() else "meta"
    core, x = build(subject, 3, 5, torch.float32), noise(2, 4, 3, dtype=torch.float32)
    try:
        y = forward(subject, core.to(there), x.to(there))
    except NotImplementedError as error:
        raise Skipped(f"it does what torch's meta device cannot: {str(error).splitlines()[0]}") from None
    require(y.device.type == there, f"y is on {y.device.type} while x and the weights are on {there}")


@check("Let y at step t read x up to t alone, or declare causal=False; a variant that looks ahead is never ranked with those that do not.")
def causality(subject: Subject[Variant]) -> None:
    """Later input changes no earlier output where the variant claims to be causal, and does where it claims not to be."""
    causal = subject.noun.is_causal(subject.options)
    for engine, name in engines(subject):
        core = build_repeatable(subject, 3, 4)
        leak = looking_ahead(lambda x, core=core, engine=engine: forward(subject, core, x, engine), 3)  # type: ignore[misc]
        if causal and leak:
            raise Failed(f"claims causal, but {name} {leak}")
        require(bool(causal or leak), f"claims not to be causal, but {name} does not look ahead: claim causal=True and it is ranked")


@check("Use no statistic over the batch; reshape with B kept apart from T and D.")
def batch(subject: Subject[Variant]) -> None:
    """A row alone gives what it gives in a batch, and the order of rows does not matter."""
    for engine, name in engines(subject):
        core = build_repeatable(subject, 3, 4)
        mixed = mixing_rows(lambda x, core=core, engine=engine: forward(subject, core, x, engine), 3)  # type: ignore[misc]
        require(not mixed, f"{name}: {mixed}")


@check("Detach nothing between x and y, and keep the recurrence differentiable from the last step back to the first.")
def gradients(subject: Subject[Variant]) -> None:
    """The gradient of the answer reaches the first step, and every gradient is finite."""
    for engine, name in engines(subject):
        core, x = build_repeatable(subject, 3, 5), noise(4, 7, 3).requires_grad_()
        y = forward(subject, core, x, engine)
        backward(answer(subject, y))
        require(x.grad is not None, f"{name}: no gradient reaches x")
        assert x.grad is not None
        require(x.grad.isfinite().all(), f"{name}: the gradient of x is NaN or infinite")
        for key, parameter in core.named_parameters():
            require(parameter.grad is None or parameter.grad.isfinite().all(), f"{name}: the gradient of {key} is NaN or infinite")
        require(x.grad[:, 0].abs().max() > 0, f"{name}: the answer's gradient is zero at the first step")


@check("Check a hand-written backward pass; a step that has no derivative (rounding, a threshold) cannot be compared fairly here.")
def gradcheck(subject: Subject[Variant]) -> None:
    """Gradients of input and parameters are those of finite differences, in float64."""
    for engine, name in engines(subject):
        core, x = build_repeatable(subject, 2, 3), noise(2, 3, 2).requires_grad_()

        def run(x: Tensor, *_parameters: Tensor, core: nn.Module = core, engine: Engine = engine) -> Tensor:
            return forward(subject, core, x, engine)  # gradcheck moves the parameters in place

        trained = [parameter for parameter in core.parameters() if parameter.requires_grad]
        try:
            torch.autograd.gradcheck(run, (x, *trained))
        except GradcheckError as error:
            raise Failed(f"{name}: {str(error).strip().splitlines()[0]}") from None


@check("Return (B, O) with the features of y, from outputs that have read everything: a backward direction's answer is at its first step.")
def summary(subject: Subject[Variant]) -> None:
    """What one answer a sequence is read from depends on the first and the last step, in both halves where it looks ahead."""
    core, x = build_repeatable(subject, 3, 4), noise(2, 6, 3).requires_grad_()
    y = forward(subject, core, x)
    summarised = answer(subject, y)
    require(summarised.shape == (2, y.shape[2]), f"summary gave {tuple(summarised.shape)} for y {tuple(y.shape)}")
    whole = subject.noun.is_causal(subject.options) or summarised.shape[1] < 2
    halves = (summarised,) if whole else summarised.chunk(2, dim=1)
    for half in halves:
        (gradient,) = torch.autograd.grad(half.square().sum(), x, retain_graph=True)
        for step, name in ((0, "first"), (-1, "last")):
            part = "half of the answer" if len(halves) > 1 else "the answer"
            require(gradient[:, step].abs().max() > 0, f"{part} does not depend on the {name} step")


@check(
    "Register what is trained (nn.Parameter or nn.Module set as an attribute, nn.ParameterList for many) and nothing else; "
    "a budget of parameters is shared fairly only if the count is true."
)
def parameters(subject: Subject[Variant]) -> None:
    """What the module says it trains is what its forward trains, and the count is the one claimed and grows with hidden_size."""
    for engine, name in engines(subject):
        _check_what_is_trained(subject, engine, name)
    for D, H in ((1, 1), (3, 5), (7, 64)):
        counts = {model.count_parameters(build(subject, D, H, seed=seed)) for seed in (0, 1)}
        require(len(counts) == 1, f"the count differs from build to build: {sorted(counts)} at D={D}, H={H}")
        if subject.noun.parameters:
            claim = subject.noun.parameters(D, H, **subject.options)
            require(counts == {claim}, f"claims {claim} parameters at D={D}, H={H} and has {counts.pop()}")
    task = shape_task(input_size=3, output_size=2)
    sizes = [model.count_parameters(model.build(subject.noun, subject.options, task, H, REFERENCE.name, 0)) for H in (1, 2, 4, 8, 16)]
    require(sizes == sorted(set(sizes)), f"the count does not grow with hidden_size: {sizes} for H = 1, 2, 4, 8, 16")


def _check_what_is_trained(subject: Subject[Variant], engine: Engine, name: str) -> None:
    """Raises Failed for a weight that is trained and not listed, or listed and used neither in training nor in evaluation mode."""
    core = build(subject, 3, 5)
    identities = {id(parameter) for parameter in core.parameters()}
    listed = {key: parameter for key, parameter in core.named_parameters() if id(parameter) in identities}
    stir(core)
    for mode in (core.train, core.eval):
        mode()
        y = forward(subject, core, noise(4, 7, 3), engine)
        backward(y)
        hidden = [leaf for leaf in leaves(y) if not any(leaf is parameter for parameter in listed.values())]
        count, shapes = sum(map(numbers, hidden)), [tuple(leaf.shape) for leaf in hidden]
        require(not hidden, f"{name} trains {count} numbers that parameters() does not list, of shape {shapes}")
    idle = [key for key, weight in listed.items() if weight.requires_grad and (weight.grad is None or not weight.grad.any())]
    require(not idle, f"{name} never uses {', '.join(idle)}, which parameters() counts")


@check("Register every weight and buffer under a fixed name, and override neither state_dict nor its loading in part.")
def state_dict(subject: Subject[Variant]) -> None:
    """Weights written to a file and read into a fresh module give the same outputs, to the bit."""
    written, fresh, x = build_repeatable(subject, 3, 4), build_repeatable(subject, 3, 4, seed=1), noise(2, 5, 3)
    stir(written)
    file = io.BytesIO()
    torch.save(written.state_dict(), file)
    file.seek(0)
    fresh.load_state_dict(torch.load(file, weights_only=True))
    require(torch.equal(forward(subject, written, x), forward(subject, fresh, x)), "a module read from a file gives other outputs")


@check(
    "Let forward depend on weights, buffers and its input alone: count nothing on self, and draw with torch's own generator; "
    "until then, an interrupted training begins anew."
)
def resumption(subject: Subject[Variant]) -> None:
    """A training that goes on from a file in a fresh module ends with the same bits as one that was never interrupted."""
    difference = departure(subject.noun, subject.options, "cuda" if torch.cuda.is_available() else "cpu")
    require(not difference, f"its training {difference}")


@check(
    "Let forward be the steps in order, from the same initial state, with nothing done to their outputs; a method that is no such step "
    "needs another name."
)
def step(subject: Subject[Variant]) -> None:
    """Where there is a step, calling it along time gives what forward gives."""
    core, x = build_repeatable(subject, 3, 4), noise(3, 6, 3)
    function = getattr(core, "step", None)
    if not callable(function):
        raise Skipped("it has no step")
    with observed() as calls:
        y = forward(subject, core, x)
    differences = []
    for initial in [*(state for _step, state in calls), *_zeros(x, y)]:
        try:
            outputs = scan(function, x, initial)
        except Exception:  # not a state that this step takes
            continue
        differences.append(relative(outputs, y) if outputs.shape == y.shape else float("inf"))
    if not differences:
        raise Skipped("its initial state is not known: forward gives none to ops.scan, and neither zeros (B, H) nor a pair of them fit")
    start = "" if calls else " (from zeros, since forward gives ops.scan no initial state)"
    require(
        min(differences) <= 1e-10, f"calling step along time{start} departs from forward by {min(differences):.2g} of its largest output"
    )


def _zeros(x: Tensor, y: Tensor) -> Iterator[Any]:
    """Initial states of the usual kinds: zeros (B, H), and a pair of them."""
    for size in dict.fromkeys((4, y.shape[2])):
        zeros = x.new_zeros(len(x), size)
        yield zeros
        yield zeros, zeros


@check("Compare the two gate by gate: order of gates, biases, and where the reset gate acts; vendor must use the module's own parameters.")
def twin(subject: Subject[Variant]) -> None:
    """Each engine's twin gives the reference's outputs and gradients: to 1e-5 in float32, 1e-10 in float64 (T=50, B=4, H=32)."""
    twins = [(engine, name) for engine, name in engines(subject) if engine is not REFERENCE]
    if not DERIVED.lacks(subject.noun, subject.options):
        twins.append((DERIVED, "the derived twin"))
    if not twins:
        raise Skipped("it has no twin on another engine")
    compare_twins(subject, twins, ((torch.float32, 1e-5), (torch.float64, 1e-10)))


@check("Report it with the step: what is derived from it is right, so torch's compiler makes another thing of it.", long=True)
def compiled(subject: Subject[Variant]) -> None:
    """What is derived from the step gives the reference's outputs and gradients when it is compiled, too (float32, T=50, B=4, H=32)."""
    if reason := COMPILED.lacks(subject.noun, subject.options):
        raise Skipped(reason)
    compare_twins(subject, [(COMPILED, "the compiled engine")], ((torch.float32, 1e-5),))


@check("Compute the step with torch's operations on x_t, the state, weights and buffers alone, and change none of them in place.")
def derived(subject: Subject[Variant]) -> None:
    """Where forward calls ops.scan, an engine is derived from its step, on which a population trains as one program."""
    if reason := DERIVED.lacks(subject.noun, subject.options):
        raise Skipped(reason)


@check("Keep the state bounded over time: gates in (0, 1), saturating or normalised states, no product or sum that grows with T.")
def long_sequence(subject: Subject[Variant]) -> None:
    """Outputs and gradients stay finite over T = 2,000 steps, in float32."""
    survive(subject, 2_000)


@check(
    "Keep the state bounded over time: gates in (0, 1), saturating or normalised states, no product or sum that grows with T.", long=True
)
def very_long_sequence(subject: Subject[Variant]) -> None:
    """Outputs and gradients stay finite over T = 5,000 steps, in float32."""
    survive(subject, 5_000)


def survive(subject: Subject[Variant], steps: int) -> None:
    for engine, name in engines(subject):
        core = build(subject, 3, 16, torch.float32)
        y = forward(subject, core, noise(1, steps, 3, dtype=torch.float32), engine)
        require(y.isfinite().all(), f"{name} gives NaN or infinity within {steps} steps")
        backward(answer(subject, y))
        bad = [key for key, weight in core.named_parameters() if weight.grad is not None and not weight.grad.isfinite().all()]
        require(not bad, f"{name}: the gradient of {', '.join(bad)} is NaN or infinite after {steps} steps")


@check("See that gradients have the right sign and that the initial weights neither saturate nor silence the state.")
def learns(subject: Subject[Variant]) -> None:
    """Its own weights (the readout is frozen) learn a sum over eight steps: the loss halves within 5 s."""
    improves(subject, steps=8, remember=False, updates=300, seconds=5.0)


@check("See that the state can be kept over twenty steps: a forget gate open at first, an orthogonal recurrence, a skip.", long=True)
def remembers(subject: Subject[Variant]) -> None:
    """Its own weights learn to tell the first of twenty steps: the loss halves within 60 s."""
    improves(subject, steps=20, remember=True, updates=3_000, seconds=60.0)
