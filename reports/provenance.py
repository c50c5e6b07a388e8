"""Says what the results come from: the plan, versions, hardware and plugins, and the command that makes them again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from suite import Listing, Prose, Results, Section, Table, hookimpl

if TYPE_CHECKING:
    from pandas import DataFrame

MARKS = {True: "yes", False: "no", None: "one device only"}


def draw(results: Results) -> Iterator[Prose | Table | Listing]:
    import pandas as pd

    provenance = results.provenance
    if provenance.command:
        yield Listing(provenance.command, "Made again by")
    else:
        yield Prose("The plan below was made in Python, and is run by `suite.run`.")
    if provenance.edited:
        yield Prose(f"⚑ The plan has since been edited in {', '.join(provenance.edited)}; the one behind these results is below.")
    yield Prose(
        "The same trial files give this page again, byte for byte. The same plan on a like machine (instruction set or GPU model, one thread, "
        "these versions) gives bit-identical learning results. Elsewhere results agree statistically, not to the bit. "
        "Times are measurements and differ from run to run."
    )
    machines = [machine.described() for machine in provenance.machines]
    if len(machines) > 1:
        yield Prose(
            f"⚑ The trials come from {len(machines)} different sets of machine, commit and versions: between them results agree only statistically."
        )
    if machines:
        yield Table(side_by_side(machines), "Machine and versions of the trials.")
    if provenance.grades:
        yield Table(
            grades(results),
            "How far each variant's numbers repeat on this device: whether two runs give the same bits, whether a row alone gives the bits it "
            "has in a batch, and whether CPU and GPU agree to 1e-5; and whether quick checks of the contract found what forbids comparing it.",
        )
    if provenance.accepted:
        accepted = pd.DataFrame(provenance.accepted.items(), columns=["Variant | task | length | seed | learning rate", "Why it stands"])
        yield Table(
            accepted, "⚑ Results accepted by hand: the code behind them has changed since they were made, and somebody says they stand."
        )
    yield Table(pd.DataFrame(flat(results.plan), columns=["Plan", "Value"]), "The plan as it was resolved, defaults included.")
    if provenance.sources:
        yield sources(provenance.sources)


def side_by_side(machines: Sequence[Mapping[str, str]]) -> DataFrame:
    """A row for each property and a column for each machine; where there are several, properties that differ are marked."""
    import pandas as pd

    rows = []
    for name in dict.fromkeys(name for machine in machines for name in machine):
        values = [machine.get(name, "–") for machine in machines]
        titles = ["machine"] if len(machines) == 1 else [f"machine {index}" for index in range(1, len(machines) + 1)]
        differs = {"differs": "⚑" if len(set(values)) > 1 else ""} if len(machines) > 1 else {}
        rows.append({"": name, **dict(zip(titles, values, strict=True)), **differs})
    return pd.DataFrame(rows)


def grades(results: Results) -> DataFrame:
    import pandas as pd

    return pd.DataFrame(
        {
            "Variant": name,
            "Run to run": "failed" if grade.failed else MARKS[grade.run_to_run],
            "Across batch sizes": "failed" if grade.failed else MARKS[grade.batch_sizes],
            "Across devices": "failed" if grade.failed else MARKS[grade.devices],
            "Contract": grade.unsound or ("–" if grade.failed else "sound"),
            "When interrupted": f"begins anew: {grade.unresumable}" if grade.unresumable else "–" if grade.failed else "goes on exactly",
        }
        for name, grade in results.provenance.grades.items()
    )


def sources(digests: Sequence[tuple[str, str]]) -> Table:
    import pandas as pd

    table = pd.DataFrame(digests, columns=["Source", "SHA-256"])
    repeated = table["Source"].duplicated(keep=False)
    table["Source"] = table["Source"].where(~repeated, "⚑ " + table["Source"])
    note = " ⚑ marks a source that trials used in more than one version." if repeated.any() else ""
    return Table(table, f"The files behind the learning results.{note}")


def flat(plan: Mapping[str, Any], place: str = "") -> Iterator[tuple[str, str]]:
    """The plan's fields and their values as text; a field of a table has a dotted name."""
    for name, value in plan.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{place}{name}.")
        elif name in {"variants", "tasks"}:
            for entry in value:
                details = {**entry["options"], "lengths": entry.get("lengths"), "steps": entry.get("steps")}
                yield name, entry["name"] + "".join(f"; {key} {text(detail)}" for key, detail in details.items() if detail is not None)
        else:
            yield f"{place}{name}", text(value)


def text(value: Any) -> str:
    if value is None or value == "":
        return "–"
    return ", ".join(map(text, value)) if isinstance(value, list | tuple) else f"{value:g}" if isinstance(value, float) else str(value)


@hookimpl
def suite_sections() -> Iterator[Section]:
    yield Section("provenance", "Provenance", draw, order=70, folded=True)
