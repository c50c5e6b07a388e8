"""Checks that the sections say what the results are, and no more than that."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path

import pytest

from suite import Listing, Prose, Results
from suite.check.imagined import even, fill
from suite.report import page
from suite.spec import Grade, Machine, Stale
from suite.store import frame

from .drawing import GRU, TIMES, age, answers, elements_of, mixed, nothing_learned, one_trial, section_of, tables_of, working, write

LSTM = "suite.dropins.plugins.lstm"


@pytest.fixture(autouse=True)
def _quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _file: None)


# The answer


def test_who_was_trained_under_damage_is_told(tmp_path: Path) -> None:
    store = fill(tmp_path)
    results = page.presentable(frame.read(store), working())
    training = {**results.plan["training"], "corruption": "gaussian_noise", "severity": 0.0}
    told = tables_of("answer", replace(results, plan={**results.plan, "training": training}))[-1].frame.iloc[-1, 1]
    assert isinstance(told, str)
    assert "All models were trained and validated under `gaussian_noise` at 0 dB SNR, where it is damage to their task." in told
    assert "trained and validated under" not in answers(store)["How far to trust it"]


def test_nothing_is_claimed_where_little_differs_or_pairs_are_few(tmp_path: Path) -> None:
    close = {"lstm": 0.0, "gru": 0.001, "bilstm": 0.05}
    said = answers(fill(tmp_path, lambda v, t, n, s: even(v, t, n, s) + close[v] * (s - 0.5), times=TIMES))
    assert (
        "Memory undecided (p = 1, 8 pairs in 4 cells; a difference of 0.00 would have been seen in four of five such plans)."
        in said["`gru`"]
    )
    assert "Robustness undecided" in said["`gru`"]
    assert not re.search(r"\b(best|ranked|significant\w*|wins?|leads?)\b", " ".join(said.values()).replace("best available", ""))
    assert "a p under 0.5, and is not judged by itself." in said["How far to trust it"]
    assert "Untuned: one learning rate, 0.01, for all." in said["How far to trust it"]


def test_what_differs_in_every_pair_is_said(tmp_path: Path) -> None:
    store = fill(
        tmp_path, lambda v, t, n, s: even(v, t, n, s) - 0.02 * (v == "lstm") - 0.01 * (v == "rnn"), variants=["lstm", "rnn", "gru"], seeds=5
    )
    said = answers(store)
    assert re.search(r"Remembers further \(p = [\d.e-]+, 20 pairs in 4 cells\)\.", said["`gru`"])
    worse = fill(tmp_path / "worse", lambda v, t, n, s: even(v, t, n, s) - 0.02 * (v == "gru"), variants=["lstm", "gru"], seeds=5)
    assert "Remembers less far (p = " in answers(worse)["`gru`"]


def test_speed_is_compared_within_an_engine_and_a_variant_that_is_not_causal_is_apart(tmp_path: Path) -> None:
    store = fill(tmp_path, times=TIMES)
    said = answers(store)
    assert said["`gru`"].startswith("Faster (reference 0.50); as fast, as far as can be told (best available 1.00). ")
    assert said["`bilstm †`"] == (
        "Robustness not comparable: it sees the future of the sequence. Memory not comparable: it sees the future of the sequence."
    )
    table = tables_of("answer", frame.read(store))[0].frame
    assert list(table.columns) == ["Variant", "time, reference engine", "time, best available", "robust", "remembers", "Worth it?"]
    assert list(map(str, table["time, reference engine"])) == ["▲ 0.50 (0.49–0.51)", "– 0.25"]


def test_a_plugin_that_solves_nothing_looks_neither_robust_nor_able(tmp_path: Path) -> None:
    store = nothing_learned(tmp_path)
    said, results = answers(store), frame.read(store)
    assert "Robustness not comparable: it has no trial that it solved. Memory not comparable: it has no trial with a score" in said["`gru`"]
    assert "Nobody solved adding, T\u00a0=\u00a010" in said["How far to trust it"]
    (prose,) = elements_of("robustness", results)
    assert isinstance(prose, Prose)
    assert "there is nothing to show for it" in prose.text
    board = tables_of("scoreboard", results)[0].frame
    assert set(board["Robustness"]) == {"not solved"}
    assert set(board["Solved"]) == {"0 of 8"}


# Stale, missing, failed


def test_stale_results_are_counted_and_what_changed_is_named(tmp_path: Path) -> None:
    said = answers(age(fill(tmp_path / "some", times=TIMES), GRU))
    assert (
        "8 results are left out, since suite.dropins.plugins.gru changed after they were made: run the plan again."
        in said["How far to trust it"]
    )
    assert "Memory not comparable: it has no trial with a score" in said["`gru`"]
    assert "missing" not in said["How far to trust it"]
    said = answers(age(one_trial(tmp_path / "one"), GRU))
    assert "No trial is finished." in said["How far to trust it"]
    assert (
        "1 result is left out, since suite.dropins.plugins.gru changed after it was made: run the plan again."
        in (said["How far to trust it"])
    )
    assert "left out" not in answers(fill(tmp_path / "none"))["How far to trust it"]


def test_stale_results_are_listed_with_what_changed(tmp_path: Path) -> None:
    results = frame.read(age(fill(tmp_path), GRU, LSTM))
    (table,) = tables_of("failures", results)
    assert table.caption.startswith("Results left out, since the code behind them changed after they were made: run the plan again")
    assert table.frame.shape == (16, 2)
    assert set(table.frame["Changed since"]) == {GRU, LSTM}
    assert "gru | adding | 10 | 0 | 0.01" in set(table.frame["Left out"])


def test_a_long_list_of_stale_results_is_cut(tmp_path: Path) -> None:
    results = frame.read(one_trial(tmp_path))
    many = tuple(Stale(f"cell {index}", ("a", "b", "c", "d", "e", "f", "g")) for index in range(300))
    results = replace(results, provenance=replace(results.provenance, stale=many))
    (table,) = tables_of("failures", results)
    assert len(table.frame) == 200
    assert table.caption.endswith(" The first 200 of 300.")
    table = tables_of("answer", results)[-1]
    assert "300 results are left out, since a, b, c, d, e and 2 more changed after they were made" in table.frame.to_string(
        max_colwidth=None, index=False
    )


def test_failures_are_listed_with_their_reasons(tmp_path: Path) -> None:
    text = section_of(write(mixed(tmp_path / "mixed")), "failures")
    assert "it was too warm" in text
    assert "<details><summary>it was too warm</summary><pre>Traceback\n  in a plugin" in text
    assert "Trials without a result" in text
    calm = section_of(write(one_trial(tmp_path / "calm")), "failures")
    assert "Nothing failed: 1 of 1 trials" in calm


def test_a_diverged_trial_has_no_skill_and_a_failed_one_no_say(tmp_path: Path) -> None:
    ways: dict[str, tuple[float | str | None, ...]] = {"lstm": (0.8, None), "gru": (0.8, "failed"), "bilstm": (0.8, 0.8)}
    results = frame.read(fill(tmp_path, lambda v, _task, _length, s: ways[v][s]))
    board = tables_of("scoreboard", results)[0].frame
    assert board.set_index("Variant")["Test skill"].to_dict() == {
        "lstm": "0.40 (0.00–0.80)",
        "gru": "0.80 (0.80–0.80)",
        "bilstm †": "0.80 (0.80–0.80)",
    }
    assert board["Lost"].tolist() == [4, 4, 0]
    assert board["Parameters"].tolist() == ["1,010", "1,100 ⚑", "1,010"]


def test_a_choice_at_the_edge_of_the_grid_is_flagged_and_no_choice_is_called_untuned(tmp_path: Path) -> None:
    tuned, untuned = (section_of(write(make(tmp_path / make.__name__)), "scoreboard") for make in (mixed, one_trial))
    assert "0.01 ⚑" in tuned
    assert "Untuned" not in tuned
    assert "Untuned: every variant was trained with the one learning rate 0.01" in untuned


# Provenance


@pytest.fixture
def results(tmp_path: Path) -> Results:
    return frame.read(one_trial(tmp_path))


def prose(results: Results, **changes: object) -> list[str]:
    """What the section says of provenance in which something is changed."""
    changed = replace(results, provenance=replace(results.provenance, **changes))  # type: ignore[arg-type]
    return [element.text for element in elements_of("provenance", changed) if isinstance(element, Prose)]


def test_the_command_is_shown_as_it_stands(results: Results) -> None:
    command = "suite run quick --seeds 1 --device cpu; suite run quick --device cpu"
    changed = replace(results, provenance=replace(results.provenance, command=command))
    assert elements_of("provenance", changed)[0] == Listing(command, "Made again by")
    assert prose(results, command="")[0] == "The plan below was made in Python, and is run by `suite.run`."


def test_a_plan_edited_since_is_flagged_with_its_fields(results: Results) -> None:
    assert not [text for text in prose(results) if "⚑" in text]
    flagged = [text for text in prose(results, edited=("training.steps", "timing.lengths")) if "⚑" in text]
    assert flagged == ["⚑ The plan has since been edited in training.steps, timing.lengths; the one behind these results is below."]


def test_machines_that_differ_are_flagged(results: Results) -> None:
    machine = results.provenance.machine
    machines = (machine, replace(machine, commit="def", packages={"torch": "2", "extra": "1"}))
    changed = replace(results, provenance=replace(results.provenance, machines=machines))
    assert any("2 different sets of machine" in text for text in prose(results, machines=machines))
    rows = {row[0]: row[1:] for row in tables_of("provenance", changed)[0].frame.itertuples(index=False, name=None)}
    assert rows["commit"] == ("abc", "def", "⚑")
    assert rows["extra"] == ("–", "1", "⚑")
    assert rows["python"] == ("3.11", "3.11", "")
    (alone,) = (table.frame for table in tables_of("provenance", results) if table.caption == "Machine and versions of the trials.")
    assert dict(alone.itertuples(index=False)) == Machine.described(machine)


def test_grades_are_shown_in_plain_terms(results: Results) -> None:
    grades = {"lstm": Grade(True, False), "gru": Grade(failed="it raised")}
    changed = replace(results, provenance=replace(results.provenance, grades=grades))
    (table,) = (table.frame for table in tables_of("provenance", changed) if table.caption.startswith("How far"))
    assert table.to_numpy().tolist() == [
        ["lstm", "yes", "no", "one device only", "sound", "goes on exactly"],
        ["gru", "failed", "failed", "failed", "–", "–"],
    ]


def test_the_plan_shows_options_that_are_off(results: Results) -> None:
    plan = {**results.plan, "variants": [{"name": "gru", "options": {"bias": False, "depth": 0}}]}
    (table,) = (table.frame for table in tables_of("provenance", replace(results, plan=plan)) if "Plan" in table.frame)
    assert ("variants", "gru; bias False; depth 0") in list(table.itertuples(index=False, name=None))


def test_a_source_in_two_versions_is_flagged(results: Results) -> None:
    changed = replace(results, provenance=replace(results.provenance, sources=(("a", "1"), ("a", "2"), ("b", "3"))))
    (table,) = (table for table in tables_of("provenance", changed) if "Source" in table.frame)
    assert table.frame["Source"].tolist() == ["⚑ a", "⚑ a", "b"]
    assert "more than one version" in table.caption
