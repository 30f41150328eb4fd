"""The error that ends a command."""

from __future__ import annotations


class Failure(Exception):
    """A command cannot go on; the text says why and what to do. Exit code 1."""
