"""Recognisers: each raises the operators of one family to terms."""
