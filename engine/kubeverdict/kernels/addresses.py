"""From addresses to the intervals of address space that hold them.

Prefixes cut address space into intervals that no rule distinguishes. An interval is found through
its first address: for IPv4 with a two-level trie flattened into arrays (the upper 16 bits give a
short range of intervals, a binary search finishes), for IPv6 with a binary search over halves.
"""

from __future__ import annotations

import numpy as np

from kubeverdict.kernels.bits import first_at_least
from kubeverdict.kernels.jit import kernel, making_kernel


@making_kernel
def upper_index(bounds):
    """First level of the IPv4 trie: (65537,) int32, for each upper half the number of bounds
    below it. ``bounds`` (intervals,) uint32 ascending, the first is 0."""
    index = np.empty(65537, np.int32)
    at = 0
    for upper in range(65537):
        while at < bounds.size and np.int64(bounds[at]) < (np.int64(upper) << 16):
            at += 1
        index[upper] = at
    return index


@kernel
def find_ipv4(addresses, bounds, index, out):
    """``out[i]``: the interval of ``addresses[i]`` (uint32)."""
    for i in range(addresses.size):
        upper = np.int64(addresses[i]) >> 16
        wanted = np.int64(addresses[i]) + 1
        out[i] = first_at_least(bounds, index[upper], index[upper + 1], wanted) - 1


@kernel
def find_ipv6(addresses, bounds, out):
    """``out[i]``: the interval of ``addresses[i]``; both (n, 2) uint64, upper half first."""
    for i in range(addresses.shape[0]):
        upper = addresses[i, 0]
        lower = addresses[i, 1]
        low = 0
        high = bounds.shape[0]
        while low < high:
            middle = (low + high) >> 1
            above = bounds[middle, 0] > upper
            if above or (bounds[middle, 0] == upper and bounds[middle, 1] > lower):
                high = middle
            else:
                low = middle + 1
        out[i] = low - 1
