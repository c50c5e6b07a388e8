"""Checks that the words of the documentation are those of the command line."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from typer.main import get_command

from suite import SuiteError, cli, proving

from ..test_keeping import said

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "proof.md").read_text()
COMMANDS = [line for block in re.findall(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL) for line in block.splitlines()]


@pytest.mark.parametrize("line", COMMANDS)
def test_the_commands_of_the_page_are_there_with_their_options(line: str) -> None:
    program, word, *rest = shlex.split(line)
    command = get_command(cli.app).commands[word]  # type: ignore[attr-defined]
    options = {option for parameter in command.params for option in parameter.opts}
    assert program == "suite"
    assert {each for each in rest if each.startswith("--")} <= options


def test_every_command_that_puts_to_the_proof_is_described() -> None:
    assert {f"suite {word.__name__}" for word in proving.WORDS} <= set(re.findall(r"suite \w+", PAGE))


def test_check_takes_a_name_or_the_reference() -> None:
    for words in ((), ("lstm", "--against-reference")):
        with pytest.raises(SuiteError, match="check: name a plugin, a file, a package or all; or say --against-reference, alone"):
            said("check", *words)
