"""Makes a piece of a step run for so many members and samples, and write what is needed of all steps at once where that belongs."""

from __future__ import annotations

import contextlib
import textwrap
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.fx.experimental.symbolic_shapes import DimDynamic, ShapeEnv, StatelessSymbolicContext

from ..errors import SuiteError
from .derive import Piece
from .tracing import aten, results, value_of

FIXED = ("weight", "constant")
"""Kinds of values that are the same at each step; a value of any other kind may be a step's part of a block of many steps."""


@dataclass(frozen=True)
class Made:
    """An output of a piece for members: its shape ``(P, …)``, its type, and where it is."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    device: torch.device

    def block(self, steps: int) -> Tensor:
        """Memory for those of so many steps, ``(P, T, …)``."""
        return reachable(torch.empty(self.shape[0], steps, *self.shape[1:], dtype=self.dtype, device=self.device))


REACH = 2**31
"""Code that torch compiles for a GPU counts the numbers of a block in 32 bits, as far as it knows of the block."""


def reachable(block: Tensor) -> Tensor:
    """The block.

    Raises SuiteError where compiled code could not reach all of it.
    """
    if block.device.type == "cuda" and block.numel() >= REACH:
        raise SuiteError(
            f"{block.numel()} numbers stand in one block, and compiled code on a GPU reaches {REACH}: "
            'take a smaller batch_size, or engine = "derived", in [training]'
        )
    return block


@dataclass(frozen=True)
class Ends:
    """Which of a piece's outputs, by their indices, are written into places, and which are given; others are one of these once more."""

    placed: tuple[int, ...]
    given: tuple[int, ...]


@dataclass(frozen=True)
class Call:
    """A piece for members and samples as many as some tensors have.

    run: takes a list, which it may empty: what the piece takes, then a place for each output that is written into one
    outputs: all of them, in the order of the piece; None for one that is no tensor
    code: what `run` is a part of, and cannot be without
    """

    run: Callable[[list[Tensor]], Sequence[Tensor]]
    outputs: tuple[Made | None, ...]
    code: object


def members(piece: Piece, values: Mapping[str, Any], count: int) -> tuple[Tensor, ...]:
    """A piece's answer for so many members, which are the first dimension of each value."""

    def member(_: Tensor, *own: Tensor) -> tuple[Tensor, ...]:
        answer: tuple[Tensor, ...] = piece.graph(*own)
        return answer

    return torch.vmap(member)(torch.empty(count), *arguments(piece, values))


def arguments(piece: Piece, values: Mapping[str, Any]) -> list[Tensor]:
    """What a piece takes, from tensors by kind and place."""
    return [values[kind][place] for kind, place in piece.takes]


def form(piece: Piece, given: Sequence[Tensor]) -> tuple[Any, ...]:
    """Equal for tensors that one specialised piece serves: how far apart the members are is left open where steps may lie between them."""
    return tuple(
        (tensor.shape, _strides(tensor, apart=kind not in FIXED), tensor.dtype, tensor.device)
        for (kind, _), tensor in zip(piece.takes, given, strict=True)
    )


def _strides(tensor: Tensor, *, apart: bool) -> tuple[int, ...]:
    """The strides of those dimensions that are stepped along at all."""
    strides = [stride if size > 1 else 0 for size, stride in zip(tensor.shape, tensor.stride(), strict=True)]
    return tuple(strides[1:] if apart else strides)


def specialise(piece: Piece, given: Sequence[Tensor], ends: Ends, *, compiled: bool) -> Call:
    """A piece for members and samples as many as these tensors have.

    Raises SuiteError where it cannot be compiled.
    """
    shapes = ShapeEnv()
    with FakeTensorMode(shape_env=shapes) as mode:
        pass
    fakes = [
        _stand_in(mode, tensor, f"given_{index}", apart=kind not in FIXED)
        for index, ((kind, _), tensor) in enumerate(zip(piece.takes, given, strict=True))
    ]
    if not compiled:
        module, outputs = _for_members(piece, mode, fakes, ends, None)
        forward = module.forward
        return Call(lambda tensors: forward(*tensors), outputs, module)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of torch, about torch
            from torch._inductor.decomposition import select_decomp_table  # takes seconds, which only those wait for who compile

            module, outputs = _for_members(piece, mode, fakes, ends, select_decomp_table())
            code = _compiled(module, mode, fakes)
    except Exception as error:
        raise SuiteError(f'torch could not compile the step ({_cause(error)}); set engine = "derived" in [training]') from error
    # what calling the code does around it takes longer than some steps
    return Call(getattr(code, "current_callable", code), outputs, code)


