"""Checks that what a plugin raises is kept whole, and that what is kept can be written."""

from __future__ import annotations

import pytest

from suite.errors import SuiteError, contained, nearest


@pytest.mark.parametrize("error", [RuntimeError("no\nsuch luck"), SystemExit(3), GeneratorExit(), MemoryError()])
def test_anything_a_plugin_raises_is_kept(error: BaseException) -> None:
    with contained() as raised:
        raise error
    assert raised.error is error
    assert raised.reason.startswith(type(error).__name__)
    assert "\n" not in raised.reason
    assert "Traceback" in raised.traceback


def test_nothing_raised_is_false_and_an_interrupt_passes() -> None:
    with contained() as raised:
        pass
    assert not raised
    assert raised.reason == ""
    with pytest.raises(KeyboardInterrupt), contained():
        raise KeyboardInterrupt


def test_a_suite_error_reads_as_it_stands() -> None:
    with contained() as raised:
        raise SuiteError("a.toml: mend it")
    assert raised.reason == "a.toml: mend it"


def test_half_a_surrogate_pair_can_be_written() -> None:
    with contained() as raised:
        raise RuntimeError("bad file \udc80")
    assert raised.reason.encode() == b"RuntimeError: bad file \\udc80"
    raised.traceback.encode()


def test_the_nearest_word_is_found_whatever_its_case() -> None:
    assert nearest("lstn", ["LSTM", "gru"]) == "; did you mean 'LSTM'?"
    assert nearest("zzz", ["b", "a"]) == "; there is a, b"
    assert nearest("zzz", []) == ""
