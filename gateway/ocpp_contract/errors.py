"""What every decoder of the contract raises, so that a caller can name the field to a human."""

from __future__ import annotations


class ContractError(ValueError):
    """A value breaks the contract. ``field`` is a JSON path such as ``payload.connectorId`` ("" = the whole value)."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}" if field else reason)
        self.field = field
        self.reason = reason

    def under(self, parent: str) -> ContractError:
        """The same error seen from one level further out."""
        if not self.field:
            return ContractError(parent, self.reason)
        joint = "" if self.field.startswith("[") else "."
        return ContractError(f"{parent}{joint}{self.field}", self.reason)
