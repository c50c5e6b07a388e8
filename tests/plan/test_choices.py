"""Checks that options expand, and that a wrong one is refused with what is allowed."""

from __future__ import annotations

import inspect
from typing import Any, Literal

import pytest

from suite import SuiteError
from suite.plan import choices
from suite.plan.choices import Choice, parse_seeds


def build(
    input_size: int, hidden_size: int, *, rate: float = 0.5, depth: int = 1, deep: bool = False, score: Literal["dot", "sum"] = "dot"
) -> Any: ...


OPTIONS = {name: one for name, one in inspect.signature(build, eval_str=True).parameters.items() if one.kind is one.KEYWORD_ONLY}


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({}, [{}]),
        ({"depth": 3}, [{"depth": 3}]),
        ({"rate": 2}, [{"rate": 2.0}]),
        ({"rate": 0.5, "depth": 1, "deep": False, "score": "dot"}, [{}]),
        ({"score": ["sum", "dot"], "depth": [1, 2]}, [{"score": "sum"}, {"depth": 2, "score": "sum"}, {}, {"depth": 2}]),
    ],
    ids=str,
)
def test_options_expand(options: dict[str, Any], wanted: list[dict[str, Any]]) -> None:
    planned = list(choices.expand(Choice(name="mine", options=options), OPTIONS, "variant"))
    assert repr(planned) == repr(wanted)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dept": 2}, "variant 'mine': unknown option 'dept'; did you mean 'depth'?"),
        ({"zzz": 2}, "variant 'mine': unknown option 'zzz'; there is deep, depth, rate, score"),
        ({"depth": "two"}, "variant 'mine': option depth: 'two' is str, not int"),
        ({"depth": 2.0}, "variant 'mine': option depth: 2.0 is float, not int"),
        ({"depth": True}, "variant 'mine': option depth: True is bool, not int"),
        ({"depth": [1, "2"]}, "variant 'mine': option depth: '2' is str, not int"),
        ({"deep": 1}, "variant 'mine': option deep: 1 is int, not bool"),
        ({"rate": True}, "variant 'mine': option rate: True is bool, not float"),
        ({"score": "cosine"}, "variant 'mine': option score: 'cosine' is not one of dot, sum"),
    ],
    ids=str,
)
def test_a_wrong_option_is_refused_with_what_is_allowed(options: dict[str, Any], message: str) -> None:
    with pytest.raises(SuiteError) as caught:
        list(choices.expand(Choice(name="mine", options=options), OPTIONS, "variant"))
    assert str(caught.value) == message


def test_a_literal_takes_its_members_alone() -> None:
    def build(*, k: Literal[1, 2] = 1) -> None: ...

    declared = dict(inspect.signature(build, eval_str=True).parameters)
    for value in (2.0, True, 3):
        with pytest.raises(SuiteError, match="is not one of 1, 2"):
            choices.checked({"k": value}, declared, "variant 'mine'")
    assert choices.checked({"k": 2}, declared, "variant 'mine'") == {"k": 2}


@pytest.mark.parametrize(
    ("asked", "seeds"),
    [(None, None), (3, 3), ("3", 3), ([0, 1, 2], 3), ("[0,2, 5]", (0, 2, 5)), ([2], (2,)), ("[2]", (2,)), (range(1, 3), (1, 2))],
)
def test_seeds_are_so_many_or_these(asked: Any, seeds: Any) -> None:
    assert parse_seeds(asked) == seeds


@pytest.mark.parametrize("asked", ["three", "[]", "[a]", "2.5", True, [True], [0, 1.5], []])
def test_other_seeds_are_refused(asked: Any) -> None:
    with pytest.raises(SuiteError, match="it takes how many there are to be, such as 3, or which"):
        parse_seeds(asked)
