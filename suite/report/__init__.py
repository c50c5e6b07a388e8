"""Writes the report: the verdict, the statistics, the figures and the page."""
