"""Precision: which tensors may be half or int8, and the model that is written so."""
