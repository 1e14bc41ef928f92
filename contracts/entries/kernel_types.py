"""How kernels are compiled: ahead, by signatures of these types, so that nothing compiles while somebody waits.

A kernel takes its arrays in groups, each a NamedTuple. Inside a group numba converts nothing: an array that the
signature says is read only has to be so (`read_only`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit, types
from numba.core.caching import FunctionCache


def kernel(signature: Any) -> Callable[[Any], Any]:
    """Compiles a function for this signature; its machine code is kept beside its file. It holds no GIL."""

    def compiled(function: Any) -> Any:
        compiler = njit(signature, nogil=True, cache=True)
        try:
            return compiler(function)
        except AttributeError:
            # What an earlier version kept names a group by a name that it has no more.
            FunctionCache(function).flush()
            return compiler(function)

    return compiled


def column(of: Any, dimensions: int = 1) -> Any:
    """An array that is read only, rows side by side."""
    return types.Array(of, dimensions, "C", readonly=True)


BYTES = UINT8 = column(types.uint8)
INT8 = column(types.int8)
INT16 = column(types.int16)
INT32 = column(types.int32)
INT64 = column(types.int64)
UINT32 = column(types.uint32)
UINT64 = column(types.uint64)
BOOL = column(types.boolean)
IDS = column(types.uint64, 2)
"""uint64[rows, 2]: 128-bit ids."""


def group(of: type, *members: Any) -> Any:
    """The type of a NamedTuple `of` with these types, in its order."""
    return types.BaseTuple.from_types(members, of)


def read_only(array: np.ndarray) -> np.ndarray:
    """The same memory, not to be written."""
    if not array.flags.writeable:
        return array
    view = array.view()
    view.flags.writeable = False
    return view
