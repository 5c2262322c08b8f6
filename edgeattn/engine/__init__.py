"""Engines: building them, reading their layer information, running them."""
