"""The compiled pass at eight prices: the model is read once, the arithmetic is done for all of them.

Sixteen running sums have to stay in registers, so every one is a variable of its own: as an array the compiler keeps
them in memory, and the pass takes four times as long (measured).
"""

from __future__ import annotations

import numba
import numpy as np

__all__ = ["WIDTH", "sweep_many"]

WIDTH = 8
"""Prices per pass, a compile-time constant."""


@numba.njit(cache=True, nogil=True)
def sweep_many(
    nodes, levels, actions, indptr, indices, data, drop, success, last_success, cost, prices, discount, eps, values
):  # fmt: skip
    """Solve a model without cycles at ``WIDTH`` prices; ``values`` (n, 2 * WIDTH) holds their S, then their M."""
    r0, r1, r2, r3, r4, r5, r6, r7 = (
        prices[0],
        prices[1],
        prices[2],
        prices[3],
        prices[4],
        prices[5],
        prices[6],
        prices[7],
    )
    bs0 = bs1 = bs2 = bs3 = bs4 = bs5 = bs6 = bs7 = 0.0
    bm0 = bm1 = bm2 = bm3 = bm4 = bm5 = bm6 = bm7 = 0.0
    s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = 0.0
    m0 = m1 = m2 = m3 = m4 = m5 = m6 = m7 = 0.0
    for level in range(levels):
        offset = level * nodes
        ends_well = success if level > 0 else last_success
        for i in range(np.uint64(nodes)):
            at = np.uint64(offset) + i
            row = i * np.uint64(actions)
            k = np.uint64(indptr[row])
            for a in range(actions):
                end = np.uint64(indptr[row + np.uint64(1)])
                s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = 0.0
                m0 = m1 = m2 = m3 = m4 = m5 = m6 = m7 = 0.0
                while k < end:
                    p = data[k]
                    j = np.uint64(indices[k])
                    if drop is not None:
                        to = offset + np.int64(indices[k]) - np.int64(drop[k]) * nodes
                        k += np.uint64(1)
                        if to < 0:
                            continue
                        j = np.uint64(to)
                    else:
                        k += np.uint64(1)
                    s0 += p * values[j, 0]
                    s1 += p * values[j, 1]
                    s2 += p * values[j, 2]
                    s3 += p * values[j, 3]
                    s4 += p * values[j, 4]
                    s5 += p * values[j, 5]
                    s6 += p * values[j, 6]
                    s7 += p * values[j, 7]
                    m0 += p * values[j, 8]
                    m1 += p * values[j, 9]
                    m2 += p * values[j, 10]
                    m3 += p * values[j, 11]
                    m4 += p * values[j, 12]
                    m5 += p * values[j, 13]
                    m6 += p * values[j, 14]
                    m7 += p * values[j, 15]
                c = cost[row]
                q = ends_well[row]
                row += np.uint64(1)
                if c == np.inf:
                    continue
                s0, m0 = q + discount * s0, c + discount * m0
                gain = (s0 - r0 * m0) - (bs0 - r0 * bm0)
                if a == 0 or gain > eps or (gain >= -eps and bm0 - m0 > eps):
                    bs0, bm0 = s0, m0
                s1, m1 = q + discount * s1, c + discount * m1
                gain = (s1 - r1 * m1) - (bs1 - r1 * bm1)
                if a == 0 or gain > eps or (gain >= -eps and bm1 - m1 > eps):
                    bs1, bm1 = s1, m1
                s2, m2 = q + discount * s2, c + discount * m2
                gain = (s2 - r2 * m2) - (bs2 - r2 * bm2)
                if a == 0 or gain > eps or (gain >= -eps and bm2 - m2 > eps):
                    bs2, bm2 = s2, m2
                s3, m3 = q + discount * s3, c + discount * m3
                gain = (s3 - r3 * m3) - (bs3 - r3 * bm3)
                if a == 0 or gain > eps or (gain >= -eps and bm3 - m3 > eps):
                    bs3, bm3 = s3, m3
                s4, m4 = q + discount * s4, c + discount * m4
                gain = (s4 - r4 * m4) - (bs4 - r4 * bm4)
                if a == 0 or gain > eps or (gain >= -eps and bm4 - m4 > eps):
                    bs4, bm4 = s4, m4
                s5, m5 = q + discount * s5, c + discount * m5
                gain = (s5 - r5 * m5) - (bs5 - r5 * bm5)
                if a == 0 or gain > eps or (gain >= -eps and bm5 - m5 > eps):
                    bs5, bm5 = s5, m5
                s6, m6 = q + discount * s6, c + discount * m6
                gain = (s6 - r6 * m6) - (bs6 - r6 * bm6)
                if a == 0 or gain > eps or (gain >= -eps and bm6 - m6 > eps):
                    bs6, bm6 = s6, m6
                s7, m7 = q + discount * s7, c + discount * m7
                gain = (s7 - r7 * m7) - (bs7 - r7 * bm7)
                if a == 0 or gain > eps or (gain >= -eps and bm7 - m7 > eps):
                    bs7, bm7 = s7, m7
            values[at, 0], values[at, 8] = bs0, bm0
            values[at, 1], values[at, 9] = bs1, bm1
            values[at, 2], values[at, 10] = bs2, bm2
            values[at, 3], values[at, 11] = bs3, bm3
            values[at, 4], values[at, 12] = bs4, bm4
            values[at, 5], values[at, 13] = bs5, bm5
            values[at, 6], values[at, 14] = bs6, bm6
            values[at, 7], values[at, 15] = bs7, bm7
