"""Alphabets that the texts are written in."""
