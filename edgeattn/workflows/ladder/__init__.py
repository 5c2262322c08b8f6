"""The parity ladder: a model rung by rung, from its source to its engine."""
