"""The base of every model that is read from a file a person wrote."""

from pydantic import BaseModel, ConfigDict


class Strict(BaseModel):
    """Frozen, and an unknown key is an error: a misspelt parameter must never be measured as its default."""

    model_config = ConfigDict(frozen=True, extra="forbid")
