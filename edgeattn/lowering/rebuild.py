"""A term over other arguments: how a rule that changes a part goes back up to the whole."""

from __future__ import annotations

from collections.abc import Sequence

from edgeattn.lowering.terms import Term, Terms


def rebuild(terms: Terms, like: Term, args: Sequence[Term]) -> Term | None:
    """Return a term of the same kind over other arguments, in normal form.

    Args:
        terms: Makes the terms.
        like: The term; it is what comes back where its arguments are the same.
        args: The arguments.

    Returns:
        The term; None where terms of its kind are not made anew.
    """
    if all(new is old for new, old in zip(args, like.args, strict=True)):
        return like
    match like.op:
        case "add":
            return terms.add(*args)
        case "mul":
            return terms.mul(*args)
        case "pow":
            return terms.pow(args[0], like.attrs)
        case "fn":
            return terms.fn(like.attrs[0], args[0], *like.attrs[1:])
        case "mean":
            return terms.mean(args[0], like.attrs)
        case "max":
            return terms.max(args[0], like.attrs)
        case "variance":
            return terms.variance(args[0], like.attrs)
        case "normalised":
            return terms.normalised(args[0], *like.attrs)
        case "softmax":
            return terms.softmax(args[0], like.attrs)
        case "linear":
            return terms.linear(args[0], like.attrs)
        case "stack":
            own = (*like.attrs, *(index for arg in args for index in arg.indices()))
            return terms.make("stack", args, like.attrs, own)
        case "centred" | "window" | "band":
            return terms.make(like.op, args, like.attrs, args[0].own)
        case "select":
            return terms.select(args[0], *like.attrs)
    return None
