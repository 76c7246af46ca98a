"""Source root of the import names that existing courses use; shown to graders inside the jail."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent
"""Folder to put on a jail's import path so that `import grader_support` works there."""
