"""Lowering: an ONNX model in, the same function in the form that a target runs best, out.

Recognisers raise decomposed subgraphs to semantic operations, targets write each of them in
their own form, and every rewrite is recorded. Imports neither torch nor a runtime.
"""
