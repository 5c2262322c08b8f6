"""Profiling: traces, measured by a runtime or predicted, and what attributes them."""
