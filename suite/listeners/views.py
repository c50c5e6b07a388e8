"""Saves views of a plan's experiment in MLflow, and says at which address its runs are shown."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

KIND = "suite.kind"
"""A tag of each run: it shows a plan's invocation, a variant, or a trial."""

SCOREBOARD, DEGRADATION, OVERVIEW = "scoreboard", "degradation", "overview"

TAG = "mlflow.sharedViewState."
"""Begins the tag of an experiment that holds a view, of which MLflow's pages make a menu since 3.15; other versions leave it alone."""


def views(scores: Collection[str], curves: Collection[str]) -> dict[str, str]:
    """The tags of an experiment that hold its views: each invocation and variant with its scores, the scores as bars, and the curves of trials.

    scores: metrics of the variants, an axis each; curves: metrics of the trials, those that have one value among them
    Charts are named here, since MLflow else draws one for each metric of any run, of which a view has only some.
    """
    columns = [_metric(score) for score in scores]
    overview = _view(
        "Runs and variants",
        searchFilter=f"tags.`{KIND}` != 'trial'",
        selectedColumns=["attributes.`Source`", *columns],
        orderByKey=f"tags.`{KIND}`",  # the invocations before the variants
        orderByAsc=True,
    )
    board = _view(
        "What each variant is worth",
        searchFilter=f"tags.`{KIND}` = 'variant'",
        selectedColumns=columns,
        **_charts(dict.fromkeys(scores, BAR)),
    )
    lines = _view(
        "Skill under damage and at other lengths",
        searchFilter=f"tags.`{KIND}` = 'trial'",
        selectedColumns=[*(f"params.`{name}`" for name in ("variant", "task", "length")), _metric("test/skill")],
        groupBy={"aggregateFunction": "average", "groupByKeys": [{"mode": "param", "groupByData": "variant"}]},
        **_charts({curve: BAR if curve == "test/skill" else LINE for curve in curves}),
    )
    return {TAG + OVERVIEW: overview, TAG + SCOREBOARD: board, TAG + DEGRADATION: lines}


BAR: Mapping[str, Any] = {"type": "BAR"}

LINE: Mapping[str, Any] = {
    "type": "LINE",
    "xAxisKey": "step",
    "yAxisKey": "metric",
    "xAxisScaleType": "linear",
    "scaleType": "linear",
    "lineSmoothness": 0,
    "range": {},
    "selectedXAxisMetricKey": "",
    "yAxisExpressions": [],
    "ignoreOutliers": False,
    "useGlobalXaxisKey": True,
    "useGlobalLineSmoothing": True,
}
"""Charts as MLflow's pages keep them."""


MOST = 20
"""So many bars a chart has at most."""


def _metric(name: str) -> str:
    return f"metrics.`{name}`"


def _charts(kinds: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """A chart for each metric, in sections by the first part of their names."""
    sections = {metric: metric.partition("/")[0] if "/" in metric else "variants" for metric in kinds}
    charts = [
        {
            **kind,
            "uuid": metric,
            "metricKey": metric,
            "selectedMetricKeys": [metric],
            "displayName": metric,
            "metricSectionId": sections[metric],
            "runsCountToCompare": MOST,
            "deleted": False,
            "isGenerated": False,
        }
        for metric, kind in kinds.items()
    ]
    return {
        "compareRunCharts": charts,
        "compareRunSections": [
            {"uuid": name, "name": name, "display": True, "isReordered": True} for name in dict.fromkeys(sections.values())
        ],
        "isAccordionReordered": True,
        "hideEmptyCharts": True,
        "runsVisibilityMode": "SHOW_ALL",
    }


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


def address(server: str, experiment: str, view: str, *, charts: bool = False) -> str:
    """Where a server shows a view of an experiment, as charts or as a list."""
    mode = "&compareRunsMode=CHART" if charts else ""
    return f"{server}/#/experiments/{experiment}/runs?workflowType=machine_learning{mode}&viewStateShareKey={view}"
