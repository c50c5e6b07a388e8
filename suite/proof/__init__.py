"""Puts results to the proof: builds reports again, compares stores, trains trials again, and packs all that a stranger needs for that."""
