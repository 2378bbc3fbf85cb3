"""What a net asks of a batch: x of its shape and dtype, and t as its output wants it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from ..arrays import Array, all_finite, is_kind, item_bytes
from ..backend.placement import Placement
from ..losses import index_rows, one_hot
from .definition import Definition

# The labels of a data set are kept as one-hot rows up to this many bytes.
ROWS_BYTES = 16 * 2**20


@dataclass(frozen=True)
class Batch:
    """The checks of x and t for a net, at a placement.

    The arrays of a net on a GPU, or rows that are still on the host: what is asked is the same.

    Parameters
    ----------
    definition : Definition
    placement : Placement
    """

    definition: Definition
    placement: Placement

    @property
    def outputs(self) -> int:
        """The numbers in a row of the net's output."""
        return self.definition.widths[-1]

    def checked(self, x: Array, t: Array, *, training: bool = False) -> tuple[Array, Array]:
        """Return a batch as floats, and its target as rows of the outputs' shape, or raise.

        `training`: it must have as many rows as the layers need then.
        """
        x = self.checked_input(x)
        if training:
            self.definition.refuse_rows(x.shape[0], "a batch")
        t = self.checked_target(t, x.shape[0])
        return x, self.target_rows(t)

    def checked_data(self, x: Array, t: Array) -> tuple[Array, Array]:
        """Return a whole data set in the net's dtype, or raise; waits to read the values.

        Class indices become one-hot rows where these are small: a step then gathers its rows
        and need not make them.
        """
        with self.placement._quietly():
            x = self.checked_input(x, read=True)
            t = self.checked_target(t, x.shape[0], read=True)
            small = x.shape[0] * self.outputs * item_bytes(x) <= ROWS_BYTES
            return x, self.target_rows(t) if small else t

    def checked_input(self, x: Array, *, read: bool = False) -> Array:
        """Return `x` in the net's dtype, or raise; `read` looks at the values on any device."""
        self.placement._check(x, "x")
        self.refuse_input(x.dtype, tuple(x.shape))
        xp = self.placement.xp
        if (read or self.placement._readable(x)) and not all_finite(xp, x, self.placement.dtype):
            raise ValueError(
                "x has values that are not finite (NaN or infinity), or not as "
                f"{self.placement.dtype_name}"
            )
        return xp.astype(x, self.placement.dtype, copy=False)

    def refuse_input(self, dtype: Any, shape: tuple[int, ...]) -> None:
        """Raise where an array of this dtype and shape is no batch for this net."""
        if not is_kind(self.placement.xp, dtype, "real floating"):
            raise TypeError(
                f"x has dtype {dtype}; expected floating-point values: scale images to [0, 1] "
                "first, for example xp.astype(x, xp.float32) / 255"
            )
        wanted = self.definition.input_shape
        if shape[1:] != wanted or len(shape) != 1 + len(wanted):
            expected = f"x must have shape (n, {', '.join(map(str, wanted))}), not {shape}"
            if len(shape) > 1 and math.prod(shape[1:]) == math.prod(wanted):
                sizes = ", ".join(map(str, wanted))
                expected += f": reshape it, xp.reshape(x, (x.shape[0], {sizes}))"
            raise ValueError(expected)
        if shape[0] == 0:
            raise ValueError("x is an empty batch: it has no rows")

    def holds_indices(self, dtype: Any, shape: tuple[int, ...], n: int) -> bool:
        """Return whether a target of this kind is class indices, not rows; or raise."""
        xp, outputs = self.placement.xp, self.outputs
        column = outputs == 1 and not self.definition.output.sums_to_one  # (n,) stands for (n, 1)
        expected = f"class indices (integers) of shape ({n},) or rows of shape ({n}, {outputs})"
        if getattr(dtype, "kind", "") in ("U", "S", "O", "T"):  # NumPy's, of words
            raise TypeError(
                f"t has dtype {dtype}; expected {expected}: number words by names, t = "
                "numpy.unique(t, return_inverse=True), or use xpnet.sklearn, which does so itself"
            )
        indices = not column and is_kind(xp, dtype, "integral") and len(shape) == 1
        if shape != (n, outputs) and not (shape == (n,) and (indices or column)):
            raise ValueError(f"t must be {expected}; it is {dtype} of shape {shape}")
        if not is_kind(xp, dtype, ("bool", "integral", "real floating")):
            raise TypeError(f"t has dtype {dtype}; expected {expected}")
        return indices

    def checked_target(self, t: Array, n: int, *, read: bool = False) -> Array:
        """Return `t` as class indices (n,) or as rows (n, outputs) in the net's dtype, or raise.

        Values are looked at where that does not wait for a device, or where `read` says so;
        otherwise rows that are no target become NaN.
        """
        self.placement._check(t, "t")
        xp, out, outputs = self.placement.xp, self.definition.output, self.outputs
        read = read or self.placement._readable(t)
        indices = self.holds_indices(t.dtype, tuple(t.shape), n)
        if t.ndim == 1 and not indices:
            t = xp.reshape(t, (-1, 1))
        if indices:
            if not read:
                return one_hot(t, outputs, self.placement.dtype)
            low, high = int(xp.min(t)), int(xp.max(t))
            if low < 0 or high >= outputs:
                raise ValueError(
                    f"t has the label {low if low < 0 else high}; expected 0 to {outputs - 1}"
                )
            return t
        t = xp.astype(t, self.placement.dtype, copy=False)
        wrong = ~xp.isfinite(t)
        if out.lower is not None and out.upper is not None:
            wrong = wrong | (t < out.lower) | (t > out.upper)
        if out.sums_to_one:
            # 1e-3 tells rows of probabilities in any float from rows that are none.
            wrong = wrong | (xp.abs(xp.sum(t, axis=1, keepdims=True) - 1.0) > 1e-3)
        if not read:
            return xp.where(wrong, xp.nan, t)
        if xp.any(wrong) or not all_finite(xp, t):
            bounds = "" if out.lower is None else f" in [{out.lower:g}, {out.upper:g}]"
            rows = ", each row with the sum 1 (one-hot)" if out.sums_to_one else ""
            raise ValueError(
                f"t has wrong values; expected finite numbers{bounds}{rows} for output '{out.name}'"
            )
        return t

    def checked_weights(self, weights: Array, n: int) -> Array:
        """Return weights of n rows in the net's dtype, or raise; waits to read the values."""
        name = "sample_weight"
        self.placement._check(weights, name)
        xp = self.placement.xp
        if tuple(weights.shape) != (n,):
            raise ValueError(f"{name} must have shape ({n},), not {tuple(weights.shape)}")
        if not xp.isdtype(weights.dtype, ("real floating", "integral")):
            raise TypeError(f"{name} has dtype {weights.dtype}; expected numbers")
        weights = xp.astype(weights, self.placement.dtype, copy=False)
        if not all_finite(xp, weights) or xp.any(weights < 0) or not xp.any(weights > 0):
            raise ValueError(f"{name} must be finite and at least 0, and not 0 everywhere")
        return weights

    def target_rows(self, t: Array) -> Array:
        """Return class indices as one-hot rows, and rows as they are. Checks nothing."""
        if t.ndim == 2:
            return t
        return index_rows(self.placement.xp, t, self.outputs, self.placement.dtype)
