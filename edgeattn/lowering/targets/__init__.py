"""Targets: each writes terms in the form that is best on one runtime."""
