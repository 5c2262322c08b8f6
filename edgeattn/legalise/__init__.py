"""Write a model at exactly the opset asked, or say which node forbids it."""

from __future__ import annotations

from edgeattn.legalise.driver import Legalised, Rewrite, legalise

__all__ = ["Legalised", "Rewrite", "legalise"]
