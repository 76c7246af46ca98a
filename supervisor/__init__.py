"""The service: configuration, the arbiter and its workers, journal, delivery, status, and the command line."""

__version__ = "0.1.0"
