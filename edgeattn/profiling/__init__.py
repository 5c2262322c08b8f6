"""Profiling: traces, measured by a runtime or predicted, and the ledger that attributes them."""
