"""The compiled pass at eight prices, which reads the model once for all of them.

The sums for eight prices are one vector (LLVM's ``<8 x double>``: one AVX-512 register, or two or four smaller ones).
This module adds the type to Numba. Eight scalar variables are slower, because the choice of an action is then an
unpredictable branch for each price. Products are rounded before they are added, as in
:mod:`selfreg_gym.solver.kernels`, so the results of both passes are equal to the bit.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic, models, register_model

from selfreg_gym.solver.compiling import compiled
from selfreg_gym.solver.modes import WIDTH

__all__ = ["aligned", "sweep_many"]

_BYTES = 8 * WIDTH
_EIGHT = ir.VectorType(ir.DoubleType(), WIDTH)
_LANES = ir.VectorType(ir.IntType(32), WIDTH)


def aligned(count: int) -> np.ndarray:
    """Return ``count`` uninitialised float64, aligned for vector reads."""
    raw = np.empty(count + WIDTH)
    skip = -raw.ctypes.data // 8 % WIDTH
    return raw[skip : skip + count]


class _Eight(types.Type):
    """Numba's type of eight float64."""


_eight = _Eight(name="eight_doubles")


@register_model(_Eight)
class _EightModel(models.PrimitiveModel):
    def __init__(self, manager, of):
        super().__init__(manager, of, _EIGHT)


def _broadcast(builder, number):
    """A vector of eight equal numbers."""
    undefined = ir.Constant(_EIGHT, ir.Undefined)
    first = builder.insert_element(undefined, number, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(first, undefined, ir.Constant(_LANES, [0] * WIDTH))


def _address(context, builder, array_type, array, at):
    """The address of ``array[at]``, as a pointer to eight numbers."""
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [at]), _EIGHT.as_pointer())


@intrinsic
def _filled(typing, number):
    """A vector of eight equal numbers."""
    return _eight(types.float64), lambda context, builder, signature, values: _broadcast(builder, *values)


@intrinsic
def _read(typing, array, at):
    """``array[at : at + 8]`` of an aligned flat array, ``at`` a multiple of 8."""

    def code(context, builder, signature, values):
        return builder.load(_address(context, builder, signature.args[0], *values), align=_BYTES)

    return _eight(array, types.uint64), code


@intrinsic
def _write(typing, array, at, eight):
    """``array[at : at + 8] = eight``."""

    def code(context, builder, signature, values):
        builder.store(values[2], _address(context, builder, signature.args[0], *values[:2]), align=_BYTES)
        return context.get_dummy_value()

    return types.void(array, types.uint64, _eight), code


@intrinsic
def _add_scaled(typing, total, factor, eight):
    """``total + factor * eight`` with two roundings."""

    def code(context, builder, signature, values):
        return builder.fadd(values[0], builder.fmul(_broadcast(builder, values[1]), values[2]))

    return _eight(_eight, types.float64, _eight), code


@intrinsic
def _net_value(typing, success, prices, usage):
    """``success - prices * usage``."""

    def code(context, builder, signature, values):
        return builder.fsub(values[0], builder.fmul(values[1], values[2]))

    return _eight(_eight, _eight, _eight), code


@intrinsic
def _difference(typing, left, right):
    """``left - right``."""
    return _eight(_eight, _eight), lambda context, builder, signature, values: builder.fsub(*values)


@intrinsic
def _choose(typing, gain, saved, eps, new, old):
    """``new`` where ``gain`` is above eps, or a tie and ``saved`` usage is above eps; else ``old``."""

    def code(context, builder, signature, values):
        gains, saves, tolerance, new, old = values
        above, below = _broadcast(builder, tolerance), _broadcast(builder, builder.fneg(tolerance))
        ties = builder.and_(builder.fcmp_ordered(">=", gains, below), builder.fcmp_ordered(">", saves, above))
        return builder.select(builder.or_(builder.fcmp_ordered(">", gains, above), ties), new, old)

    return _eight(_eight, _eight, types.float64, _eight, _eight), code


@compiled
def sweep_many(
    nodes, levels, actions, indptr, indices, data, drop, success, last_success, cost, prices, discount, eps, values
):  # fmt: skip
    """Solve a model without cycles at ``WIDTH`` prices; other arguments as in :mod:`selfreg_gym.solver.kernels`.

    ``values (n * 2 * WIDTH,)`` has, for each state, S at each price and then M at each price. ``prices`` and ``values``
    are aligned (:func:`aligned`).
    """
    width = np.uint64(WIDTH)
    price = _read(prices, np.uint64(0))
    for level in range(levels):
        offset = level * nodes
        ends_well = success if level > 0 else last_success
        for i in range(np.uint64(nodes)):
            row = i * np.uint64(actions)
            k = np.uint64(indptr[row])
            best_s = _filled(0.0)
            best_m = _filled(0.0)
            for a in range(actions):
                end = np.uint64(indptr[row + np.uint64(1)])
                s = _filled(0.0)
                m = _filled(0.0)
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
                    j *= np.uint64(2) * width
                    s = _add_scaled(s, p, _read(values, j))
                    m = _add_scaled(m, p, _read(values, j + width))
                c = cost[row]
                if c != np.inf:
                    s = _add_scaled(_filled(ends_well[row]), discount, s)
                    m = _add_scaled(_filled(c), discount, m)
                    if a == 0:
                        best_s, best_m = s, m
                    else:
                        gain = _difference(_net_value(s, price, m), _net_value(best_s, price, best_m))
                        saved = _difference(best_m, m)
                        best_s = _choose(gain, saved, eps, s, best_s)
                        best_m = _choose(gain, saved, eps, m, best_m)
                row += np.uint64(1)
            at = (np.uint64(offset) + i) * np.uint64(2) * width
            _write(values, at, best_s)
            _write(values, at + width, best_m)
