"""Reads the headers of Kafka's messages."""

from confluent_kafka import Message


def headers_of(message: Message) -> tuple[tuple[str, bytes], ...] | None:
    """Return a message's headers, an absent value as an empty one; None if the client cannot read them."""
    try:
        headers: list[tuple[str, bytes | None]] = message.headers()  # type: ignore[assignment]  # read as a list
    except (SystemError, UnicodeError):
        # To Kafka a header's name is bytes; confluent_kafka knows UTF-8 only. Never ask twice: the second answer
        # has a null pointer in it.
        return None
    return tuple((name, value or b"") for name, value in headers) if headers else ()
