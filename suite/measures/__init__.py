"""Asks questions of trained models and of variants."""
