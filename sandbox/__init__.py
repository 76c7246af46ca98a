"""Run one importable entry point under limits, in a fork of a warm interpreter inside namespaces.

Knows nothing of graders, courses or queues.
"""
