"""Stands in for Slurm: `sbatch`, `srun`, `squeue`, `sacct`, `scancel` and `scontrol` over a folder, with the jobs as processes of this machine.

`python slurm_commands.py NAME …` does what NAME would; FAKE_SLURM names the folder, in which a file is written for each step of a job.
A file `limit` in it says how many jobs a user may have; one `recovers` has jobs that fail begun again, once, after a second as failed ones.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

FOLDER = Path(os.environ.get("FAKE_SLURM", "."))
PARTITIONS = ("cpu",)


def install(folder: Path) -> None:
    """Write the commands into a folder, to be put on PATH."""
    folder.mkdir()
    for name in ("sbatch", "srun", "squeue", "sacct", "scancel", "scontrol"):
        command = shlex.join([sys.executable, str(Path(__file__).resolve()), name])
        (folder / name).write_text(f'#!/bin/sh\nexec {command} "$@"\n')
        (folder / name).chmod(0o755)


def sbatch(words: list[str]) -> None:
    script = Path(words[-1]).read_text() if Path(words[-1]).is_file() else ""
    flags = dict(re.findall(r"--([\w-]+)=(\S+)", " ".join(words) + script))
    if flags.get("partition", "cpu") not in PARTITIONS:
        print(f"sbatch: error: invalid partition specified: {flags['partition']}", file=sys.stderr)
        sys.exit(1)
    if "--test-only" in words:
        return
    last, _, parallel = flags.get("array", "").removeprefix("0-").partition("%")
    if (FOLDER / "limit").exists() and len(at_work()) + int(last or 0) + 1 > int((FOLDER / "limit").read_text()):
        print("sbatch: error: QOSMaxSubmitJobPerUserLimit", file=sys.stderr)
        sys.exit(1)
    number = 100 + len(list(FOLDER.glob("*.sh")))
    (FOLDER / f"{number}.sh").write_text(script)
    for index in range(int(last) + 1) if last else [""]:
        state(f"{number}_{index}".rstrip("_"), "PENDING")
    command = [sys.executable, __file__, "slurmd", str(number), last, parallel]
    subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # whoever asks waits for no job
    print(f"Submitted batch job {number}")


def slurmd(words: list[str]) -> None:
    """Do the jobs of a script, so many at once."""
    number, last, parallel = words
    waiting = [f"{number}_{index}" for index in range(int(last) + 1)] if last else [number]
    atwork: dict[str, subprocess.Popen[bytes]] = {}
    while waiting or atwork:
        while waiting and len(atwork) < int(parallel or 1):
            job = waiting.pop(0)
            atwork[job] = begun(job)
        for job, process in list(atwork.items()):
            try:
                code = process.wait(0.05)
            except subprocess.TimeoutExpired:
                continue
            del atwork[job]
            if (FOLDER / f"{job}.requeue").exists():
                (FOLDER / f"{job}.requeue").unlink()
                waiting.append(job)
            elif (FOLDER / f"{job}.state").read_text() != "CANCELLED by 0":
                state(job, "FAILED" if code else "COMPLETED")
                if code and (FOLDER / "recovers").exists():
                    (FOLDER / "recovers").unlink()
                    time.sleep(1)
                    waiting.append(job)
                    state(job, "PENDING")


def begun(job: str) -> subprocess.Popen[bytes]:
    number, _, index = job.partition("_")
    array = {"SLURM_ARRAY_JOB_ID": number, "SLURM_ARRAY_TASK_ID": index} if index else {}
    process = subprocess.Popen(
        ["bash", str(FOLDER / f"{number}.sh")], env={**os.environ, "SLURM_JOB_ID": number, **array}, start_new_session=True
    )
    (FOLDER / f"{job}.pid").write_text(str(process.pid))
    state(job, "RUNNING")
    return process


def srun(words: list[str]) -> None:
    environment, streams = dict(os.environ), {}
    while words[0].startswith("--"):
        if words[0] in {"--output", "--error"}:
            place = words.pop(1).replace("%j", environment["SLURM_JOB_ID"]).replace("%t", "0")
            place = place.replace("%A", environment.get("SLURM_ARRAY_JOB_ID", "")).replace("%a", environment.get("SLURM_ARRAY_TASK_ID", ""))
            streams[{"--output": "stdout", "--error": "stderr"}[words[0]]] = open(place, "a")  # noqa: SIM115 -- for as long as this process
        words.pop(0)
    sys.exit(subprocess.run(words, env={**environment, "SLURM_NTASKS": "1"}, check=False, **streams).returncode)  # type: ignore[call-overload]


def state(job: str, word: str) -> None:
    partial = FOLDER / f"{job}.{os.getpid()}"
    partial.write_text(word)
    partial.replace(FOLDER / f"{job}.state")


def at_work() -> dict[str, str]:
    """The states of the jobs that wait or are at work."""
    states = {file.stem: file.read_text() for file in FOLDER.glob("*.state")}
    return {job: word for job, word in states.items() if word in {"PENDING", "RUNNING"}}


def squeue(words: list[str]) -> None:  # noqa: ARG001 -- all jobs are its user's
    for job, word in at_work().items():
        print(f"{job}|{word}")


def sacct(words: list[str]) -> None:
    print("JobID|State|NodeList")
    [asked] = [word.partition("=")[2].split(",") for word in words if word.startswith("--jobs=")]
    for file in sorted(FOLDER.glob("*.state")):
        if file.stem.partition("_")[0] in asked:
            print(f"{file.stem}|{file.read_text()}|node")


def scancel(words: list[str]) -> None:
    for file in FOLDER.glob("*.state"):
        if {file.stem, file.stem.partition("_")[0]} & set(words) and file.read_text() in {"PENDING", "RUNNING"}:
            state(file.stem, "CANCELLED by 0")
            pid = FOLDER / f"{file.stem}.pid"
            if pid.exists():
                subprocess.run(["kill", "-9", "--", f"-{pid.read_text()}"], check=False, stderr=subprocess.DEVNULL)


def scontrol(words: list[str]) -> None:
    (FOLDER / f"{words[-1]}.requeue").touch()
    state(words[-1], "REQUEUED")


if __name__ == "__main__":
    globals()[sys.argv[1]](sys.argv[2:])
