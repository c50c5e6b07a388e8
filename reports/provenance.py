"""Says what the results come from: the plan, versions, hardware and plugins, and the command that makes them again."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from suite import Prose, Results, Section, Table, hookimpl


def draw(results: Results) -> Iterator[Prose | Table]:
    import pandas as pd

    machines, digests = results.provenance["machines"], results.provenance["digests"]
    packaged = results.provenance.get("packaged") or results.plan
    yield Prose(f"Made again by `{command(results, packaged)}`")
    lists = {"variants", "tasks", "seeds"}
    if any(packaged[name] != results.plan[name] for name in packaged if name not in lists):
        yield Prose(
            f"⚑ The plan '{results.plan['name']}' that comes with the suite now differs from the one behind these results, which is below."
        )
    yield Prose(
        "The same trial files give this page again, byte for byte. The same plan on a like machine (instruction set or GPU model, one thread, "
        "these versions) gives bit-identical learning results. Elsewhere results agree statistically, not to the bit. "
        "Times are measurements and differ from run to run."
    )
    if len(machines) > 1:
        yield Prose(
            f"⚑ The trials come from {len(machines)} different sets of machine, commit and versions: between them results agree only statistically."
        )
    names = list(dict.fromkeys(name for one in machines for name in one))
    columns = {"machine" if len(machines) == 1 else f"machine {index}": one for index, one in enumerate(machines, 1)}
    rows = [{"": name, **{title: one.get(name, "–") for title, one in columns.items()}} for name in names]
    if len(machines) > 1:
        rows = [{**row, "differs": "⚑" if len({one.get(row[""]) for one in machines}) > 1 else ""} for row in rows]
    if rows:
        yield Table(pd.DataFrame(rows), "Machine and versions of the trials.")
    grades = results.provenance["grades"]
    if grades:
        columns = {"run_to_run": "Run to run", "batch_sizes": "Across batch sizes", "devices": "Across devices"}
        marks = {True: "yes", False: "no", None: "one device only"}
        rows = [
            {"Variant": name, **{title: "failed" if "failed" in one else marks[one[key]] for key, title in columns.items()}}
            for name, one in grades.items()
        ]
        yield Table(
            pd.DataFrame(rows),
            "How far each variant's numbers repeat on this device: whether two runs give the same bits, whether a row alone gives the bits it "
            "has in a batch, and whether CPU and GPU agree to 1e-5.",
        )
    yield Table(pd.DataFrame(flat(results.plan), columns=["Plan", "Value"]), "The plan as it was resolved, defaults included.")
    if digests:
        table = pd.DataFrame(digests)
        twice = table["source"].duplicated(keep=False)
        table["source"] = table["source"].where(~twice, "⚑ " + table["source"])
        note = " ⚑ marks a source that trials used in more than one version." if twice.any() else ""
        yield Table(table.rename(columns={"source": "Source", "sha256": "SHA-256"}), f"The files behind the learning results.{note}")


def command(results: Results, packaged: Mapping[str, Any]) -> str:
    """The command line; lists are named where the trials are not those of the packaged plan."""
    plan, trials = results.plan, results.trials
    words = ["suite", "run", plan["name"] if packaged is not plan else f"{plan['name']}.toml"]
    for field, column in (("variants", "variant"), ("tasks", "task")):
        labels = list(dict.fromkeys(trials[column]))
        now, then = ([(one["name"], one["options"]) for one in one_plan[field]] for one_plan in (plan, packaged))
        if labels and (now != then or {label.partition("(")[0] for label in labels} != {name for name, _ in then}):
            words += [f"--{field}", ",".join(labels)]
    seeds = sorted(set(map(int, trials["seed"])))
    if seeds and seeds != sorted(packaged["seeds"]) and seeds == list(range(len(seeds))):
        words += ["--seeds", str(len(seeds))]
    return shlex.join([*words, "--device", results.provenance["device"]])


def flat(plan: Mapping[str, Any], place: str = "") -> Iterator[tuple[str, str]]:
    """The plan's leaves as (dotted name, text)."""
    for name, value in plan.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{place}{name}.")
        elif name in {"variants", "tasks"}:
            for one in value:
                details = {
                    key: entry
                    for key, entry in {**one["options"], "lengths": one.get("lengths"), "steps": one.get("steps")}.items()
                    if entry
                }
                yield name, one["name"] + "".join(f"; {key} {text(entry)}" for key, entry in details.items())
        else:
            yield f"{place}{name}", text(value)


def text(value: Any) -> str:
    return ", ".join(map(text, value)) if isinstance(value, list | tuple) else f"{value:g}" if isinstance(value, float) else str(value)


@hookimpl
def suite_sections() -> Iterator[Section]:
    yield Section("provenance", "Provenance", draw, order=70)
