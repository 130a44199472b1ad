"""Moved to `processors.kafka.settings` in 0.2.0. This name works until 0.3.0 and warns."""

import warnings

from processors.kafka.errors import KafkaUnavailable, SettingsError
from processors.kafka.settings import Settings

__all__ = ["KafkaUnavailable", "Settings", "SettingsError"]

warnings.warn(
    "processors.settings is now processors.kafka.settings, and halter.client has Settings; the old name goes in 0.3.0",
    DeprecationWarning,
    stacklevel=2,
)
