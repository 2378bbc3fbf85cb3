"""The lines along which functions are sampled: entries, directions, entries of an output."""

from __future__ import annotations

import math

import numpy as np

from ..arrays import Array, Host, array_namespace, epsilon, smallest_normal
from .noise import levels, measured_noise
from .pairs import Pair
from .sampling import Sampler, on_host, placed_like


def sampled_noise(sampler: Sampler, rng: np.random.Generator) -> list[tuple[float, float]]:
    """Measure the noise of a function along one random direction away from 0.

    Entries that are 0 stay: they have no size to go by, and often f has a kink there.
    """
    xs, hosts = sampler.x.arrays, [native(x) for x in sampler.x.arrays]
    units = [rng.integers(8, 17, h.shape) * np.copysign(np.spacing(h), h) for h in hosts]

    def value_at(spacing: float, k: int) -> float:
        """Move all entries by whole units in the last place, so that the moves are exact."""
        moved = {}
        for leaf, (x, host, unit) in enumerate(zip(xs, hosts, units, strict=True)):
            scale = host.dtype.type(max(1.0, 2.0 ** round(math.log2(spacing / (8 * epsilon(x))))))
            moved[leaf] = placed_like(x, np.where(host == 0, host, host + k * scale * unit))
        return sampler.at(moved)

    return measured_noise(value_at, max(map(epsilon, xs)))


def native(x: Array) -> Host:
    """Return an array's values on the host, in its own precision."""
    return on_host(x).astype(np.float32 if epsilon(x) > 1e-10 else np.float64)


# --- the lines that are followed -------------------------------------------------------------


class EntryLines:
    """The lines along the entries of one array; see `slopes.Lines`."""

    digits = 2.0

    def __init__(
        self, sampler: Sampler, leaf: int, value: float, noise: list[tuple[float, float]]
    ) -> None:
        self.sampler, self.leaf, self.measured = sampler, leaf, noise
        self.x = sampler.x.arrays[leaf]
        self.eps, self.tiny = epsilon(self.x), smallest_normal(self.x)
        self.largest = float(array_namespace(self.x).finfo(self.x.dtype).max)
        self.at = on_host(self.x)
        self.size = np.abs(self.at).ravel()
        self.value = np.full(self.size.shape, value)
        self.moved = False
        self.flat = native(self.x).ravel()

    @property
    def value_eps(self) -> float:
        """Epsilon of what f returns."""
        return self.sampler.value_eps

    def sample(self, which: Host, t: Host) -> tuple[Host, Host]:
        """Return values of f with one entry moved each, and the moves as rounding left them."""
        # A move of as few digits as the moved entry leaves it is the same to both sides.
        digit = self.eps * np.exp2(np.ceil(np.log2(self.size[which] + np.abs(t))))
        t = np.where(np.isfinite(digit) & (np.abs(t) > digit), np.round(t / digit) * digit, t)
        moved = (self.flat[which] + t).astype(self.flat.dtype)
        values = self.sampler.entries(self.leaf, which, moved)
        self.moved = self.moved or bool(np.any(values != self.value[which]))
        return values, moved.astype(np.float64) - self.flat[which]

    def noise(self, which: Host, h: Host) -> Host:
        """Return the noise measured at spacings that fit into h."""
        size = np.where(self.size[which] > 0, self.size[which], 0.1)
        return noise_within(self.measured, size, h)

    def jittered(self) -> EntryLines:
        """Return the lines through a point whose entries differ by two units in the last place."""
        sampler = jittered(self.sampler)
        return EntryLines(sampler, self.leaf, sampler.at({}), self.measured)


def noise_within(measured: list[tuple[float, float]], size: Host, h: Host) -> Host:
    """Return the largest noise of those that were measured at spacings of at most h/4.

    Of h = 0: that of the narrowest.
    """
    found = np.where(h == 0, measured[0][1] if measured else 0.0, 0.0)
    for spacing, sigma in measured:
        found = np.where(4.0 * spacing * size <= h, np.fmax(found, sigma), found)
    return found


def jittered(sampler: Sampler) -> Sampler:
    """Return a sampler of the same function about a point that differs in the last digits."""
    rng = np.random.default_rng(0)
    other = Sampler(
        sampler.f, sampler.x, vectorized=sampler.vectorized, max_bytes=sampler.max_bytes
    )
    leaves = []
    for x in sampler.x.arrays:
        host = on_host(x)
        leaves.append(
            placed_like(x, host * (1.0 + 2 * epsilon(x) * rng.choice([-1, 1], host.shape)))
        )
    other.x, other.value_eps = sampler.x.moved_to(leaves), sampler.value_eps
    return other


