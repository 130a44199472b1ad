"""Processes that we start: they end when we end (`leash`), and are started again when they end (`supervisor`)."""
