"""`python -m deploy.render` writes every rendered manifest; `--check` writes nothing and names those that differ."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from deploy.render.files import FILES, text

ROOT = Path(__file__).resolve().parents[2]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m deploy.render", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; 1 where one differs")
    args = parser.parse_args()
    differing = [name for name in FILES if _read(ROOT / name) != text(name)]
    for name in differing:
        print(f"{name}: {'not as rendered' if args.check else 'written'}")
        if not args.check:
            (ROOT / name).write_text(text(name), encoding="utf-8")
    return 1 if args.check and differing else 0


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


if __name__ == "__main__":
    sys.exit(main())
