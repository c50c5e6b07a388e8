"""Keeps what was learned and measured, and reads it back."""
