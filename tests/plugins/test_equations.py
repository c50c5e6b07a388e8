"""Checks each variant's equations against numbers worked out by hand, torch's own layers, or the paper in NumPy."""

from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torch.profiler import ProfilerActivity, profile

from suite.ops.engines import VENDOR
from suite.registry.finder import discover
from suite.spec import Plugin
from suite.training import model, trainer
from suite.trial import Trial

D, H = 3, 5


def build(name: str, input_size: int = D, hidden_size: int = H, seed: int = 0, **options: int | str) -> Any:
    return model.build_core(discover().variant(name).noun, options, input_size, hidden_size, seed).double()


def noise(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def assert_same(output: Tensor, wanted: Tensor) -> None:
    torch.testing.assert_close(output, wanted, rtol=0, atol=1e-12)


def sigmoid(z: float) -> float:
    return 1 / (1 + math.exp(-z))


# The LSTM, by hand


def test_lstm_step_by_hand() -> None:
    core = build("lstm", 1, 1)
    with torch.no_grad():
        weight = [[0.5, -1.0], [0.25, 0.75], [-0.5, 2.0], [1.5, -0.25]]  # rows i, f, g, o; columns h, x
        core.gates.weight.copy_(torch.tensor(weight, dtype=torch.float64))
        core.gates.bias.copy_(torch.tensor([0.1, 1.0, -0.2, 0.3], dtype=torch.float64))
    h, c = 0.4, -0.6
    for x in (0.8, -1.2):
        y, state = core.step(torch.tensor([[x]], dtype=torch.float64), tuple(torch.tensor([[v]], dtype=torch.float64) for v in (h, c)))
        f = sigmoid(0.25 * h + 0.75 * x + 1.0)
        i = sigmoid(0.5 * h - 1.0 * x + 0.1)
        o = sigmoid(1.5 * h - 0.25 * x + 0.3)
        g = math.tanh(-0.5 * h + 2.0 * x - 0.2)
        c = f * c + i * g
        h = o * math.tanh(c)
        assert [y.item(), state[0].item(), state[1].item()] == pytest.approx([h, h, c], abs=1e-12)


def test_lstm_starts_from_zeros() -> None:
    core, x = build("lstm"), noise(2, 1, D)
    zeros = torch.zeros(2, H, dtype=torch.float64)
    assert_same(core(x)[:, 0], core.step(x[:, 0], (zeros, zeros))[0])


# Against torch's own layers, whose second bias is zero


def copy(layer: nn.Module, suffix: str, weight_x: Tensor, weight_h: Tensor, bias: Tensor) -> None:
    with torch.no_grad():
        for name, value in (("weight_ih", weight_x), ("weight_hh", weight_h), ("bias_ih", bias), ("bias_hh", torch.zeros_like(bias))):
            layer.get_parameter(f"{name}_l0{suffix}").copy_(value)


@pytest.mark.parametrize(("name", "kind"), [("rnn", nn.RNN), ("gru", nn.GRU)])
def test_equals_torchs_layer(name: str, kind: Any) -> None:
    core, x = build(name), noise(4, 11, D)
    layer = kind(D, H, batch_first=True, dtype=torch.float64)
    copy(layer, "", core.weight_x, core.weight_h, core.bias)
    assert_same(core(x), layer(x)[0])


def copy_lstm(layer: nn.Module, core: Any, suffix: str = "") -> None:
    weight = core.gates.weight  # columns: first h, then x
    copy(layer, suffix, weight[:, H:], weight[:, :H], core.gates.bias)


def test_lstm_equals_torchs_layer() -> None:
    core, x = build("lstm"), noise(4, 11, D)
    layer = nn.LSTM(D, H, batch_first=True, dtype=torch.float64)
    copy_lstm(layer, core)
    assert_same(core(x), layer(x)[0])


def test_bilstm_equals_torchs_layer_and_its_last_states() -> None:
    core, x = build("bilstm"), noise(4, 11, D)
    layer = nn.LSTM(D, H, batch_first=True, bidirectional=True, dtype=torch.float64)
    copy_lstm(layer, core.onward)
    copy_lstm(layer, core.reverse, "_reverse")
    y, (last, _) = layer(x)
    assert_same(core(x), y)
    summary = discover().variant("bilstm").noun.summary
    assert summary is not None
    assert_same(summary(core(x)), torch.cat([last[0], last[1]], dim=1))


# Layer normalisation, as in Ba et al., 2016, equations 20–22 of the supplement


def normalise(a: NDArray[Any], gain: NDArray[Any], shift: NDArray[Any] | float = 0.0) -> NDArray[Any]:
    mean = a.sum(axis=-1, keepdims=True) / a.shape[-1]
    variance = ((a - mean) ** 2).sum(axis=-1, keepdims=True) / a.shape[-1]
    return np.asarray((a - mean) / np.sqrt(variance + 1e-5) * gain + shift)


def test_layernorm_step_as_in_the_paper() -> None:
    core = build("layernorm")
    with torch.no_grad():  # gains and shifts other than one and zero, so that each must be where it belongs
        for seed, parameter in enumerate([core.bias, core.norm_x.weight, core.norm_h.weight, core.norm_c.weight, core.norm_c.bias]):
            parameter.copy_(noise(*parameter.shape, seed=10 + seed))
    x, h, c = noise(2, D, seed=3), noise(2, H, seed=4), noise(2, H, seed=5)
    W_x, W_h, b, alpha_x, alpha_h, alpha_c, beta_c = (
        parameter.detach().numpy()
        for parameter in (
            *(core.weight_x.weight, core.weight_h.weight, core.bias),
            *(core.norm_x.weight, core.norm_h.weight, core.norm_c.weight, core.norm_c.bias),
        )
    )
    a = normalise(h.numpy() @ W_h.T, alpha_h) + normalise(x.numpy() @ W_x.T, alpha_x) + b
    f, i, o, g = a[:, :H], a[:, H : 2 * H], a[:, 2 * H : 3 * H], a[:, 3 * H :]
    cell = c.numpy() / (1 + np.exp(-f)) + np.tanh(g) / (1 + np.exp(-i))
    hidden = np.tanh(normalise(cell, alpha_c, beta_c)) / (1 + np.exp(-o))
    y, (h_next, c_next) = core.step(x, (h, c))
    assert_same(y, torch.from_numpy(hidden))
    assert_same(h_next, torch.from_numpy(hidden))
    assert_same(c_next, torch.from_numpy(cell))


# Every LSTM remembers at first


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("name", ["lstm", "bilstm", "attention", "residual", "layernorm"])
def test_forget_bias_totals_one(name: str, seed: int) -> None:
    core = build(name, seed=seed)
    if name == "layernorm":  # gates in the paper's order f, i, o, g
        biases = [core.bias[:H]]
    else:
        lstm = type(build("lstm"))
        biases = [module.gates.bias[H : 2 * H] for module in core.modules() if type(module) is lstm]
        assert len(biases) == {"bilstm": 2, "residual": 2}.get(name, 1)
    for bias in biases:
        assert bias.tolist() == [1.0] * H


@pytest.mark.parametrize("name", ["rnn", "gru", "lstm"])
def test_weights_start_within_one_over_root_h(name: str) -> None:
    values = torch.cat([parameter.flatten() for parameter in build(name, 4, 64).parameters()])
    values = values[values != 1]  # the forget bias
    assert values.abs().max() <= 64**-0.5
    assert abs(values.std() * 64**0.5 * 3**0.5 - 1) < 0.05  # uniform: σ = bound/√3


# Attention


def contexts(h: Tensor) -> Tensor:
    """Each step's context, seen through an output layer that is the identity on it."""
    core = build("attention", hidden_size=h.shape[2])
    with torch.no_grad():
        core.combine.bias.zero_()
        core.combine.weight.copy_(torch.eye(h.shape[2], 2 * h.shape[2]))
    return torch.atanh(core.attend(h))


def test_attention_equals_torchs_scaled_dot_product() -> None:
    h = noise(3, 9, H).tanh()
    assert_same(contexts(h), functional.scaled_dot_product_attention(h, h, h, is_causal=True))


def test_attention_at_the_first_step_sees_itself_alone() -> None:
    h = noise(3, 9, H).tanh()
    assert_same(contexts(h)[:, 0], h[:, 0])


def test_attention_weights_sum_to_one() -> None:
    """A feature that is the same at every step comes out of the weighted sum as it was."""
    h = noise(3, 9, H).tanh()
    h[:, :, 0] = 0.5
    assert_same(contexts(h)[:, :, 0], h[:, :, 0])


def test_attention_output_is_the_papers() -> None:
    core, x = build("attention"), noise(2, 6, D)
    h = core.lstm(x)
    c = functional.scaled_dot_product_attention(h, h, h, is_causal=True)
    assert_same(core(x), torch.tanh(functional.linear(torch.cat([c, h], dim=2), core.combine.weight, core.combine.bias)))


@pytest.mark.parametrize("span", ["past", "whole"])
@pytest.mark.parametrize("score", ["dot", "general", "additive"])
def test_attention_scores_are_the_papers(score: str, span: str) -> None:
    """Step by step in NumPy, by the formulas; more steps than the additive score takes at a time."""
    core = build("attention", score=score, span=span)
    h = noise(2, 37, H).tanh()
    combine, bias = (parameter.detach().numpy() for parameter in (core.combine.weight, core.combine.bias))
    W, U, v = (getattr(core, name).weight.detach().numpy() if hasattr(core, name) else None for name in ("keys", "queries", "energy"))
    output = core.attend(h).detach().numpy()
    for b, states in enumerate(h.numpy()):
        for t, state in enumerate(states):
            scores = []
            for other in states[: t + 1] if span == "past" else states:
                if score == "dot":
                    scores.append(state @ other / math.sqrt(H))
                elif score == "general":
                    scores.append(state @ W @ other / math.sqrt(H))
                else:
                    scores.append((v @ np.tanh(W @ other + U @ state)).item())
            weights = np.exp(scores) / np.exp(scores).sum()
            context = weights @ states[: len(scores)]
            np.testing.assert_allclose(output[b, t], np.tanh(combine @ np.concatenate([context, state]) + bias), rtol=0, atol=1e-12)


MEMORY = """
import resource, sys, torch
from pathlib import Path
from suite.ops.engines import VENDOR
from suite.registry.finder import discover
from suite.training import model

def peak():
    # where it is told for this program alone: what getrusage says begins with the memory of the process that started it
    status = Path("/proc/self/status")
    if status.is_file():
        return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM")) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 2**30

torch.set_num_threads(1)
variant = discover().variant("attention").noun
core = model.build_core(variant, {}, 8, 128, 0)
before = peak()
VENDOR.run(variant, core, torch.ones(32, 1000, 8)).mean().backward()
print(peak() - before)
"""


def test_attention_over_a_thousand_steps_fits_in_four_gibibytes() -> None:
    done = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True)
    assert 0.1 < float(done.stdout) < 4  # the (B, T, T) scores alone are 0.12


