"""The base of what is written as JSON."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

SCHEMA_VERSION: Literal[1] = 1


class Frozen(BaseModel):
    """A value that is written as JSON; infinities and NaN are strings there."""

    model_config = ConfigDict(frozen=True, ser_json_inf_nan="strings")
