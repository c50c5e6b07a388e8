"""Connects to a Ray cluster, or begins one on this machine, with the code of the suite and of all drop-ins, and says what it has room for."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import dropins
from ..errors import SuiteError
from .local import default_workers

NAMESPACE = "recurrent-suite"
"""Tells a connection that the suite made from one of the user's."""

CONNECT_SECONDS = 5.0
"""A cluster that does not answer within so long is not there."""

LOOPBACK = "127.0.0.1"

SURROUNDINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # a process without GPUs keeps the variables that say which are visible
}

UNSHIPPED = shutil.ignore_patterns("__pycache__", "*.pyc", ".gitignore", ".rayignore")
"""Files that nobody imports; by those that name others to leave out, Ray would leave out drop-ins."""


@dataclass(frozen=True)
class Wanted:
    """Which cluster, and what of a node each call takes for itself."""

    address: str
    cpus: float
    gpus: float

    @property
    def resources(self) -> dict[str, float]:
        return {"num_cpus": self.cpus, "num_gpus": self.gpus}

    def places(self) -> int:
        """How many calls the nodes that are there could do at once."""
        return sum(self._fitting(node) for node in _nodes())

    def _fitting(self, node: Mapping[str, float]) -> int:
        asked = {"CPU": self.cpus, "GPU": self.gpus}
        return min(int(node.get(what, 0.0) / amount + 1e-9) for what, amount in asked.items() if amount)

    def refusal(self) -> str:
        """Why no node could do a call."""
        largest = max(_nodes(), key=lambda node: (node.get("GPU", 0.0), node.get("CPU", 0.0)), default={})
        has = f"the largest has {largest.get('CPU', 0.0):g} CPUs and {largest.get('GPU', 0.0):g} GPUs"
        return (
            f"executor 'ray': a call takes {self.cpus:g} CPUs and {self.gpus:g} GPUs, and no node of the cluster has so many ({has}); "
            "lower cpus= or gpus=, choose another --device, or add such a node"
        )


def wanted(device: str, address: str, cpus: float, gpus: float) -> Wanted:
    """What is asked for, a GPU for each call where it computes on one and nothing else is said.

    Raises SuiteError for what no cluster could have.
    """
    if cpus <= 0 or gpus < 0 or (gpus > 1 and gpus != int(gpus)):
        raise SuiteError(f"executor 'ray': cpus={cpus:g}, gpus={gpus:g}: it takes some CPUs, and a part of one GPU or whole ones")
    if "://" in address:
        raise SuiteError(f"executor 'ray': address={address}: give host:port of the cluster's head, or auto, on a node of the cluster")
    return Wanted(address, cpus, gpus or (1.0 if device == "cuda" else 0.0))


def connected(wanted: Wanted, afresh: bool = False) -> Any:
    """Ray, connected, with the code that calls need on its way to the nodes.

    afresh: whether a connection that a run has left, to whatever cluster and with whatever code, is given up first

    Raises SuiteError where Ray is not installed, the cluster cannot be reached, or somebody else has connected this process.
    """
    os.environ.update(SURROUNDINGS)
    try:
        import ray
    except ModuleNotFoundError:
        raise SuiteError("executor 'ray' needs the package ray: pip install -c constraints.txt 'recurrent-suite[ray]'") from None
    if ray.is_initialized():
        if ray.get_runtime_context().namespace != NAMESPACE:
            raise SuiteError(
                "executor 'ray': this process is connected to Ray already, without the suite's code; call ray.shutdown() first"
            )
        if not afresh:
            return ray
        ray.shutdown()
    _check_reachable(wanted.address)
    before = signal.getsignal(signal.SIGTERM)
    main = threading.current_thread() is threading.main_thread()
    with tempfile.TemporaryDirectory(prefix="suite-") as folder:
        path = ship(Path(folder))
        begun: dict[str, Any] = {"address": wanted.address} if wanted.address else _own()
        try:
            ray.init(
                **begun,
                namespace=NAMESPACE,
                runtime_env={"working_dir": folder, "env_vars": {**SURROUNDINGS, "SUITE_PATH": path}},
                configure_logging=False,
                log_to_driver=False,
            )
        except Exception as error:
            where = f"at {wanted.address}" if wanted.address else "here"
            raise SuiteError(f"executor 'ray': no cluster {where}: {str(error).splitlines()[0]}") from None
        finally:
            if main and before is not None:
                signal.signal(signal.SIGTERM, before)  # Ray has put its own in the place of the suite's
    return ray


def _own() -> dict[str, Any]:
    """A cluster of this machine alone, which nothing outside it can reach."""
    return {"address": "local", "num_cpus": default_workers("cpu"), "include_dashboard": False, "_node_ip_address": LOOPBACK}


def _check_reachable(address: str) -> None:
    """Ray itself would try for a minute."""
    host, colon, port = address.rpartition(":")
    if not address or address == "auto":
        return
    if not colon or not port.isdigit():
        raise SuiteError(f"executor 'ray': address={address}: give host:port of the cluster's head, or auto")
    try:
        socket.create_connection((host, int(port)), CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise SuiteError(f"executor 'ray': no cluster at {address}: {error}; `ray status` on its head says where it is") from None


def ship(folder: Path) -> str:
    """Lay the suite and all drop-ins out as a checkout has them; the value of SUITE_PATH there, from this folder on."""
    suite = Path(dropins.__file__).parents[1]
    shutil.copytree(suite, folder / suite.name, ignore=UNSHIPPED)
    path = []
    for number, root in enumerate(root for root in dropins.ROOTS if root != suite / "dropins"):
        shipped = folder / f"root-{number}"
        path.append(shipped.name)
        for name in dropins.FOLDERS:
            if (root / name).is_dir():
                shutil.copytree(root / name, shipped / name, ignore=UNSHIPPED)
    return os.pathsep.join(path)


def here() -> Any:
    """The wish to be placed on the node of this process."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)


def _nodes() -> list[Mapping[str, float]]:
    """What each node that is alive has in all."""
    import ray

    return [node["Resources"] for node in ray.nodes() if node["Alive"]]
