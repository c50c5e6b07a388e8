"""Derives, from the trace of a step, what depends on its state and what does not, and the step's own vector-Jacobian product.

A step (y_t, s_t) = f(w, x_t, s_{t−1}) is parted into

    c        = once(w)                                 no step, no sample
    u_t      = before(c, x_t)                          all steps at once
    v_t, s_t = recur(c, u_t, s_{t−1})                  one step after another
    y_t      = after(c, u_t, v_t)                      all steps at once

and the way back through the recurrence into

    ∂u_t, ∂s_{t−1}, k_t = back(…, ∂v_t, ∂s_t)          one step after another
    ∂c                  = gather(…, k_1 … k_T)         all steps at once: the gradient of a weight is one product

A piece that takes all steps at once takes them as more samples, since a step does the same to each sample, whatever its time.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx
from torch._decomp import get_decompositions
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.fx.experimental.symbolic_shapes import DimDynamic, ShapeEnv, StatelessSymbolicContext
from torch.utils import _pytree as pytree

from .parting import base_of, crossing, is_view, part, split_products
from .tracing import OUTSIDE, Capture, Untraceable, ancestors, aten, cut, is_size, leaves, placeholders, results, rows, value_of

TRACED = 5
"""Samples in the batch that a step is traced with; the trace holds for any number."""

Source = tuple[str, int]
"""Where a piece finds an argument: a kind of value, and which one of that kind."""


@dataclass(frozen=True)
class Piece:
    """A part of a step as a function of tensors: no dimension of members, any number of samples.

    takes: its arguments by kind (weight, constant, x, input, state, passed, kept, passed_grad, state_grad, stored) and place
    """

    graph: fx.GraphModule
    takes: tuple[Source, ...]


@dataclass(frozen=True)
class Derived:
    """A step in pieces.

    once -> constants; before -> inputs u; recur -> passed values v and states; after -> y
    record -> passed values, states and what is kept for the way back
    back -> gradients of the inputs in `fed`, of the states in `carried`, of the constants in `summed` (one part a step), and what is
        stored for `gather`
    gather -> gradients of the constants in `gathered`, all steps at once
    """

    once: Piece
    before: Piece
    recur: Piece
    after: Piece
    record: Piece
    back: Piece
    gather: Piece
    constants: int
    inputs: int
    states: int
    passed: int
    kept: int
    fed: tuple[int, ...]
    carried: tuple[int, ...]
    summed: tuple[int, ...]
    gathered: tuple[int, ...]
    stored: int


class Fakes:
    """Stand-ins without numbers that all have the same batch."""

    def __init__(self, device: torch.device) -> None:
        with FakeTensorMode(shape_env=ShapeEnv()) as self.mode:
            pass
        dynamic = StatelessSymbolicContext(dynamic_sizes=[DimDynamic.DYNAMIC])  # type: ignore[var-annotated]
        self.batch = self.mode.from_tensor(torch.empty(TRACED), symbolic_context=dynamic).shape[0]
        self._device = device

    def single(self, tensor: Tensor) -> Tensor:
        """One of the shape of a weight."""
        with self.mode:
            return torch.empty(tensor.shape, dtype=tensor.dtype, device=self._device)

    def sampled(self, tensor: Tensor) -> Tensor:
        """One whose first dimension is the batch."""
        with self.mode:
            return torch.empty((self.batch, *tensor.shape[1:]), dtype=tensor.dtype, device=self._device)

    def traced(self, function: Callable[..., Any], arguments: Sequence[Tensor]) -> fx.Graph:
        """The graph of a function of stand-ins.

        Raises Untraceable where it asks how large the batch is, or does what no graph can hold.
        """
        try:
            with self.mode:
                graph: fx.Graph = make_fx(function, decomposition_table=DECOMPOSED)(*arguments).graph  # type: ignore[arg-type]
        except Exception as error:
            raise error if isinstance(error, Untraceable) else Untraceable(_why_untraceable(error)) from error
        if self.mode.shape_env is not None and self.mode.shape_env.guards:
            raise Untraceable(
                "does one thing for some sizes of a batch and another for others (x_t.shape[0] asks nothing, but len(x_t) does)"
            )
        return graph


ON_VALUES = "asks for a value that only running it would tell: an `if` on a tensor, .item(), a mask as an index"


def _why_untraceable(error: Exception) -> str:
    """In the words of this module where it is a known one, else what torch said, in a line."""
    name, message = type(error).__name__, " ".join(str(error).split())
    if name in ("GuardOnDataDependentSymNode", "DataDependentOutputException", "DynamicOutputShapeException"):
        return ON_VALUES
    if "convert all Tensors to FakeTensors" in message:
        return f"uses a tensor that is {OUTSIDE}"
    return f"cannot be traced: {name}: {textwrap.shorten(message, 200, placeholder=' …')}"


UNWRITTEN = ("empty", "empty_like", "empty_permuted", "empty_strided", "new_empty", "new_empty_strided")
"""Operations of torch that give memory as it happens to be."""


def _check(graph: fx.Graph) -> None:
    """Raises Untraceable for a step that does what its pieces could not."""
    for node in graph.nodes:
        if node.op == "get_attr":
            raise Untraceable(f"uses a tensor that is {OUTSIDE}")
        if not isinstance(node.target, torch._ops.OpOverload):
            continue
        name, tags = node.target.overloadpacket.__name__, node.target.tags
        if torch.Tag.nondeterministic_seeded in tags:
            raise Untraceable(f"draws random numbers ({name.strip('_')})")
        if node.target._schema.is_mutable:
            raise Untraceable(f"writes into a tensor in place ({name}); make a new one")
        if node.target is aten._local_scalar_dense.default or torch.Tag.dynamic_output_shape in tags:
            raise Untraceable(ON_VALUES)


def _without_detach(graph: fx.Graph) -> None:
    """Leave out what stops gradients: nothing goes back through a way back."""
    for node in list(graph.nodes):
        if node.target in (aten.detach.default, aten.alias.default):
            node.replace_all_uses_with(node.args[0])
            graph.erase_node(node)
    graph.eliminate_dead_code()


DECOMPOSED = get_decompositions([aten.native_layer_norm_backward, aten._weight_norm_interface])
"""One that would mix the gradient of a state with that of a weight, and one that torch.vmap would do member by member."""


def trace(capture: Capture, fakes: Fakes, weights: Sequence[Tensor], x_t: Tensor, state: Any) -> fx.Graph:
    """The graph of ``(*w, x_t, *s) -> (y_t, *s')``.

    Raises Untraceable where there is none.
    """
    flat, form = leaves(state)
    count = len(weights)

    def step(*values: Tensor) -> tuple[Tensor, ...]:
        old = list(values[count + 1 :])
        y, new = capture.called(values[:count], values[count], pytree.tree_unflatten(old, form))
        following, now = leaves(new)
        if now != form:
            raise Untraceable("gives a state of another form than it takes")
        if any(a.shape[1:] != b.shape[1:] or a.dtype != b.dtype for a, b in zip(old, following, strict=True)):
            raise Untraceable("gives a state of another shape or type than it takes")
        return (y, *following)

    with torch.no_grad():
        graph = fakes.traced(step, [*map(fakes.single, weights), fakes.sampled(x_t), *map(fakes.sampled, flat)])
    _check(graph)
    if not all(isinstance(node, fx.Node) and rows(value_of(node)) for node in results(graph)):
        raise Untraceable("gives an output or a state that has no row for each sample: the batch must be its first dimension")
    graph.eliminate_dead_code()
    for node in graph.nodes:
        if isinstance(node.target, torch._ops.OpOverload) and node.target.overloadpacket.__name__ in UNWRITTEN:
            raise Untraceable(f"uses memory that nothing was written into ({node.target.overloadpacket.__name__})")
    return graph


def derive(capture: Capture, weights: Sequence[Tensor], x_t: Tensor, state: Any) -> Derived:
    """The pieces of a step; `weights` are what `capture` lists, x_t ``(B, D)``.

    Raises Untraceable where the step cannot be parted.
    """
    fakes = Fakes(x_t.device)
    graph = trace(capture, fakes, weights, x_t, state)
    inputs = placeholders(graph)
    for index, node in enumerate(inputs):
        node.meta["kind"] = "weight" if index < len(weights) else "x" if index == len(weights) else "state"
    split_products(graph)
    for order, node in enumerate(graph.nodes):
        node.meta["order"] = order
    parts = part(graph)
    y, *following = results(graph)
    late = parts.recur | parts.after
    constants = crossing(parts.once, late | parts.before, [y, *following], sink=False)
    u = crossing(parts.before, late, [y, *following])
    v = crossing(parts.recur - set(inputs), parts.after, [y])
    states = inputs[len(weights) + 1 :]
    v = [*v, *(node for node in states if any(node in user.all_input_nodes for user in parts.after) or node is y)]
    kinds = {"weight": inputs[: len(weights)], "x": inputs[len(weights) : len(weights) + 1], "constant": constants, "input": u}
    kinds |= {"state": states, "passed": v}
    of = {kind: {node: (kind, place) for place, node in enumerate(nodes)} for kind, nodes in kinds.items()}
    recur = piece(graph, {**of["constant"], **of["input"], **of["state"]}, [*v, *following])
    learned = [_learned(node, inputs[: len(weights)], weights) for node in constants]
    return Derived(
        once=piece(graph, of["weight"], constants),
        before=piece(graph, {**of["constant"], **of["x"]}, u),
        recur=recur,
        after=piece(graph, {**of["constant"], **of["input"], **of["passed"]}, [y]),
        constants=len(constants),
        inputs=len(u),
        states=len(states),
        passed=len(v),
        **_ways(fakes, recur, len(v), learned),
    )


def _learned(constant: fx.Node, nodes: Sequence[fx.Node], weights: Sequence[Tensor]) -> bool:
    """Whether a constant rests on a weight that is trained."""
    behind = ancestors([constant])
    return any(node in behind and weight.requires_grad for node, weight in zip(nodes, weights, strict=True))


def piece(graph: fx.Graph, sources: Mapping[fx.Node, Source], outputs: Sequence[Any]) -> Piece:
    """What makes the outputs from those of the sources that they need."""
    needed = ancestors(outputs, stop=sources)
    takes = [node for node in sources if node in needed]
    return Piece(cut(graph, takes, outputs), tuple(sources[node] for node in takes))


def _ways(fakes: Fakes, recur: Piece, passed: int, learned: Sequence[bool]) -> dict[str, Any]:
    """The way forward that keeps what the way back needs, and the way back."""
    nodes = placeholders(recur.graph.graph)
    arguments = [value_of(node) for node in nodes]
    wanted = [
        index
        for index, (kind, place) in enumerate(recur.takes)
        if has_gradient(arguments[index]) and (kind != "constant" or learned[place])
    ]
    outputs = [value_of(node) for node in results(recur.graph.graph)]
    smooth = [index for index, output in enumerate(outputs) if has_gradient(output)]

    def joint(*values: Tensor) -> tuple[Any, ...]:
        own, tangents = list(values[: len(nodes)]), values[len(nodes) :]

        def forward(*changed: Tensor) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
            for index, value in zip(wanted, changed, strict=True):
                own[index] = value
            answer: tuple[Tensor, ...] = recur.graph(*own)
            return tuple(answer[index] for index in smooth), answer

        _, back, answer = torch.func.vjp(forward, *(own[index] for index in wanted), has_aux=True)  # type: ignore[misc]
        return (*answer, *back(tuple(tangents)))

    graph = fakes.traced(joint, [*arguments, *(fakes.sampled(outputs[index]) for index in smooth)])
    _without_detach(graph)
    for order, node in enumerate(graph.nodes):
        node.meta["order"] = order
    every = placeholders(graph)
    primal = dict(zip(every[: len(nodes)], recur.takes, strict=True))
    grads = every[len(nodes) :]
    tangents: dict[fx.Node, Source] = {
        node: ("passed_grad", index) if index < passed else ("state_grad", index - passed)
        for index, node in zip(smooth, grads, strict=True)
    }
    made = results(graph)
    gradients = {recur.takes[index]: node for index, node in zip(wanted, made[len(outputs) :], strict=True)}
    return _back_and_gather(graph, primal, tangents, made[: len(outputs)], gradients)


def has_gradient(tensor: Tensor) -> bool:
    return tensor.is_floating_point() or tensor.is_complex()


def _back_and_gather(
    graph: fx.Graph,
    primal: dict[fx.Node, Source],
    tangents: dict[fx.Node, Source],
    outputs: list[Any],
    gradients: dict[Source, Any],
) -> dict[str, Any]:
    """Part the joint graph of a step and its vector-Jacobian product."""
    constant = {node for node, (kind, _) in primal.items() if kind == "constant"}
    backward: set[fx.Node] = set()
    fixed: set[fx.Node] = set(constant)
    for node in graph.nodes:
        if node.op == "output" or is_size(node):
            continue
        inputs = [other for other in node.all_input_nodes if not is_size(other)]
        if node in tangents or any(other in backward for other in inputs):
            backward.add(node)
        elif node.op != "placeholder" and inputs and all(other in fixed for other in inputs):
            fixed.add(node)
    forward = {node for node in graph.nodes if node.op != "output" and node not in backward and node not in fixed and not is_size(node)}
    kept = [node for node in crossing(forward, backward, gradients.values()) if node not in primal]
    sources: dict[fx.Node, Source] = {**primal, **{node: ("kept", index) for index, node in enumerate(kept)}, **tangents}
    of_inputs, of_states = _of_kind(gradients, "input"), _of_kind(gradients, "state")
    of_constants = _of_kind(gradients, "constant")
    products = {source: node for source, node in of_constants.items() if _is_product(node)}
    others = [node for source, node in of_constants.items() if source not in products]
    apart = _apart(graph, backward, products.values(), ancestors([*of_inputs.values(), *of_states.values(), *others]), fixed)
    gathered = [source for source, node in products.items() if node in apart]
    summed = [source for source in of_constants if source not in gathered]
    used = crossing(backward - apart, apart, [])
    onward = {node: ("input_grad", index) for (_, index), node in of_inputs.items()}
    stored = [node for node in used if node not in tangents and node not in onward]
    late = {**sources, **onward, **{node: ("stored", index) for index, node in enumerate(stored)}}
    return {
        "record": piece(graph, primal, [*outputs, *kept]),
        "back": piece(graph, sources, [*of_inputs.values(), *of_states.values(), *(gradients[source] for source in summed), *stored]),
        "gather": piece(graph, late, [gradients[source] for source in gathered]),
        "kept": len(kept),
        "fed": tuple(place for _, place in of_inputs),
        "carried": tuple(place for _, place in of_states),
        "summed": tuple(place for _, place in summed),
        "gathered": tuple(place for _, place in gathered),
        "stored": len(stored),
    }


def _of_kind(gradients: dict[Source, Any], kind: str) -> dict[Source, Any]:
    return {source: node for source, node in gradients.items() if source[0] == kind}


PRODUCTS = (aten.mm.default, aten.bmm.default)


def _is_product(node: fx.Node) -> bool:
    """Whether a gradient is a product of matrices, or a sum of such, seen in whatever shape."""
    if node.target is aten.add.Tensor:
        return all(isinstance(term, fx.Node) and _is_product(term) for term in node.args)
    if is_view(node):
        return _is_product(node.all_input_nodes[0])
    return node.target in PRODUCTS


def _apart(graph: fx.Graph, backward: set[fx.Node], products: Iterable[fx.Node], loop: set[fx.Node], fixed: set[fx.Node]) -> set[fx.Node]:
    """The part of the way back that only these products need, and that can be done for all steps at once."""
    everything, wanted = set(graph.nodes), ancestors(products) & backward
    apart: set[fx.Node] = set()
    for node in graph.nodes:
        if node not in wanted or node in loop or node.op != "call_function":
            continue
        outside = [other for other in node.all_input_nodes if other not in apart and other not in fixed and not is_size(other)]
        if all(rows(value_of(base_of(other, everything))) for other in outside):  # it can be stored, or seen again in what is stored
            apart.add(node)
    return apart