def test_additive_attention_never_holds_all_it_compares() -> None:
    """By torch's own count of live bytes, whatever the allocator keeps: far under one (B, T, T, H)."""
    core, x = build("attention", score="additive", hidden_size=64), noise(4, 200, D)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        core.vendor(x).mean().backward()
    assert profiler.profiler is not None
    events = profiler.profiler.kineto_results.events()
    live = np.cumsum([event.nbytes() for event in events if event.name() == "[memory]"])
    assert live.max() > 4 * 200 * 200 * 8  # the scores
    assert live.max() < 4 * 200 * 200 * 64 * 8 / 3


# Residual


def test_residual_stack_as_in_the_paper() -> None:
    core, x = build("residual", depth=3), noise(2, 6, D)
    first, second, third = core.first, *(block[0] for block in core.blocks)
    y1 = first(x)
    y2 = second(y1) + y1
    assert_same(core(x), third(y2) + y2)


def test_residual_blocks_may_hold_more_layers_than_one() -> None:
    core, x = build("residual", depth=3, layers=2), noise(2, 6, D)
    (second, third), (fourth, fifth) = core.blocks
    y1 = core.first(x)
    y2 = third(second(y1)) + y1
    assert_same(core(x), fifth(fourth(y2)) + y2)


def test_residual_needs_a_layer() -> None:
    with pytest.raises(ValueError, match="depth is 0"):
        build("residual", depth=0)


