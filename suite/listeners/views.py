"""Saves two views of a plan's experiment in MLflow, and says at which address its runs are shown."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

KIND = "suite.kind"
"""A tag of each run: it shows a plan's invocation, a variant, or a trial."""

SCOREBOARD, DEGRADATION = "scoreboard", "degradation"

TAG = "mlflow.sharedViewState."
"""Begins the tag of an experiment that holds a view, of which MLflow's pages make a menu since 3.15; other versions leave it alone."""


def views(metrics: Iterable[str]) -> dict[str, str]:
    """The tags of an experiment that hold its views: what each variant is worth as bars, and the skill of trials under damage by variant.

    metrics: the axes that variants are compared on
    """
    board = _view(
        "What each variant is worth",
        searchFilter=f"tags.`{KIND}` = 'variant'",
        selectedColumns=[f"metrics.`{metric}`" for metric in metrics],
    )
    curves = _view(
        "Skill under damage and at other lengths",
        searchFilter=f"tags.`{KIND}` = 'trial'",
        selectedColumns=["params.`variant`", "params.`task`", "params.`length`", "metrics.`test/skill`"],
        groupBy={"aggregateFunction": "average", "groupByKeys": [{"mode": "param", "groupByData": "variant"}]},
    )
    return {TAG + SCOREBOARD: board, TAG + DEGRADATION: curves}


def _view(name: str, **state: Any) -> str:
    facets: Mapping[str, Any] = {
        "orderByKey": "attributes.start_time",
        "orderByAsc": False,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
    }
    return json.dumps({"name": name, "createdAt": 0, "state": json.dumps({**facets, **state})})


def address(server: str, experiment: str, view: str = "") -> str:
    """Where a server shows the runs of an experiment: as charts of a view, or as a list."""
    place = f"{server}/#/experiments/{experiment}/runs?workflowType=machine_learning"
    return f"{place}&compareRunsMode=CHART&viewStateShareKey={view}" if view else place