def _for_members(
    piece: Piece, mode: FakeTensorMode, fakes: list[Tensor], ends: Ends, decompositions: Any
) -> tuple[fx.GraphModule, tuple[Made | None, ...]]:
    """A piece as a graph of plain operations for members as many as the stand-ins have, to which those for places are added; all outputs."""
    with torch.no_grad(), mode:
        module = make_fx(torch.vmap(piece.graph), decomposition_table=decompositions)(*fakes)
    outputs = tuple(_made(node) for node in results(module.graph))
    fakes += [_write(module.graph, mode, index, outputs[index]) for index in ends.placed]
    _output(module.graph, ends.given)
    module.recompile()
    return module, outputs


def _stand_in(mode: FakeTensorMode, tensor: Tensor, name: str, *, apart: bool) -> Tensor:
    """A tensor without numbers; where its members may be any way apart, their stride is a symbol."""
    from torch._dynamo.source import ConstantSource

    rest, strides = tensor.dim() - 1, tensor.stride()
    if apart:  # with something between them, lest code be made for members without
        strides = (2 * (1 + sum((size - 1) * stride for size, stride in zip(tensor.shape[1:], strides[1:], strict=True))), *strides[1:])
    with torch.no_grad():
        plain = torch.empty_strided(tensor.shape, strides, dtype=tensor.dtype, device=tensor.device)
    if not apart:
        return mode.from_tensor(plain, static_shapes=True)
    open_stride: Any = StatelessSymbolicContext(
        dynamic_sizes=[DimDynamic.STATIC] * (rest + 1), dynamic_strides=[DimDynamic.DYNAMIC] + [DimDynamic.INFER_STRIDE] * rest
    )
    return mode.from_tensor(plain, symbolic_context=open_stride, source=ConstantSource(name))


def _made(node: Any) -> Made | None:
    value = value_of(node) if isinstance(node, fx.Node) else None
    return Made(tuple(map(int, value.shape)), value.dtype, value.device) if isinstance(value, Tensor) else None


def _write(graph: fx.Graph, mode: FakeTensorMode, index: int, made: Made | None) -> Tensor:
    """Let an output be written into a place that is given; a stand-in for that place."""
    assert made is not None
    last = next(node for node in reversed(graph.nodes) if node.op == "placeholder")
    fake = _stand_in(mode, torch.empty(made.shape, dtype=made.dtype, device=made.device), f"place_{index}", apart=True)
    with graph.inserting_after(last):
        place = graph.placeholder(f"place_{index}")
    place.meta["val"] = fake
    (output,) = (node for node in graph.nodes if node.op == "output")
    with graph.inserting_before(output):
        write = graph.call_function(aten.copy_.default, (place, results(graph)[index]))
    write.meta["val"] = fake
    return fake


def _output(graph: fx.Graph, given: Sequence[int]) -> None:
    """Leave nothing but these among a graph's outputs."""
    (output,) = (node for node in graph.nodes if node.op == "output")
    output.args = (tuple(results(graph)[index] for index in given),)


def _compiled(module: fx.GraphModule, mode: FakeTensorMode, fakes: Sequence[Tensor]) -> Any:
    """The graph as machine code, by torch's compiler; tensors are taken to be as the stand-ins are, unchecked."""
    import torch._inductor.compile_fx as inductor

    # torch's vectorised tanh takes three times as long as its exp
    settings = {"cpp.use_decompose_tanh": True, "size_asserts": False, "triton.cudagraphs": False}
    context = torch._guards.TracingContext(mode)  # what the compiler's cache on disk asks for
    with torch._inductor.config.patch(settings), torch._guards.tracing(context), torch.no_grad():
        return inductor.compile_fx_inner(module, list(fakes))


def _cause(error: Exception) -> str:
    """Why a compiler failed, in a line: what it complains of first, where it is among much else."""
    lines = [line for line in str(error).splitlines() if "error:" in line]
    return textwrap.shorten(f"{type(error).__name__}: {lines[0] if lines else error}", 300, placeholder=" …")


_unfilled = threading.Lock()
_inside = 0


@contextlib.contextmanager
def unfilled() -> Iterator[None]:
    """Leave new memory inside as it is, though torch's deterministic mode fills it: every number of it is written before it is read.

    The mode is the process's, so that what other threads do meanwhile is not filled either; the last to leave sets it again.
    """
    global _inside
    mode: Any = torch.utils.deterministic
    with _unfilled:
        filling = mode.fill_uninitialized_memory or _inside > 0
        _inside += filling
        mode.fill_uninitialized_memory = False
    try:
        yield
    finally:
        with _unfilled:
            _inside -= filling
            mode.fill_uninitialized_memory = filling and _inside == 0
