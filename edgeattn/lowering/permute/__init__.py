"""Channel permutations as a dataflow pass: each moves to where it costs nothing."""

from edgeattn.lowering.permute.fold import fold_permutations

__all__ = ["fold_permutations"]
