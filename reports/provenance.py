"""Says what the results come from: the plan, versions, hardware and plugins, and the command that makes them again."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from suite import Prose, Results, Section, SuiteError, Table, hookimpl


def draw(results: Results) -> Iterator[Prose | Table]:
    import pandas as pd

    machines, digests = results.provenance["machines"], results.provenance["digests"]
    yield Prose(f"Made again by `{command(results)}`")
    yield Prose(
        "The same trial files give this page again, byte for byte. The same plan on a like machine (instruction set or GPU model, one thread, "
        "these versions) gives bit-identical learning results. Elsewhere results agree statistically, not to the bit. "
        "Times are measurements and differ from run to run."
    )
    if len(machines) > 1:
        yield Prose(f"⚑ The trials come from {len(machines)} different sets of machine, commit and versions: between them results agree only statistically.")
    names = list(dict.fromkeys(name for one in machines for name in one))
    columns = {"machine" if len(machines) == 1 else f"machine {index}": one for index, one in enumerate(machines, 1)}
    rows = [{"": name, **{title: one.get(name, "–") for title, one in columns.items()}} for name in names]
    if len(machines) > 1:
        rows = [{**row, "differs": "⚑" if len({one.get(row[""]) for one in machines}) > 1 else ""} for row in rows]
    if rows:
        yield Table(pd.DataFrame(rows), "Machine and versions of the trials.")
    yield Table(pd.DataFrame(flat(results.plan), columns=["Plan", "Value"]), "The plan as it was resolved, defaults included.")
    if digests:
        table = pd.DataFrame(digests)
        twice = table["source"].duplicated(keep=False)
        table["source"] = table["source"].where(~twice, "⚑ " + table["source"])
        note = " ⚑ marks a source that trials used in more than one version." if twice.any() else ""
        yield Table(table.rename(columns={"source": "Source", "sha256": "SHA-256"}), f"The files behind the learning results.{note}")


def command(results: Results) -> str:
    """The command line; lists are named where the trials are not those of the packaged plan."""
    from suite import plan as plans

    plan, trials = results.plan, results.trials
    words = ["suite", "run"]
    try:
        packaged: dict[str, Any] = plans.load(plan["name"]).model_dump(mode="json") if plan["name"] in plans.packaged() else {}
    except SuiteError:
        packaged = {}
    words.append(plan["name"] if packaged else f"{plan['name']}.toml")
    original = packaged or plan
    for field, column in (("variants", "variant"), ("tasks", "task")):
        labels = list(dict.fromkeys(trials[column]))
        names = {one["name"] for one in original[field]}
        if plan[field] != original[field] or {label.partition("(")[0] for label in labels} - names:
            words += [f"--{field}", ",".join(labels)]
    seeds = sorted(set(map(int, trials["seed"])))
    if seeds and seeds != sorted(original["seeds"]) and seeds == list(range(len(seeds))):
        words += ["--seeds", str(len(seeds))]
    return shlex.join([*words, "--device", results.provenance["device"]])


def flat(plan: Mapping[str, Any], place: str = "") -> Iterator[tuple[str, str]]:
    """The plan's leaves as (dotted name, text)."""
    for name, value in plan.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{place}{name}.")
        elif name in {"variants", "tasks"}:
            for one in value:
                details = {key: entry for key, entry in {**one["options"], "lengths": one.get("lengths"), "steps": one.get("steps")}.items() if entry}
                yield name, one["name"] + "".join(f"; {key} {text(entry)}" for key, entry in details.items())
        else:
            yield f"{place}{name}", text(value)


def text(value: Any) -> str:
    return ", ".join(map(text, value)) if isinstance(value, list | tuple) else f"{value:g}" if isinstance(value, float) else str(value)


@hookimpl
def suite_sections() -> Iterator[Section]:
    yield Section("provenance", "Provenance", draw, order=70)
