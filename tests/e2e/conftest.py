"""One Yumai a module, on ports that tests alone use."""

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.system import free_base
from tests.e2e.harness import Yumai, running

PORT_BASES = range(int(os.environ.get("YUMAI_E2E_PORT_BASE", "9300")), 9900, 100)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "chaos: kills processes at random")
    # A client whose broker is killed has much to say.
    logging.getLogger("kafka").setLevel(logging.CRITICAL)


def port_base() -> int:
    """The first hundred of which nothing that we need is taken."""
    return free_base(PORT_BASES)


@pytest.fixture(scope="module")
def yumai(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yumai]:
    state: Path = tmp_path_factory.mktemp("yumai")
    with running(state, port_base()) as system:
        yield system
