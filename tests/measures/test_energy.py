"""Checks that the energy of a call is what the device's counters say, with counters that are made here."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from suite.measures import energy


def processor(folder: Path, name: str, microjoules: int) -> Path:
    """A counter as Linux shows it, which stands at so many microjoules and counts to 262,143 joules."""
    folder.mkdir()
    (folder / "name").write_text(f"{name}\n")
    (folder / "energy_uj").write_text(f"{microjoules}\n")
    (folder / "max_energy_range_uj").write_text("262143000000\n")
    return folder / "energy_uj"


def test_packages_are_counted_and_their_parts_are_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(energy, "POWERCAP", tmp_path)
    first = processor(tmp_path / "intel-rapl:0", "package-0", 1_000_000)
    processor(tmp_path / "intel-rapl:0:0", "core", 5_000_000)
    second = processor(tmp_path / "intel-rapl:1", "package-1", 262_142_000_000)
    (tmp_path / "intel-rapl").mkdir()
    calls = 0

    def call() -> None:
        nonlocal calls
        calls += 1
        first.write_text(f"{1_000_000 + 2_000_000 * calls}\n")
        second.write_text(f"{(262_142_000_000 + 1_000_000 * calls) % 262_143_000_000}\n")  # begins again after the first call

    monkeypatch.setattr(energy, "CPU_SECONDS", 0.02)
    assert energy.joules(call, "cpu") == pytest.approx(3.0)
    assert calls > 1


def test_what_does_not_tell_has_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(energy, "POWERCAP", tmp_path / "nowhere")
    assert energy.joules(lambda: None, "cpu") is None
    monkeypatch.setattr(energy, "POWERCAP", tmp_path)
    processor(tmp_path / "intel-rapl:0", "package-0", 1).unlink()
    assert energy.joules(lambda: None, "cpu") is None


def test_a_counter_that_vanishes_costs_no_timing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(energy, "POWERCAP", tmp_path)
    monkeypatch.setattr(energy, "CPU_SECONDS", 0.001)
    counter = processor(tmp_path / "intel-rapl:0", "package-0", 1)
    assert energy.joules(lambda: counter.unlink(missing_ok=True), "cpu") is None


def test_a_gpu_is_asked_by_its_own_name(monkeypatch: pytest.MonkeyPatch) -> None:
    class Refused(Exception):
        pass

    readings = itertools.count(5000, 500)  # in millijoules
    library = SimpleNamespace(
        NVMLError=Refused,
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByUUID=lambda name: {"GPU-1234": "the GPU"}[name],
        nvmlDeviceGetTotalEnergyConsumption=lambda gpu: {"the GPU": next(readings)}[gpu],
    )
    monkeypatch.setitem(sys.modules, "pynvml", library)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda: SimpleNamespace(uuid="1234"))
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    monkeypatch.setattr(energy, "CUDA_SECONDS", 0.001)
    (counter,) = energy.cuda_counters()
    assert counter.between(counter.read(), counter.read()) == pytest.approx(0.5)

    def old(_gpu: str) -> int:
        raise Refused  # as of a GPU of before 2017, which does not count

    library.nvmlDeviceGetTotalEnergyConsumption = old
    assert energy.joules(lambda: None, "cuda") is None

    def refuse() -> None:
        raise Refused

    library.nvmlInit = refuse
    assert energy.joules(lambda: None, "cuda") is None


def test_without_the_library_a_gpu_tells_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert energy.cuda_counters() == []


@pytest.mark.gpu
def test_a_real_gpu_counts() -> None:
    pytest.importorskip("pynvml", reason="nvidia-ml-py is not installed")
    matrix = torch.ones(4096, 4096, device="cuda")
    used = energy.joules(lambda: matrix @ matrix, "cuda")
    assert used is not None
    assert 0 < used < 1000
