"""Draws data, builds models and trains them."""
