"""What is in a dead letter, and what a retry of it would send. Lists of them are the view's."""

from collections.abc import Mapping
from typing import Any

from halter.client.dead_letters import (
    CannotRetry,
    DeadLetterRead,
    command_of,
    corrected,
    read_dead_letter,
    record_to_send,
)
from halter.console.readings_kafka import KafkaReadings
from halter.show.dead_letters import fields_of, letter_data
from processors.fold.inputs import InputCommand


class DeadLetterReadings:
    """Reads dead letters for one console."""

    def __init__(self, kafka: KafkaReadings) -> None:
        """`kafka`: how the topic is reached."""
        self._kafka = kafka

    def dead_letter_record(self, partition: int, offset: int, *, unmask: bool = False) -> dict[str, Any]:
        """Return what is in a dead letter (`halter dead-letters show --json`); the view knows its retries.

        Raises NoDeadLetter.
        """
        with self._kafka.turns.turn():
            letter, command = self._letter(partition, offset)
        told = letter_data(letter, command, None, unmask=unmask)
        del told["retried"]
        return told

    def record_to_retry(self, partition: int, offset: int, corrections: Mapping[str, Any]) -> dict[str, Any]:
        """Return the record that a retry would send: its name and its fields, those that are corrected in the clear.

        Raises NoDeadLetter and CannotRetry.
        """
        with self._kafka.turns.turn():
            letter, command = self._letter(partition, offset)
            if corrections:
                if command is None:
                    raise CannotRetry(
                        f"the bytes of dead letter {letter.name} are no record that has fields to correct"
                    )
                command = corrected(command, corrections)
            if self._kafka.settings.letters is None:
                record_to_send(self._kafka.client(), letter, command if corrections else None)
        if command is None:
            return {"record": None, "bytes": len(letter.value or b"")}
        return {"record": type(command).__name__, "fields": fields_of(command, corrections.keys())}

    def _letter(self, partition: int, offset: int) -> tuple[DeadLetterRead, InputCommand | None]:
        if self._kafka.settings.letters is not None:
            return self._kafka.settings.letters(partition, offset)
        client = self._kafka.client()
        self._kafka.reach(client)
        letter = read_dead_letter(client, partition, offset)
        return letter, command_of(client, letter)
