"""`python -m console.warm`: compiles what is compiled on import, so that the first start is as quick as any."""

from __future__ import annotations

import importlib

COMPILED = ("contracts.entries.version_1", "services.metrics.booking")


def main() -> None:
    for module in COMPILED:
        importlib.import_module(module)
    from services.ingest import app

    app.warm_up()


if __name__ == "__main__":
    main()
