"""Decides which GPU each call computes on: one that has room for it, and that has not fallen over."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from .. import machine
from .populations import SHARE
from .warden import KILLED, UNWATCHED

FAULTS = ("CUDA error", "CUDA driver", "CUDA unknown error", "No CUDA GPUs are available", "CUBLAS_STATUS_", "CUDNN_STATUS_", "cuDNN error")
"""What torch says where a GPU, or the way to it, may be at fault; a plugin's own mistake may read the same."""

NO_MEMORY = ("can't allocate memory", "out of memory", "CUBLAS_STATUS_ALLOC_FAILED")
"""What torch says where memory was refused and the exception has no type of its own for that."""

BLAMED = 3
"""A GPU on which so many calls failed that another one then did is used no longer."""

TRIAL_SECONDS = 60.0
"""A GPU that has not added some numbers after so long hangs."""


def device_fault(text: str) -> str:
    """The line of what was said or printed that a GPU may be at fault for; empty where there is none."""
    lines = (line.strip() for line in text.splitlines())
    return next((line for line in lines if any(sign in line for sign in FAULTS) and not any(sign in line for sign in NO_MEMORY)), "")


def has_fallen_over(status: str, why: str) -> bool:
    """Whether a device that was tried out has fallen over, by how its process ended, if it did, and what was raised or is said of that.

    A try that found no memory, beside all that is at work, or whose process was ended from outside says nothing of the device.
    """
    return status != "oom" and not any(sign in why for sign in (*NO_MEMORY, KILLED, UNWATCHED))


@dataclass(frozen=True)
class Device:
    """Something that calls compute on.

    name: as a person names it; kind: as torch does in a process that sees it alone
    environment: the variables with which a new process does; memory: bytes that it has
    """

    name: str
    memory: int
    environment: Mapping[str, str] = field(default_factory=dict)
    kind: str = "cuda"


def devices(device: str, gpus: str) -> tuple[Device, ...]:
    """The GPUs that are named, or the one that is used where none is; none on a CPU, which calls share as they like."""
    if device == "cpu":
        return ()
    if not gpus:
        return (Device(device, machine.memory(device)),)
    memory = machine.memory(device)  # of all of them, since they are of one model
    return tuple(Device(f"cuda:{index}", memory, {"CUDA_VISIBLE_DEVICES": machine.visible(index)}) for index in machine.gpu_indices(gpus))


@dataclass(frozen=True)
class Placement:
    """The devices that can be used, and what is at work on each.

    places: how many calls one device does at once
    atwork: the device of each call that is at work, by its name, with the bytes that it is thought to need there
    blame: how many calls failed on a device that another one then did, by its name
    lost: why a device is used no longer, by its name
    """

    devices: tuple[Device, ...] = ()
    places: int = 1
    atwork: tuple[tuple[str, int], ...] = ()
    blame: Mapping[str, int] = field(default_factory=dict)
    lost: Mapping[str, str] = field(default_factory=dict)

    @property
    def usable(self) -> tuple[Device, ...]:
        return tuple(device for device in self.devices if device.name not in self.lost)

    def others(self, failed: Collection[str]) -> tuple[Device, ...]:
        """The devices that a call has not failed on yet."""
        return tuple(device for device in self.usable if device.name not in failed)

    def choice(self, needed: int, failed: Collection[str] = ()) -> Device | None:
        """The device for a call: of those with a free place and room for it the one with the least to do, then with the most room.

        A device without anything to do takes a call of any size, which could never begin elsewhere. None where a call has to wait.
        failed: those that the call has failed on, which are left alone as long as there is another one
        """
        candidates = [device for device in self.others(failed) or self.usable if self._takes(device, needed)]
        return min(candidates, key=lambda device: (self._count(device), -self._room(device)), default=None)

    def _takes(self, device: Device, needed: int) -> bool:
        count = self._count(device)
        return count == 0 or (count < self.places and self._room(device) >= needed)

    def _count(self, device: Device) -> int:
        return sum(name == device.name for name, _ in self.atwork)

    def _room(self, device: Device) -> int:
        return int(SHARE * device.memory) - sum(needed for name, needed in self.atwork if name == device.name)

    def begun(self, device: Device, needed: int) -> Placement:
        """With one more call at work on a device."""
        return replace(self, atwork=(*self.atwork, (device.name, needed)))

    def ended(self, device: Device, needed: int) -> Placement:
        """With one call less at work on a device."""
        atwork = list(self.atwork)
        atwork.remove((device.name, needed))
        return replace(self, atwork=tuple(atwork))

    def blaming(self, failed: Collection[str]) -> Placement:
        """After a device has done a call that these had failed to do; those that have failed too often are lost."""
        blame = {**self.blame, **{name: self.blame.get(name, 0) + 1 for name in failed}}
        reason = f"{BLAMED} calls failed on it that another GPU then did"
        lost = {name: reason for name in failed if blame[name] >= BLAMED and name not in self.lost}
        return replace(self, blame=blame, lost={**self.lost, **lost})

    def without(self, device: Device, reason: str) -> Placement:
        """Without a device that has fallen over."""
        return replace(self, lost={device.name: reason, **self.lost})


def try_out(kind: str) -> None:
    """Raises whatever torch does where the device of this process cannot add some numbers."""
    import torch

    ones = torch.ones(256, 256, device=kind)
    total = float((ones @ ones).sum())
    if total != 256.0**3:
        raise RuntimeError(f"it computes {total} where {256.0**3} is right")
