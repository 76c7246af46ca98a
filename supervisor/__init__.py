"""The service: configuration, arbiter and workers, journal, delivery, status, and the command line."""

__version__ = "0.1.0"
