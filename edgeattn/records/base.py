"""The base of what is written as JSON."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, model_serializer

SCHEMA_VERSION: Literal[1] = 1


class Frozen(BaseModel):
    """A value that is written as JSON; infinities and NaN are strings there."""

    model_config = ConfigDict(frozen=True, ser_json_inf_nan="strings")


class Ordered(Frozen):
    """A value that says in which order its fields are written, inherited ones too.

    Attributes:
        ORDER: The names of all fields, with spaces between.
    """

    ORDER: ClassVar[str]

    @model_serializer(mode="wrap")
    def _in_order(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        said = handler(self)
        return {name: said[name] for name in self.ORDER.split()}
