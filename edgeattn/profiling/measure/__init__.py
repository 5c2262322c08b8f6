"""Measured traces, by runtime."""