def test_residual_gradients_reach_the_first_of_eight_layers() -> None:
    core = build("residual", depth=8, hidden_size=16)
    core(noise(4, 10, D))[:, -1].square().mean().backward()
    first, last = (lstm.gates.weight.grad.norm().item() for lstm in (core.first, core.blocks[-1][0]))
    assert last / 100 < first < last * 100


@pytest.mark.parametrize(("task", "steps"), [("adding", 150), ("noisy", 60)])
def test_residual_of_eight_layers_learns(task: str, steps: int, tiny: Trial) -> None:
    variant, noun = discover().variant("residual").noun, discover().task(task).noun
    training = replace(tiny.training, steps=steps, validate_every=steps, batch_size=32, evaluation_samples=256)
    trial = replace(tiny, task=Plugin(task), training=training)
    net = model.build(variant, {"depth": 8}, noun, 16, VENDOR.name, seed=0)
    (trained,) = trainer.learn([trial], noun, trainer.gather([net], VENDOR.name), lambda _trial, _validation: None)
    (last,) = trained.learning.curve
    assert last.scores["loss"] < noun.baseline(trial.length) / 2


# The refined gate, by the paper in NumPy


def test_refined_gates_as_in_the_paper() -> None:
    core = build("refined")
    x = noise(4, 7, D)
    weight, bias = (parameter.detach().numpy() for parameter in (core.gates.weight, core.gates.bias))
    h, c = np.zeros((4, H)), np.zeros((4, H))
    wanted = []
    for x_t in x.unbind(1):
        f, r, g, o = np.split(np.concatenate([h, x_t.numpy()], axis=1) @ weight.T + bias, 4, axis=1)
        f, r, o = (1 / (1 + np.exp(-z)) for z in (f, r, o))
        effective = r * (1 - (1 - f) ** 2) + (1 - r) * f**2
        c = effective * c + (1 - effective) * np.tanh(g)
        h = o * np.tanh(c)
        wanted.append(h)
    assert_same(core(x), torch.from_numpy(np.stack(wanted, axis=1)))


def test_refined_gates_begin_uniformly_spread() -> None:
    forget, refine, _, _ = build("refined", hidden_size=4000).gates.bias.chunk(4)
    keeps = np.sort(torch.sigmoid(forget).detach().numpy())
    assert np.abs(keeps - np.linspace(0, 1, len(keeps))).max() < 0.03  # Kolmogorov–Smirnov, at one in a thousand
    assert not refine.any()


def test_a_stack_without_skip_connections_is_one_lstm_after_the_other() -> None:
    core = build("residual", depth=3, skip=False)
    x = noise(2, 6, D)
    inner = core.first(x)
    for block in core.blocks:
        (lstm,) = block
        inner = lstm(inner)
    assert_same(core(x), inner)
    assert not torch.equal(core(x), build("residual", depth=3)(x))
