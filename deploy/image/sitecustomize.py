"""Numba reads compiled loops only from a folder that it can write to; the image's own can't be: a copy in /tmp."""

import contextlib
import os
import shutil
import tempfile

BUILT = "/opt/yumai/numba"

if os.environ.get("NUMBA_CACHE_DIR") == BUILT and not os.access(BUILT, os.W_OK):
    mine = os.path.join(tempfile.gettempdir(), "yumai-numba")
    if not os.path.isdir(mine):
        part = tempfile.mkdtemp(prefix="yumai-numba-")
        shutil.copytree(BUILT, part, dirs_exist_ok=True)
        with contextlib.suppress(OSError):  # another process of this container was first
            os.rename(part, mine)
    os.environ["NUMBA_CACHE_DIR"] = mine
