"""`python -m console`: the same as `yumai`."""

import sys

from console.commands import main

sys.exit(main())
