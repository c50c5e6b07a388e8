"""Traces a step of a recurrence as a graph, and cuts pieces out of such graphs."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from types import CellType
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils import _pytree as pytree

aten = torch.ops.aten

OUTSIDE = "neither a weight nor a buffer of its module; make it a buffer, a parameter, a part of x or of the state"


class Untraceable(Exception):
    """A step that no graph can stand for; the message says why, after the words ``its step``."""


@dataclass(frozen=True)
class Capture:
    """A step with the modules whose weights and buffers it uses.

    identity: equal for two steps that do the same with modules of the same form, as these are now
    """

    step: Callable[..., Any]
    modules: tuple[nn.Module, ...]
    identity: tuple[Any, ...]

    def named(self) -> Iterator[tuple[str, Tensor]]:
        """The weights and buffers with their names in a ``_Caller``; one that goes by several names comes with each."""
        for index, module in enumerate(self.modules):
            for kind in (module.named_parameters, module.named_buffers):
                yield from ((f"modules_used.{index}.{name}", tensor) for name, tensor in kind(remove_duplicate=False))

    def tensors(self) -> list[Tensor]:
        """The weights and buffers that the step uses now, each once, in a fixed order."""
        return list({id(tensor): tensor for _, tensor in self.named()}.values())

    def called(self, tensors: Sequence[Tensor], x_t: Tensor, state: Any) -> tuple[Tensor, Any]:
        """The step's answer where these tensors stand for its weights and buffers.

        Raises Untraceable for a step that writes on its modules.
        """
        stand_ins = {id(own): other for own, other in zip(self.tensors(), tensors, strict=True)}
        names = {name: stand_ins[id(own)] for name, own in self.named()}
        parts = [part for module in self.modules for part in module.modules()]
        attributes = [dict(vars(part)) for part in parts]
        try:
            answer: tuple[Tensor, Any] = torch.func.functional_call(_Caller(self.step, self.modules), names, (x_t, state))
        finally:
            written = [name for part, before in zip(parts, attributes, strict=True) for name in _restored(part, before)]
        if written:
            raise Untraceable(f"writes to {written[0]} of its module, which it may only read")
        return answer


def _restored(part: nn.Module, before: dict[str, Any]) -> list[str]:
    """Give a module the attributes it had; the names of those that had changed."""
    now = vars(part)
    changed = [name for name in {**before, **now} if now.get(name, part) is not before.get(name, part)]
    now.clear()
    now.update(before)
    return changed


class _Caller(nn.Module):
    """A step as the forward of a module, whose weights can then be swapped."""

    def __init__(self, step: Callable[..., Any], modules: Iterable[nn.Module]) -> None:
        super().__init__()
        self.modules_used = nn.ModuleList(modules)
        self._step = (step,)  # in a tuple, so that a step which is a module is not registered twice

    def forward(self, x_t: Tensor, state: Any) -> Any:
        return self._step[0](x_t, state)


def capture(step: Callable[..., Any]) -> Capture:
    """Find what a step uses beside its arguments.

    Raises Untraceable for a step that holds tensors, or anything else whose change would go unnoticed.
    """
    modules: list[nn.Module] = []
    identity = tuple(_held(step, modules))
    unique = tuple({id(module): module for module in modules}.values())
    return Capture(step, unique, (*identity, *(_form(module) for module in unique)))


PLAIN = (bool, int, float, complex, str, type(None), torch.dtype, torch.device)

INTERNAL = {"_parameters", "_buffers", "_modules", "_non_persistent_buffers_set"}
"""Attributes of every module that hold what is listed by name anyway."""


def _form(module: nn.Module) -> tuple[Any, ...]:
    """What two modules have in common for which one trace holds: parts, attributes, and which weights are one."""
    tensors = (*module.named_parameters(remove_duplicate=False), *module.named_buffers(remove_duplicate=False))
    first: dict[int, str] = {}
    tied = tuple((name, first.setdefault(id(tensor), name)) for name, tensor in tensors)
    parts = tuple((name, type(part), _attributes(part)) for name, part in module.named_modules(remove_duplicate=False))
    return (parts, tied)


def _attributes(part: nn.Module) -> tuple[Any, ...]:
    return tuple((name, _frozen(value)) for name, value in vars(part).items() if name not in INTERNAL)


@dataclass(frozen=True)
class Same:
    """An object that equals itself alone; held, so that no other takes its place in memory."""

    value: Any

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Same) and other.value is self.value

    def __hash__(self) -> int:
        return id(self.value)


def _frozen(value: Any) -> Any:
    """An attribute as it is now, to be compared with what it is later or in another module."""
    if isinstance(value, PLAIN):
        return type(value), value
    if isinstance(value, (tuple, list)):
        return type(value), tuple(map(_frozen, value))
    if isinstance(value, dict):
        return type(value), tuple((_frozen(name), _frozen(entry)) for name, entry in value.items())
    return Same(value)


def _held(value: Any, modules: list[nn.Module]) -> Iterator[Any]:
    """What tells one step from another, with the modules met on the way put aside."""
    if isinstance(value, nn.Module):
        places = [id(module) for module in modules]
        if id(value) not in places:
            modules.append(value)
            places.append(id(value))
        yield nn.Module, places.index(id(value))
    elif isinstance(value, Tensor):
        raise Untraceable(f"uses a tensor that is {OUTSIDE}")
    elif inspect.ismethod(value):
        yield value.__func__.__code__
        yield from _held(value.__self__, modules)
    elif isinstance(value, functools.partial):
        yield tuple(value.keywords)
        for part in (value.func, *value.args, *value.keywords.values()):
            yield from _held(part, modules)
    elif inspect.isfunction(value):
        yield value.__code__
        for cell in (*(value.__closure__ or ()), *(value.__defaults__ or ()), *(value.__kwdefaults__ or {}).values()):
            yield from _held(cell.cell_contents if isinstance(cell, CellType) else cell, modules)
    elif isinstance(value, (tuple, list)):
        yield len(value)
        for part in value:
            yield from _held(part, modules)
    elif isinstance(value, PLAIN):
        yield type(value), value
    elif isinstance(value, type) or inspect.isbuiltin(value):
        yield value
    else:
        raise Untraceable(f"holds {type(value).__name__}, which may change unnoticed")


def leaves(tree: Any) -> tuple[list[Tensor], pytree.TreeSpec]:
    """The tensors of a state, in order, and its form.

    Raises Untraceable for a state that holds anything else.
    """
    flat, form = pytree.tree_flatten(tree)
    if not flat:
        raise Untraceable("keeps no state")
    for leaf in flat:
        if not isinstance(leaf, Tensor):
            raise Untraceable(f"keeps {type(leaf).__name__} in its state, where only tensors can be")
        if not (leaf.is_floating_point() or leaf.is_complex()):
            raise Untraceable(f"keeps {str(leaf.dtype).removeprefix('torch.')} in its state, where only real and complex numbers can be")
    return flat, form


def rows(value: object) -> bool:
    """Whether a traced value has one row a sample: the batch is its first dimension and occurs in no other."""
    if not isinstance(value, Tensor) or not value.dim():
        return False
    first, *others = value.shape
    return isinstance(first, torch.SymInt) and first.node.expr.is_symbol and not any(isinstance(size, torch.SymInt) for size in others)


def batched(value: object) -> bool:
    """Whether a traced value's shape depends on the batch."""
    return isinstance(value, Tensor) and any(isinstance(size, torch.SymInt) for size in value.shape)


