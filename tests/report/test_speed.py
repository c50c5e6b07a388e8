"""Checks what the sections on speed say beyond the ratios: streams, growth, arithmetic, and the class of cuDNN's kernels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from suite import Results
from suite.check.imagined import fill
from suite.store import frame

from .drawing import TIMES, elements_of, tables_of


@pytest.fixture
def results(tmp_path: Path) -> Results:
    return frame.read(fill(tmp_path, times=TIMES))


def test_a_stream_is_shown_apart_from_whole_sequences(results: Results) -> None:
    streams = tables_of("cost", results)[0].frame
    assert list(streams["Variant"]) == ["bilstm †", "gru", "lstm"]  # the quickest first
    assert list(streams["As a multiple of lstm's"])[1:] == ["0.50 (0.49–0.51)", "1.00 (1.00–1.00)"]
    assert "step" not in " ".join(map(str, tables_of("speed", results)[-1].frame.columns))


def test_growth_is_read_from_the_lengths(results: Results) -> None:
    growth = tables_of("cost", results)[1].frame
    assert list(growth.columns) == ["Variant", "Engine", "T"]
    assert {text.split()[0] for text in growth["T"]} == {"1.00"}  # imagined times are in proportion to the length


def test_memory_and_arithmetic_stand_beside_what_the_device_can(results: Results) -> None:
    costs = tables_of("cost", results)[2]
    lstm = costs.frame[costs.frame["Variant"] == "lstm"].iloc[0]
    assert (lstm["Memory at most, MiB"], lstm["10⁶ operations"], lstm["Of the device's"]) == ("4.8", "20", "40 %")
    assert "50·10⁹ a second in one large product" in costs.caption
    assert "Energy, mJ" not in costs.frame.columns  # no device told


def test_energy_stands_beside_where_the_device_tells(results: Results) -> None:
    import pandas as pd

    operations = results.frame[results.frame["metric"].eq("operations")]
    joules = operations[operations["variant"].eq("lstm")].assign(metric="joules", value=0.01234)
    costs = tables_of("cost", replace(results, frame=pd.concat([results.frame, joules])))[2]
    assert dict(zip(costs.frame["Variant"], costs.frame["Energy, mJ"], strict=True))["lstm"] == "12.3"
    assert set(costs.frame["Energy, mJ"]) == {"12.3", "–"}
    assert "when idle included" in costs.caption


def test_nothing_timed_is_said(tmp_path: Path) -> None:
    (said,) = elements_of("cost", frame.read(fill(tmp_path)))
    assert said.text == "Nothing was timed."  # type: ignore[union-attr]


def test_the_class_of_kernel_is_named_on_cuda_alone(results: Results) -> None:
    assert "cuDNN is expected" not in tables_of("speed", results)[-1].caption
    machine = replace(results.provenance.machine, device="cuda")
    sizes = results.frame.assign(hidden_size=results.frame["variant"].map({"lstm": 128, "gru": 147, "bilstm": 200}))
    vendor = sizes.assign(engine=sizes["engine"].where(~sizes["axis"].eq("speed"), "vendor"))
    caption = tables_of("speed", replace(results, frame=vendor, provenance=replace(results.provenance, machine=machine)))[-1].caption
    assert "forward and backward: lstm (H = 128)" in caption
    assert "forward: gru (H = 147)" in caption
    assert "neither way: bilstm † (H = 200)" in caption
