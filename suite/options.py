"""Holds what several words of the command line share: arguments, options, how they speak, and how a plan is made ready."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import completion
from .errors import SuiteError
from .lines import COLUMNS, painted

if TYPE_CHECKING:
    from .execution.run import Work
    from .plan.schema import Request
    from .registry.registry import Registry
    from .spec import Value


def search_too(folders: list[Path] | None) -> list[Path] | None:
    """Let drop-ins be looked for in more folders; before any plugin is, and in workers too, since they inherit the environment."""
    for folder in folders or []:
        if not folder.is_dir():
            raise SuiteError(f"--path {folder}: no such folder")
    known = os.environ.get("SUITE_PATH", "").split(os.pathsep)
    more = [str(folder.resolve()) for folder in folders or []]
    if more:
        os.environ["SUITE_PATH"] = os.pathsep.join(dict.fromkeys([*more, *filter(None, known)]))
    return folders


PlanName = Annotated[
    str,
    typer.Argument(
        metavar="PLAN",
        help="A packaged plan's name (see `suite list plans`) or the path of a .toml file.",
        autocompletion=completion.plans,
    ),
]
Runs = Annotated[Path, typer.Option("--runs", metavar="DIR", help="Where results are kept.")]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
Devices = Annotated[
    str | None,
    typer.Option(metavar="cuda:0,cuda:1|all", help="GPUs of one model to train on; a population goes where there is room for it."),
]
Variants = Annotated[
    str | None, typer.Option(help="Variants instead of the plan's: a,b or name(option=value),c.", autocompletion=completion.variants)
]
Tasks = Annotated[
    str | None,
    typer.Option(help="Tasks instead of the plan's; those it has keep their lengths and steps.", autocompletion=completion.tasks),
]
Seeds = Annotated[
    str | None, typer.Option(metavar="N|[A,B,…]", help="Seeds instead of the plan's: so many from 0 on, or these in brackets.")
]
Where = Annotated[
    str | None,
    typer.Option("--executor", metavar="NAME", help="Where to train, as `suite list executors` names it: NAME or 'NAME(option=value)'."),
]
Checkpoint = Annotated[
    float | None, typer.Option(metavar="SECONDS", help="So often a training is kept, from where it goes on when interrupted.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
SearchPath = Annotated[
    list[Path] | None,
    typer.Option(
        "--path",
        metavar="DIR",
        help="A folder whose plugins/, tasks/ and reports/ are searched too, as on SUITE_PATH.",
        callback=search_too,
        is_eager=True,
    ),
]


def say(text: str = "") -> None:
    """Print a text; its colours are left out where there is no terminal, and where NO_COLOR is set."""
    typer.echo(text, color=False if os.environ.get("NO_COLOR") else None)


def say_table(table: Sequence[Sequence[str]]) -> None:
    """Print lines of fields under each other; with its columns as lines where it would be too wide."""
    widths = _widths(table)
    if sum(widths) + 2 * len(widths) > COLUMNS:
        table = [list(column) for column in zip(*table, strict=True)]
        widths = _widths(table)
    for line in table:
        say(painted("  ".join(field.ljust(width) for field, width in zip(line, widths, strict=True)).rstrip()))


def _widths(table: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(len, column)) for column in zip(*table, strict=True)]


def warn(text: str) -> None:
    typer.echo(f"warning: {text}", err=True)


def listener_options(settings: list[str] | None) -> dict[str, Value]:
    """``NAME=VALUE`` settings of listeners; on the command line a person watches, so progress is shown unless they say otherwise."""
    from .plan.choices import parse_value

    options: dict[str, Value] = {"progress": True}
    for setting in settings or []:
        name, equals, value = setting.partition("=")
        parsed = parse_value(value.strip())
        if not equals or not value.strip() or isinstance(parsed, list):
            raise SuiteError(f"--listen {setting}: it takes NAME=VALUE, such as track=false")
        options[name.strip()] = parsed
    return options


def journal_options(events: Path | None) -> dict[str, Value]:
    """The option of the listener that writes events, where a file is named, which is then tried."""
    if events is None:
        return {}
    from .listeners import journal

    journal.check(events)
    return {"events": str(events)}


def warn_of_broken(registry: Registry) -> None:
    for broken in registry.broken:
        warn(f"{broken.source}: {broken.reason}")
    for note in registry.notes:
        warn(note)


def request(plan: str, variants: str | None, tasks: str | None, seeds: str | None) -> Request:
    """What is asked for of a plan.

    Raises SuiteError for seeds that are none.
    """
    from .plan.choices import parse_seeds
    from .plan.schema import Request

    return Request(plan, variants, tasks, parse_seeds(seeds))


def prepared(
    plan: str,
    variants: str | None,
    tasks: str | None,
    seeds: str | None,
    runs: Path,
    device: str,
    executor: str | None = None,
    devices: str | None = None,
    **limits: float | None,
) -> Work:
    """The plan, or a part of it, made ready to run here; what is broken is told of, plugins and files of the store alike."""
    from . import api
    from .plan import schema
    from .registry.finder import discover

    loaded = schema.limited(schema.load(plan), executor, devices, **limits)
    warn_of_broken(discover())  # first, since it may be why something is not there
    work = api.prepare(loaded, runs, device, request(plan, variants, tasks, seeds))
    for fault in (*work.store.spoiled.values(), *api.complaints(work.registry)):
        warn(fault)
    return work