def value_of(node: fx.Node) -> Any:
    return node.meta.get("val")


def is_size(node: fx.Node) -> bool:
    """Whether a node is a number that follows from the batch."""
    return isinstance(value_of(node), torch.SymInt)


def placeholders(graph: fx.Graph) -> list[fx.Node]:
    return [node for node in graph.nodes if node.op == "placeholder"]


def results(graph: fx.Graph) -> list[Any]:
    (output,) = (node for node in graph.nodes if node.op == "output")
    return list(output.args[0])


def ancestors(nodes: Iterable[Any], stop: Iterable[fx.Node] = ()) -> set[fx.Node]:
    """The nodes that these rest on, themselves included; nothing is looked for behind those at which to stop."""
    ends, seen = set(stop), set()
    waiting = [node for node in nodes if isinstance(node, fx.Node)]
    while waiting:
        node = waiting.pop()
        if node not in seen:
            seen.add(node)
            if node not in ends:
                waiting += node.all_input_nodes
    return seen


def cut(graph: fx.Graph, inputs: Sequence[fx.Node], outputs: Sequence[Any]) -> fx.GraphModule:
    """The piece of a graph that makes outputs from inputs. The size of the batch is read from the first input that has rows."""
    piece, copied = fx.Graph(), {}
    for node in inputs:
        copied[node] = piece.placeholder(node.name)
        copied[node].meta = dict(node.meta)
    sized = next((copied[node] for node in inputs if rows(value_of(node))), None)
    needed = ancestors(outputs, stop=inputs)
    for node in graph.nodes:
        if node not in needed or node in copied:
            continue
        if node.target is aten.sym_size.int:
            if sized is None:
                raise Untraceable("makes values of the batch's size out of nothing that has rows")
            copied[node] = piece.call_method("size", (sized, 0))  # inside torch.vmap too
            copied[node].meta = dict(node.meta)
            continue
        if node.op != "call_function":
            raise Untraceable(f"rests on {node.name}, which is no value of its own")
        copied[node] = piece.node_copy(node, lambda argument: copied[argument])
    piece.output(tuple(copied[node] if isinstance(node, fx.Node) else node for node in outputs))
    piece.lint()
    return fx.GraphModule(nn.Module(), piece)
