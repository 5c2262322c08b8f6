"""Predicted traces, by kind of device."""
