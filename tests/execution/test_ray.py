"""Checks the Ray executor on clusters of this machine alone: the contract, a node that dies, and what cannot be had."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from suite import SuiteError, api
from suite.execution import processes
from suite.execution.executor import Pool

from ..running import suite, tiny_plan
from .killing import TRIALS, Killing, learned, prepared
from .test_executor import Processes

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::ResourceWarning:ray"),
]

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def ray() -> Iterator[object]:
    """Ray, whose processes see these tests beside the code that the suite ships."""
    module = pytest.importorskip("ray", reason="the extra ray is not installed")
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = str(ROOT)
    yield module
    os.environ.pop("PYTHONPATH") if before is None else os.environ.__setitem__("PYTHONPATH", before)


class TestRay(Processes):
    @pytest.fixture(scope="class")
    @classmethod
    def executor(cls, ray: object) -> Iterator[Pool]:  # noqa: ARG003 -- asked for, for what it sets
        from suite.execution.ray import _start

        with _start(2, "cpu") as pool:
            yield pool


@pytest.fixture
def cluster(ray: object) -> Iterator[Any]:  # noqa: ARG001
    """A head without room for calls, and three nodes with room for one each."""
    import ray as connection
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    for _ in range(3):
        made.add_node(num_cpus=1)
    yield made
    connection.shutdown()
    made.shutdown()


def busy(node: Any) -> bool:
    """Whether a call is at work on a node: its worker stands below a server of processes, of which an idle node has none or a bare one."""
    (raylet,) = (each.process.pid for each in node.all_processes["raylet"])
    servers = (pid for pid in processes.descendants(raylet) if b"forkserver" in Path(f"/proc/{pid}/cmdline").read_bytes())
    return any(processes.descendants(pid) for pid in servers)


def test_a_node_that_dies_costs_what_was_lost_alone(tmp_path: Path, cluster: Any) -> None:
    work = prepared(tmp_path, "ray", f"ray(address={cluster.address})")
    kill = lambda: cluster.remove_node(next(filter(busy, cluster.worker_nodes)), allow_graceful=False)  # noqa: E731
    listener = Killing(work.store.unfinished, kill)
    there = api.execute(work, options={"track": False}, more=[listener]).work
    assert listener.killed
    assert there.ends == {}
    twice = {key: steps for key, steps in listener.begun.items() if len(steps) > 1}
    assert 1 <= len(twice) <= 2  # the seeds of one population
    assert all(first == 0 and second > 0 for first, second in twice.values()), twice  # and they go on, rather than begin anew
    assert set(listener.finished.values()) == {1}
    assert len(listener.finished) == TRIALS
    here = api.execute(prepared(tmp_path, "local", "local"), workers=2, options={"track": False}).work
    assert learned(there) == learned(here)
    assert {path.name for path in (tmp_path / "ray/tiny/checkpoints").iterdir()} == {f"{key}.pt" for key in here.outcomes}


MINE = """
    import torch
    from torch import nn

    from suite import Variant, hookimpl

    from ._helper import SCALE

    class Mine(nn.Module):
        def __init__(self, input_size, hidden_size):
            super().__init__()
            self.linear = nn.Linear(input_size, hidden_size)
            print("made in", __file__)

        def forward(self, x):  # (B, T, D) -> (B, T, H)
            return torch.tanh(SCALE * self.linear(x)).cumsum(1)

    @hookimpl
    def suite_variants():
        yield Variant("mine", Mine)
"""


def test_drop_ins_and_their_helpers_are_shipped(tmp_path: Path, ray: object) -> None:  # noqa: ARG001
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "mine.py").write_text(dedent(MINE))
    (tmp_path / "plugins" / "_helper.py").write_text("SCALE = 0.5\n")
    plan = tiny_plan(tmp_path, **{'["lstm", "gru"]': '["mine"]', ', { name = "noisy", lengths = [6] }': ""})
    done = suite("run", plan, "--path", ".", "--device", "cpu", "--executor", "ray", cwd=tmp_path)
    assert re.search(r"made in \S*/working_dir_files/\S*/plugins/mine\.py", done.stderr)
    assert len(list((tmp_path / "runs/tiny/checkpoints").iterdir())) == 2


@pytest.mark.parametrize("asked", ["gpus=1", "cpus=1000"])
def test_what_no_node_has_is_refused_at_once(tmp_path: Path, cluster: Any, asked: str) -> None:
    work = prepared(tmp_path, "runs", f"ray(address={cluster.address}, {asked})")
    begun = time.monotonic()
    with pytest.raises(SuiteError, match=r"no node of the cluster has so many \(the largest has 1 CPUs and 0 GPUs\)"):
        api.execute(work, options={"track": False})
    assert time.monotonic() - begun < 10.0


def test_a_cluster_that_is_not_there_is_told(tmp_path: Path, ray: object) -> None:  # noqa: ARG001
    begun = time.monotonic()
    with pytest.raises(SuiteError, match=r"no cluster at 127\.0\.0\.1:1: .*refused"):
        api.execute(prepared(tmp_path, "runs", "ray(address=127.0.0.1:1)"), options={"track": False})
    assert time.monotonic() - begun < 10.0
