"""`yumai simulate`: the simulated city as files or requests."""

from __future__ import annotations

from typing import Any


def register(subparsers: Any) -> None:
    """Adds the command to `yumai`; the generator itself is imported only when it runs."""
    from console.simulate import command

    command.register(subparsers)
