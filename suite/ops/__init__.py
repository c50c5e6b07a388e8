"""What variants build on: the scan over time, vendor kernels, initialisation, and the table of engines."""

from __future__ import annotations

from .engines import ENGINES, Engine
from .scan import initialise, scan
from .vendor import vendor_gru, vendor_lstm, vendor_rnn

__all__ = ["ENGINES", "Engine", "initialise", "scan", "vendor_gru", "vendor_lstm", "vendor_rnn"]
