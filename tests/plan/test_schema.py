"""Checks that plans are read strictly and that every mistake is told by file and field."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from suite import SuiteError
from suite.plan import choices, narrowing, schema
from suite.registry.finder import discover
from suite.spec import label

LEAST = 'variants = ["lstm"]\ntasks = ["adding"]\n'


def written(folder: Path, text: str) -> str:
    file = folder / "mine.toml"
    file.write_text(text, encoding="utf-8")
    return str(file)


# Choices


@pytest.mark.parametrize(
    ("text", "name", "options"),
    [
        ("lstm", "lstm", {}),
        ("  lstm ", "lstm", {}),
        ("lstm()", "lstm", {}),
        ("residual(depth=3)", "residual", {"depth": 3}),
        ("a(x=0.5, y=-2, z=1e-3)", "a", {"x": 0.5, "y": -2, "z": 0.001}),
        ("a(x=true, y=false, z=True)", "a", {"x": True, "y": False, "z": "True"}),
        ("a(score=additive)", "a", {"score": "additive"}),
        ("a(score='additive', b=\"c\")", "a", {"score": "additive", "b": "c"}),
        ("a(depth=[1, 2], form=[a,b], c=3)", "a", {"depth": [1, 2], "form": ["a", "b"], "c": 3}),
        ("a(x=[true, 0.5])", "a", {"x": [True, 0.5]}),
    ],
)
def test_a_choice_is_a_name_with_options(text: str, name: str, options: dict[str, Any]) -> None:
    plan = choices.parse_choice(text)
    assert plan == {"name": name, "options": options}
    assert [type(value) for value in plan["options"].values()] == [type(value) for value in options.values()]


@pytest.mark.parametrize("text", ["", "a(", "a)", "a(b)", "a(=1)", "a(b=)", "a b", "a(b=1) c", "a(b=1,)"])
def test_a_choice_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not of the form"):
        choices.parse_choice(text)


def test_choices_part_at_outer_commas_only() -> None:
    plan = choices.parse_choices("lstm, residual(depth=[1,2], x=3),gru,")
    assert [(one["name"], one["options"]) for one in plan] == [("lstm", {}), ("residual", {"depth": [1, 2], "x": 3}), ("gru", {})]


names = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True).filter(lambda word: word not in {"true", "false", "nan", "inf", "infinity"})
values = st.booleans() | st.integers(-(10**6), 10**6) | st.floats(-10, 10).map(lambda value: float(f"{value:.3g}")) | names


@given(st.lists(st.tuples(names, st.dictionaries(names, values, max_size=3)), min_size=1, max_size=4))
def test_a_label_reads_back_as_the_choice(named: list[tuple[str, dict[str, Any]]]) -> None:
    text = ", ".join(label(name, options) for name, options in named)
    assert choices.parse_choices(text) == [{"name": name, "options": options} for name, options in named]


# Packaged plans


@pytest.mark.parametrize("name", schema.packaged())
def test_packaged_plans_load(name: str) -> None:
    plan = schema.load(name)
    assert plan.name == name
    assert plan == schema.load(str(schema.PACKAGED / f"{name}.toml"))


def test_the_plans_of_the_readme_are_packaged() -> None:
    assert {"quick", "full", "smoke"} <= set(schema.packaged())


@pytest.mark.parametrize("name", schema.packaged())
def test_a_plan_read_back_from_its_data_is_the_same(name: str) -> None:
    plan = schema.load(name)
    assert schema.check(plan.model_dump(), "again") == plan
    assert schema.check(plan.model_dump(mode="json"), "again") == plan


def test_defaults_and_short_forms(tmp_path: Path) -> None:
    plan = schema.load(
        written(tmp_path, 'variants = ["lstm", "residual(depth=[2,3])"]\ntasks = [{name="noisy", lengths=[5], options={form="b"}}]')
    )
    assert plan.name == "mine"
    assert [(one.name, one.options) for one in plan.variants] == [("lstm", {}), ("residual", {"depth": [2, 3]})]
    assert [(one.name, one.lengths, one.steps, one.options) for one in plan.tasks] == [("noisy", (5,), None, {"form": "b"})]
    assert (plan.seeds, plan.training.clip, plan.training.stop, plan.matching.rule) == ((0,), 1.0, "budget", "parameters")


def test_every_default_is_of_its_fields_type() -> None:
    """A default named in a file reads as the default itself, bit for bit; keys are made of it."""
    plan = schema.check(tomllib.loads(LEAST), "least")
    again = schema.check(plan.model_dump(mode="json"), "again")
    assert repr(again) == repr(plan)


# Mistakes


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (LEAST + "sedes = [1]", ["sedes", "unknown key", "did you mean 'seeds'?"]),
        (LEAST + "[training]\nlearning_rate = 0.1", ["training.learning_rate", "unknown key", "did you mean 'learning_rates'?"]),
        (LEAST + "[evaluations]\ncorruption = []", ["evaluations.corruption", "did you mean 'corruptions'?"]),
        (LEAST + "[timing]\nzzz = 1", ["timing.zzz", "unknown key", "repeats"]),
        (LEAST + "[limits]\ntime = 1.0", ["limits.time", "unknown key", "timeout"]),
        (LEAST + "[limits]\ntimeout = 0.0", ["limits.timeout", "greater than 0"]),
        (LEAST + "[limits]\nretries = -1", ["limits.retries", "greater than or equal to 0"]),
        (LEAST + "[matching]\nrule = 'flops'", ["matching.rule", "'parameters'", "'flops'"]),
        ('variants = ["lstm"]\ntasks = [{name="adding", length=[5]}]', ["tasks.0.length", "did you mean 'lengths'?"]),
        ('variants = [{name="lstm", option={}}]\ntasks = ["adding"]', ["variants.0.option", "did you mean 'options'?"]),
        ('tasks = ["adding"]', ["variants", "missing"]),
        ('variants = ["lstm"]', ["tasks", "missing"]),
        ('variants = []\ntasks = ["adding"]', ["variants", "at least one"]),
        ('variants = ["lstm(depth"]\ntasks = ["adding"]', ["variants.0", "not of the form"]),
        ('variants = "lstm"\ntasks = ["adding"]', ["variants", "lstm"]),
        (LEAST + "[training]\nsteps = 'many'", ["training.steps", "integer", "'many'"]),
        (LEAST + "[training]\nsteps = 1.5", ["training.steps", "1.5"]),
        (LEAST + "[training]\nsteps = 0", ["training.steps", "greater than or equal to 1", "0"]),
        (LEAST + "[training]\nsteps = true", ["training.steps", "integer", "True"]),
        (LEAST + "[training]\nclip = true", ["training.clip", "number", "True"]),
        (LEAST + "[training]\nclip = nan", ["training.clip", "finite"]),
        (LEAST + "[training]\nclip = inf", ["training.clip", "finite"]),
        (LEAST + "[training]\nlearning_rates = [inf]", ["training.learning_rates.0", "finite"]),
        (LEAST + "[training]\nlearning_rates = []", ["training.learning_rates", "at least one"]),
        (LEAST + "[training]\nlearning_rates = [0]", ["training.learning_rates.0", "greater than 0"]),
        (LEAST + "[training]\noptimizer = 'adamw'", ['training: optimizer = "adamw" and a weight_decay above 0 go together']),
        (LEAST + "[training]\nweight_decay = 0.1", ['training: optimizer = "adamw" and a weight_decay above 0 go together']),
        (LEAST + "[training]\nweight_decay = -0.1\noptimizer = 'adamw'", ["training.weight_decay", "greater than or equal to 0"]),
        (LEAST + "[training]\nwarmup = 9\nsteps = 9", ["training.warmup is 9, and the shortest training has 9 steps; it takes fewer"]),
        (LEAST + "[training]\nschedule = 'step'", ["training.schedule", "'constant' or 'cosine'"]),
        (LEAST + "[training]\noptimizer = 'lion'", ["training.optimizer", "'adam'", "'lion'"]),
        (LEAST + "[evaluations]\nlengths = [0.5]", ["evaluations.lengths.0", "greater than 1"]),
        (LEAST + "seeds = [-1]", ["seeds.0", "greater than or equal to 0"]),
        (LEAST + "seeds = [true]", ["seeds.0", "integer"]),
        (LEAST + "seeds = []", ["seeds", "at least one"]),
        ('variants = ["lstm"]\ntasks = [{name="adding", lengths=[]}]', ["tasks.0.lengths", "at least one"]),
        (LEAST + "[training]\nengine = 'vendr'", ["training.engine", "unknown engine 'vendr'; did you mean 'vendor'?"]),
        (LEAST + "seeds = [1, 2, 1]", ["seeds names a value twice"]),
        (LEAST + "[training]\nlearning_rates = [0.1, 0.1]", ["training.learning_rates names a value twice"]),
        (LEAST + "[timing]\nlengths = [5, 5]", ["timing.lengths names a value twice"]),
        (LEAST + "[evaluations]\nlengths = [2, 2.0]", ["evaluations.lengths names a value twice"]),
        (LEAST + "[evaluations]\ncorruptions = ['a', 'a']", ["evaluations.corruptions names a value twice"]),
        ('variants = ["lstm"]\ntasks = [{name="adding", lengths=[5, 5]}]', ["tasks.0.lengths names a value twice"]),
        ('variants = [{name="lstm", options={a={b=1}}}]\ntasks = ["adding"]', ["variants.0.options.a"]),
        ('variants = [{name="lstm", options={a=nan}}]\ntasks = ["adding"]', ["variants.0.options.a"]),
        (LEAST + 'name = "a/b"', ["name", "'a/b'", "folder"]),
        (LEAST + 'name = ".."', ["name", "'..'"]),
        (LEAST + "name = ''", ["name"]),
        ("variants = [", ["not valid TOML", "end of document"]),
    ],
)
def test_a_mistake_is_told_by_file_and_field(tmp_path: Path, text: str, words: list[str]) -> None:
    file = written(tmp_path, text)
    with pytest.raises(SuiteError) as caught:
        schema.load(file)
    message = str(caught.value)
    assert message.startswith(f"{file}: ")
    for word in words:
        assert word in message


def test_many_mistakes_are_counted(tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match=r"one: unknown key(.|\n)*two: unknown key.*\(and 2 more\)"):
        schema.load(written(tmp_path, LEAST + "one = 1\ntwo = 2\nthree = 3\nfour = 4\n"))


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(SuiteError, match=r"unknown plan 'quik'; did you mean 'quick'\?"):
        schema.load("quik")


@pytest.mark.parametrize("name", ["missing.toml", "folder/missing", "."])
def test_a_file_that_is_not_there_is_told(tmp_path: Path, name: str) -> None:
    with pytest.raises(SuiteError, match=r"No such file|unknown plan|Is a directory"):
        schema.load(str(tmp_path / name) if "." in name or "/" in name else name)


def test_a_file_that_is_not_text_is_told(tmp_path: Path) -> None:
    file = tmp_path / "binary.toml"
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SuiteError, match=r"binary\.toml: not valid TOML"):
        schema.load(str(file))


def test_a_plan_cannot_be_changed() -> None:
    plan = schema.load("smoke")
    with pytest.raises(ValueError, match="frozen"):
        plan.seeds = (1,)


def test_a_plan_made_in_python_is_checked_as_a_files() -> None:
    with pytest.raises(ValueError, match="names a folder"):
        schema.Plan(name="../up", variants=("lstm",), tasks=("adding",))  # type: ignore[arg-type]
    assert schema.Plan(variants=("lstm",), tasks=("adding",)).name == "plan"  # type: ignore[arg-type]


# Narrowing


def narrowed(text: str, **lists: Any) -> schema.Plan:
    return narrowing.narrow(schema.check(tomllib.loads(text), "mine"), schema.Request("mine", **lists), discover())


TWICE = """
variants = ["lstm"]
tasks = [
  { name = "noisy", lengths = [5], options = { form = "a" } },
  { name = "noisy", lengths = [9], steps = 7, options = { form = "b" } },
  { name = "adding", lengths = [6] },
]
"""


def entries(plan: schema.Plan) -> list[tuple[Any, ...]]:
    return [(task.name, task.lengths, task.steps, task.options) for task in plan.tasks]


def test_a_task_named_alone_keeps_all_entries_of_its_name() -> None:
    assert entries(narrowed(TWICE, tasks="noisy")) == [("noisy", (5,), None, {"form": "a"}), ("noisy", (9,), 7, {"form": "b"})]


def test_a_task_named_with_options_keeps_the_entry_with_the_same() -> None:
    assert entries(narrowed(TWICE, tasks="noisy(form=b),adding")) == [("noisy", (9,), 7, {"form": "b"}), ("adding", (6,), None, {})]
    assert entries(narrowed(TWICE, tasks="noisy(signal_steps=2)")) == [("noisy", (5,), None, {"signal_steps": 2})]


def test_a_task_the_plan_has_not_is_taken_as_it_is() -> None:
    assert entries(narrowed(TWICE, tasks="copy")) == [("copy", None, None, {})]


def test_seeds_are_counted_from_zero() -> None:
    assert narrowed(TWICE, seeds=3).seeds == (0, 1, 2)
    assert narrowed(TWICE, seeds=(4, 2)).seeds == (4, 2)
    with pytest.raises(SuiteError, match="seeds is 0; it takes at least 1"):
        narrowed(TWICE, seeds=0)


def test_a_request_reads_as_the_words_of_a_command() -> None:
    assert schema.Request("quick", "a,b", None, 3).lists == ["--variants", "a,b", "--seeds", "3"]
    assert schema.Request("quick", seeds=(0, 2)).lists == ["--seeds", "[0,2]"]


def test_a_task_named_with_a_default_option_keeps_its_own_entry() -> None:
    text = TWICE.replace(', options = { form = "a" }', "")
    assert entries(narrowed(text, tasks="noisy(form=a)")) == [("noisy", (5,), None, {"form": "a"})]


def test_a_number_that_is_too_long_is_a_word() -> None:
    assert choices.parse_value("9" * 400) == "9" * 400
