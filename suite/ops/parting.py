"""Parts the graph of a step by when each value can be computed."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx

from .tracing import ancestors, aten, batched, is_size, results, rows, value_of


def split_products(graph: fx.Graph) -> None:
    """Write each product with a concatenation, [a b] W, as the sum of products a W_a + b W_b, so that one part need not wait for another."""
    for node in list(graph.nodes):
        if node.target not in (aten.mm.default, aten.addmm.default):
            continue
        *bias, joined, weight = node.args
        if node.kwargs or joined.target is not aten.cat.default or tuple(joined.args[1:]) not in ((1,), (-1,)):
            continue
        with graph.inserting_before(node):
            _replace_product(graph, node, bias, joined.args[0], weight)
    graph.eliminate_dead_code()


def _replace_product(graph: fx.Graph, node: fx.Node, bias: list[fx.Node], parts: Sequence[fx.Node], weight: fx.Node) -> None:
    start, terms = 0, []
    for part in parts:
        width = value_of(part).shape[1]
        rows_of = _called(graph, aten.slice.Tensor, weight, 0, start, start + width)
        terms.append((part, _called(graph, aten.mm.default, part, rows_of)))
        start += width
    terms.sort(key=lambda term: _depends(term[0], "state"))  # what waits for no state is added up first
    total = terms[0][1]
    if bias:
        total = _called(graph, aten.add.Tensor, total, bias[0])
    for _, term in terms[1:]:
        total = _called(graph, aten.add.Tensor, total, term)
    node.replace_all_uses_with(total)


def _called(graph: fx.Graph, target: Any, *arguments: Any) -> fx.Node:
    """A new call in the graph, with its value worked out."""
    node = graph.call_function(target, arguments)
    values = [value_of(argument) if isinstance(argument, fx.Node) else argument for argument in arguments]
    fake = next(value for value in values if isinstance(value, Tensor))
    with fake.fake_mode:  # type: ignore[attr-defined]
        node.meta["val"] = target(*values)
    return node


def _depends(node: fx.Node, kind: str) -> bool:
    return any(other.meta.get("kind") == kind for other in ancestors([node]))


def _passable(node: fx.Node) -> bool:
    """Whether a value, or each of several, has one row a sample, so that all steps at once are no more than many samples."""
    value = value_of(node)
    return all(map(rows, value)) if isinstance(value, (tuple, list)) else rows(value)


def is_view(node: fx.Node) -> bool:
    target = node.target
    return target is operator.getitem or (isinstance(target, torch._ops.OpOverload) and target.is_view)


@dataclass(frozen=True)
class Parts:
    """The nodes of a step by when they can be computed."""

    once: set[fx.Node]
    before: set[fx.Node]
    recur: set[fx.Node]
    after: set[fx.Node]


def part(graph: fx.Graph) -> Parts:
    """Say of each value when it can be computed: once, for all steps before, one step after another, or for all steps after."""
    once: set[fx.Node] = set()
    before: set[fx.Node] = set()
    late: list[fx.Node] = []
    for node in graph.nodes:
        if node.op == "output" or is_size(node):
            continue
        kind = node.meta.get("kind")
        inputs = [other for other in node.all_input_nodes if not is_size(other)]
        if kind == "weight" or (kind is None and all(other in once for other in inputs) and not batched_any(node)):
            once.add(node)
        elif kind == "x" or (kind is None and all(other in once or other in before for other in inputs) and _passable(node)):
            before.add(node)
        else:
            late.append(node)
    following = results(graph)[1:]
    needed = ancestors(following)
    recur = {node for node in late if node in needed or node.meta.get("kind") == "state"}
    after: set[fx.Node] = set()
    for node in late:
        if node in recur:
            continue
        stays = _passable(node) and all(_passable(other) for other in node.all_input_nodes if other in recur)
        (after if stays else recur).add(node)
    return Parts(once, before, recur, after)


def batched_any(node: fx.Node) -> bool:
    value = value_of(node)
    return any(map(batched, value)) if isinstance(value, (tuple, list)) else batched(value)


def crossing(nodes: set[fx.Node], into: Iterable[fx.Node], ends: Iterable[Any], *, sink: bool = True) -> list[fx.Node]:
    """The values among `nodes` that `into` and `ends` use, in order; where `sink`, a view's base instead of the view."""
    used = [other for node in into for other in node.all_input_nodes] + [node for node in ends if isinstance(node, fx.Node)]
    bases = dict.fromkeys(base_of(node, nodes) if sink else node for node in used if node in nodes)
    return sorted(bases, key=_order)


def _order(node: fx.Node) -> int:
    return int(node.meta["order"])


def base_of(node: fx.Node, nodes: set[fx.Node]) -> fx.Node:
    """What a view is a view of, as long as that is a tensor among the nodes, computed there, with one row a sample."""
    best = node
    while is_view(node):
        node = node.all_input_nodes[0]
        if node not in nodes:
            break
        if rows(value_of(node)):
            best = node
    return best
