"""Reads plans and turns them into trials, timings and gradings."""
