"""Write a model at exactly the opset asked, or say which node forbids it."""

from __future__ import annotations

from edgeattn.legalise.driver import OLDEST_TARGET, Legalised, legalise, take_up, taken_up

__all__ = ["OLDEST_TARGET", "Legalised", "legalise", "take_up", "taken_up"]