class DirectionLines:
    """Lines along directions in one array; see `slopes.Lines`.

    Parameters
    ----------
    entries : EntryLines
        Of the array.
    directions : ndarray
        One more axis than the array's, the first.
    given : ndarray
        The gradient under test: the moves that are really taken, which rounding has changed
        entry by entry, are made good with it.
    """

    # With shorter ones, what is made good with a wrong gradient would be a good part of the move.
    digits = 32.0

    def __init__(self, entries: EntryLines, directions: Host, given: Host) -> None:
        self.entries, self.directions, self.given = entries, directions, given
        self.eps, self.tiny, self.largest = entries.eps, entries.tiny, entries.largest
        self.value = np.full(len(directions), entries.value.flat[0])
        self.size = np.ones(len(directions))

    @property
    def value_eps(self) -> float:
        """Epsilon of what f returns."""
        return self.entries.value_eps

    def sample(self, which: Host, t: Host) -> tuple[Host, Host]:
        """Return values of f along the directions, and how far they were moved."""
        x, found = self.entries.x, []
        for i, step in zip(which, t, strict=True):
            wanted = step * self.directions[i]
            moved = x + placed_like(x, wanted)
            rest = (on_host(moved) - self.entries.at) - wanted
            value = self.entries.sampler.at({self.entries.leaf: moved})
            found.append(value - float(np.vdot(np.nan_to_num(self.given), rest)))
            self.entries.moved = self.entries.moved or value != self.value[i]
        return np.asarray(found), np.asarray(t, dtype=float)

    def noise(self, which: Host, h: Host) -> Host:
        """Return the noise measured at spacings that fit into h."""
        return noise_within(self.entries.measured, np.ones(len(h)), h)

    def jittered(self) -> DirectionLines:
        """Return the same directions from a point that differs in the last digits."""
        return DirectionLines(self.entries.jittered(), self.directions, self.given)


class OutputLines:
    """The entries of what a function returns, along one direction; see `levels.Lines`.

    All entries come from the same calls of f: what was sampled for one is there for the others.
    """

    digits = 2.0

    def __init__(self, pair: Pair, leaves: list[Array], tangent: list[Host]) -> None:
        self.pair, self.leaves, self.tangent = pair, leaves, tangent
        self.eps, self.tiny = max(map(epsilon, leaves)), max(map(smallest_normal, leaves))
        self.largest = min(float(array_namespace(a).finfo(a.dtype).max) for a in leaves)
        self.value_eps = max(map(epsilon, pair.y.arrays))
        self.seen: dict[float, Host] = {}
        self.value = self._at(0.0)
        self.size = np.ones(len(self.value))
        self.measured = self._noise()

    def _at(self, t: float, native_moves: list[Host] | None = None) -> Host:
        """Return what f gives at a point of the line, all entries in one array."""
        if native_moves is None and t in self.seen:
            return self.seen[t]
        hosts = native_moves or [
            native(a) + native(a).dtype.type(t) * v
            for a, v in zip(self.leaves, self.tangent, strict=True)
        ]
        moved = [placed_like(a, host) for a, host in zip(self.leaves, hosts, strict=True)]
        try:
            with np.errstate(all="ignore"):
                found = self.pair.value(moved)
        except (TypeError, ValueError):
            raise
        except Exception:  # whatever f says of a point outside its domain
            found = None
        if found is None:
            return np.full(len(self.value), np.nan)
        values = np.concatenate([on_host(part).ravel() for part in found])
        if native_moves is None:
            self.seen[t] = values
        return values

    def sample(self, which: Host, t: Host) -> tuple[Host, Host]:
        """Return the values of entries at moves of about t, and the moves.

        These have half of the digits, so that adding them to x rounds nothing.
        """
        digits, (part, power) = round(-math.log2(self.eps)) // 2, np.frexp(t)
        taken = np.ldexp(np.round(np.ldexp(part, digits)), power - digits)
        values = [self._at(float(move))[i] for i, move in zip(which, taken, strict=True)]
        return np.asarray(values), taken

    def _noise(self) -> list[tuple[float, Host]]:
        """Measure the noise of every entry; see `noise.measured_noise`."""
        rng, found = np.random.default_rng(0), []
        hosts = [native(a) for a in self.leaves]
        units = [rng.integers(8, 17, h.shape) * np.copysign(np.spacing(h), h) for h in hosts]
        for spacing in (8.0 * self.eps, 8.0 * self.eps**0.5):
            scale = max(1.0, 2.0 ** round(math.log2(spacing / (8.0 * self.eps))))
            values = np.stack([
                self._at(0.0, [
                    np.where(h == 0, h, h + h.dtype.type(k * scale) * u)
                    for h, u in zip(hosts, units, strict=True)
                ])
                for k in range(9)
            ])  # fmt: skip
            sigma = np.where(np.isfinite(values).all(axis=0), levels(values, 4), 0.0)
            found.append((spacing, sigma))
        return found

    def noise(self, which: Host, h: Host) -> Host:
        """Return the noise measured at spacings that fit into h."""
        parts = [(spacing, sigma[which]) for spacing, sigma in self.measured]
        return noise_within(parts, np.ones(len(h)), h)

    def jittered(self) -> OutputLines:
        """Return the same lines from a point that differs in the last digits."""
        rng, leaves = np.random.default_rng(0), []
        for a in self.leaves:
            host = on_host(a)
            leaves.append(
                placed_like(a, host * (1 + 2 * epsilon(a) * rng.choice([-1, 1], host.shape)))
            )
        return OutputLines(self.pair, leaves, self.tangent)
