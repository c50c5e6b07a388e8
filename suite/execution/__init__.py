"""Runs work in other processes."""
