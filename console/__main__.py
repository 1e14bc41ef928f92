"""`python -m console`: the same as `yumai`."""

import sys

from console.cli import main

sys.exit(main())
