"""Provides a variant, a task and a report section to recurrent-suite."""

suite_api = 1
