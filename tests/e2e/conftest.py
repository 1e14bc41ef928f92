"""One Yumai a module, on ports that tests alone use."""

import logging
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.harness import Yumai, running

PORT_BASES = range(int(os.environ.get("YUMAI_E2E_PORT_BASE", "9300")), 9900, 100)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "chaos: kills processes at random")
    # A client whose broker is killed has much to say.
    logging.getLogger("kafka").setLevel(logging.CRITICAL)


def _free(port: int) -> bool:
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def port_base() -> int:
    """The first hundred of which nothing that we need is taken."""
    needed = (0, 1, 2, 3, 4, 5, 6, 11, 12, 41)
    return next(base for base in PORT_BASES if all(_free(base + n) for n in needed))


@pytest.fixture(scope="module")
def yumai(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yumai]:
    state: Path = tmp_path_factory.mktemp("yumai")
    with running(state, port_base()) as system:
        yield system
