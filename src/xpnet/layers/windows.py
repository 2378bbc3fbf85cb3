"""Windows that slide over images, and the way back: what convolution and pooling consist of.

Images are public as (n, channels, height, width). In memory they lie the other way round, image
by image innermost, (channels, height, width, n): a window's numbers, for all images and a whole
row of places, are then one long run. `inside` and `outside` turn one into the other. An array
that was computed so lies so already, and both are views: only the input of a net is copied.

A window is cut by slices, one for each of its places, and comes back by zeros around and between
them; nothing is scattered, which not every library can.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from array_api_compat import device

from ..arrays import Array, array_namespace, item_bytes
from ..checks import positive_integer, whole_number

Pair = tuple[int, int]

# The windows of a few rows of places are laid out at a time: so many bytes stay in cache.
PIECE_BYTES = 2**19


def pair(value: Any, name: str, least: int = 1) -> Pair:
    """Return a size given as one number, or as (height, width), or raise."""
    both = value if isinstance(value, (tuple, list)) else (value, value)
    if len(both) != 2:
        raise ValueError(f"{name} must be a number or a pair (height, width), not {value!r}")
    check = positive_integer if least else whole_number
    return check(both[0], name), check(both[1], name)


def short(both: Pair) -> int | Pair:
    """Return a pair of the same two numbers as one."""
    return both[0] if both[0] == both[1] else both


@dataclass(frozen=True)
class Windows:
    """Windows of one size at all their places.

    Parameters
    ----------
    size, stride, padding : (int, int)
        Along the height and the width. Zeros of the padding's width stand around an image.
    """

    size: Pair
    stride: Pair
    padding: Pair = (0, 0)

    def places(self, image: Sequence[int]) -> Pair:
        """Return how many windows an image (height, width) has along each; or raise."""
        bordered = [edge + 2 * p for edge, p in zip(image, self.padding, strict=True)]
        if any(k > edge for k, edge in zip(self.size, bordered, strict=True)):
            whole = "×".join(map(str, image))
            around = f" with {'×'.join(map(str, self.padding))} zeros around" if any(
                self.padding) else ""  # fmt: skip
            raise ValueError(
                f"a window of {'×'.join(map(str, self.size))} is larger than the image, "
                f"{whole}{around}"
            )
        high, wide = (
            (edge - k) // s + 1
            for edge, k, s in zip(bordered, self.size, self.stride, strict=True)
        )
        return high, wide

    def slices(self, x: Array, places: Pair, first: int = 0) -> Iterator[Array]:
        """Yield, for each number of a window, that number in all windows: (c, *places, n).

        Parameters
        ----------
        x : array, (c, height, width, n)
            The images, with what stands around them.
        places : (int, int)
        first : int
            The first row of places.
        """
        (high, wide), (down, along) = places, self.stride
        for i in range(self.size[0]):
            top = first * down + i
            for j in range(self.size[1]):
                rows = slice(top, top + (high - 1) * down + 1, down)
                yield x[:, rows, j : j + (wide - 1) * along + 1 : along, :]

    def pieces(self, x: Array, places: Pair) -> Iterator[tuple[slice, Array]]:
        """Yield some rows of places, and their windows as columns: (size · c, rows · wide · n)."""
        xp, (c, _, _, n) = array_namespace(x), x.shape
        numbers = self.size[0] * self.size[1] * c
        rows = max(1, PIECE_BYTES // (numbers * places[1] * n * item_bytes(x)))
        for first in range(0, places[0], rows):
            last = min(first + rows, places[0])
            columns = xp.concat([*self.slices(x, (last - first, places[1]), first)], axis=0)
            yield slice(first, last), xp.reshape(columns, (numbers, -1))

    def placed(self, parts: Sequence[Array], image: Sequence[int]) -> Array:
        """Return what `slices` has cut put back and added up, its adjoint: (c, *image, n).

        Parameters
        ----------
        parts : sequence of arrays, (c, *places, n)
            For each number of a window, in the order of `slices`.
        image : (int, int)
            Height and width of what is returned, with what stands around.
        """
        wide = self.size[1]
        rows = [
            spread(parts[i : i + wide], 2, self.stride[1], image[1])
            for i in range(0, len(parts), wide)
        ]
        return spread(rows, 1, self.stride[0], image[0])


def correlated(x: Array, weights: Array, bias: Array | None, windows: Windows) -> Array:
    """Return the sums of the windows' numbers times weights, (f, *places, n).

    Parameters
    ----------
    x : array, (c, height, width, n)
        With what stands around.
    weights : array, (f, c, *size)
    bias : array, (f,), optional
    windows : Windows
        Without padding.
    """
    xp, f = array_namespace(x), weights.shape[0]
    places = windows.places(x.shape[1:3])
    w = xp.reshape(xp.permute_dims(weights, (0, 2, 3, 1)), (f, -1))
    found = []
    for _, columns in windows.pieces(x, places):
        y = w @ columns
        if bias is not None:
            y += bias[:, None]
        found.append(xp.reshape(y, (f, -1, places[1], x.shape[3])))
    return found[0] if len(found) == 1 else xp.concat(found, axis=1)


def correlation(x: Array, d: Array, windows: Windows) -> Array:
    """Return the gradient of `correlated` with respect to the weights, (f, c, *size)."""
    xp, f, c = array_namespace(x), d.shape[0], x.shape[0]
    total = None
    for rows, columns in windows.pieces(x, d.shape[1:3]):
        part = xp.reshape(d[:, rows, :, :], (f, -1)) @ columns.T
        if total is None:
            total = part
        else:
            total += part
    return xp.permute_dims(xp.reshape(total, (f, *windows.size, c)), (0, 3, 1, 2))


def uncorrelated(d: Array, weights: Array, windows: Windows, image: Sequence[int]) -> Array:
    """Return the gradient of `correlated` with respect to the images, (c, *image, n).

    That is a correlation again, of the gradient with zeros between and around, with the filters
    turned by half a circle; the windows' padding is cut off.
    """
    xp = array_namespace(d)
    for axis, (k, s, p, edge) in enumerate(
        zip(windows.size, windows.stride, windows.padding, image, strict=True), start=1
    ):
        d = spread([d], axis, s, (d.shape[axis] - 1) * s + 1)
        before = k - 1 - p
        d = fitted(d, axis, before, edge + k - 1 - before - d.shape[axis])
    turned = xp.permute_dims(xp.flip(weights, axis=(2, 3)), (1, 0, 2, 3))
    return correlated(d, turned, None, Windows(windows.size, (1, 1)))


def spread(parts: Sequence[Array], axis: int, stride: int, length: int) -> Array:
    """Return the sum of parts along an axis, number r of part i standing at r · stride + i."""
    xp = array_namespace(parts[0])
    if stride == 1 and len(parts) == 1:
        return fitted(parts[0], axis, 0, length - parts[0].shape[axis])
    turns = -(-len(parts) // stride)  # how often the parts go round the places of a stride
    phases: list[Array] = []
    for i in range(stride):
        shifted = [
            fitted(part, axis, k, turns - 1 - k) for k, part in enumerate(parts[i::stride])
        ] or [xp.zeros_like(phases[0])]
        phases.append(sum(shifted[1:], start=shifted[0]))
    joined = phases[0]
    if stride > 1:
        shape = [*joined.shape]
        shape[axis] *= stride
        joined = xp.reshape(xp.stack(phases, axis=axis + 1), tuple(shape))
    return fitted(joined, axis, 0, length - joined.shape[axis])


def fitted(x: Array, axis: int, before: int, after: int) -> Array:
    """Return `x` with so many zeros before and after along an axis; less than 0 cuts off."""
    keep = slice(max(0, -before), x.shape[axis] - max(0, -after))
    if keep != slice(0, x.shape[axis]):
        x = x[(slice(None),) * axis + (keep, ...)]
    xp = array_namespace(x)
    parts = [x]
    for count, place in ((before, 0), (after, 2)):
        if count > 0:
            shape = (*x.shape[:axis], count, *x.shape[axis + 1 :])
            zeros = xp.zeros(shape, dtype=x.dtype, device=device(x))
            parts.insert(place, zeros)
    return x if len(parts) == 1 else xp.concat(parts, axis=axis)


def bordered(x: Array, windows: Windows) -> Array:
    """Return images (c, height, width, n) with the zeros of the padding around."""
    high, wide = windows.padding
    return fitted(fitted(x, 2, wide, wide), 1, high, high)


def shifted(x: Array, offsets: Array, most: int) -> Array:
    """Return each image moved by its own offset, zeros where nothing was.

    Parameters
    ----------
    x : array, (n, channels, height, width)
    offsets : array of int, (n, 2)
        Down and to the right, from -most to most.
    most : int
    """
    xp = array_namespace(x)
    for axis, place in ((2, 0), (3, 1)):
        total = None
        offset = xp.reshape(offsets[:, place], (-1, 1, 1, 1))
        # All shifts of all images, of which each takes one: no library need gather.
        for k in range(-most, most + 1):
            moved = xp.where(offset == k, fitted(x, axis, k, -k), xp.zeros_like(x))
            total = moved if total is None else total + moved
        x = total
    return x


def inside(x: Array) -> Array:
    """Return images (n, c, height, width) as (c, height, width, n), in this order in memory."""
    xp = array_namespace(x)
    turned = xp.permute_dims(x, (1, 2, 3, 0))
    # By way of one dimension: that is a copy where memory has another order, else a view.
    return xp.reshape(xp.reshape(turned, (-1,)), turned.shape)


def outside(x: Array) -> Array:
    """Return images (c, height, width, n) as (n, c, height, width), a view."""
    return array_namespace(x).permute_dims(x, (3, 0, 1, 2))
