"""What can go wrong between a backend and the gateway, and what each means for the caller."""

from __future__ import annotations

from ocpp_contract.ids import CommandId


class ClientError(Exception):
    """Base of everything that this package raises itself."""


class KafkaUnavailable(ClientError):
    """No broker answered, or the topic does not exist."""


class StoreUnavailable(ClientError):
    """Redis did not answer, or this client was made without it."""


class NotSent(ClientError):
    """The command is certainly not in Kafka; send it anew."""

    def __init__(self, command_id: CommandId, reason: str) -> None:
        super().__init__(f"command {command_id} was not sent: {reason}")
        self.command_id = command_id


class ProduceUnknown(ClientError):
    """Kafka did not say whether it has the command. Ask for its status, or send it again under the same id."""

    def __init__(self, command_id: CommandId, reason: str) -> None:
        super().__init__(f"command {command_id} may or may not have been sent: {reason}")
        self.command_id = command_id


class NoResult(ClientError, TimeoutError):
    """No final result within the time the caller was willing to wait; the command may still end. Ask for its status."""

    def __init__(self, command_id: CommandId, seconds: float) -> None:
        super().__init__(f"no final result of command {command_id} within {seconds:g} s")
        self.command_id = command_id
