"""Tells listeners what happens in a run; the built-in ones stand here."""
