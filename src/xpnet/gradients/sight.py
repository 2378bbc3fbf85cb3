"""Whether a gradient is wrong for certain: looked at with the shortest steps that can show it.

What goes up and down within a step has another slope on average, and the same one with many
steps. With the shortest step that sees a gap, nothing faster would be seen at all.
"""

from __future__ import annotations

import numpy as np

from ..arrays import Host
from .levels import Level, Lines, measured
from .noise import SAFETY, levels

# A step shows a gap in slopes when f changes by so many times its noise.
SIGHT = 4.0 * SAFETY
ROUNDS = 12
# Steps between the shortest and the one that was taken are this far apart.
STRIDE = 8.0

# How often a step is halved to find where noise begins.
HALVINGS = 10


def noise_along(lines: Lines, which: Host, h: Host) -> Host:
    """Measure the noise along lines, with a spacing of a quarter of a step.

    A function may round more where it is moved to than at x.
    """
    values = [lines.sample(which, 0.25 * k * h)[0] for k in range(-4, 5)]
    # What is smooth drops out from the fifth difference on.
    return np.where(np.isfinite(values).all(axis=0), levels(values, 5), 0.0)


def hidden_slope(lines: Lines, which: Host, h: Host, noise: Host, plain: Host) -> Host:
    """Return how steep what looks like noise may be, where it is more than `plain` noise.

    Then it is f itself, such as a wave far shorter than the step h: it may be as steep as it is
    high over the shortest distance that still shows it.
    """
    loud = noise > 4.0 * plain
    short, nearer = h, h
    # A spacing that is a multiple of the wave's length shows nothing: the next one may.
    for _ in range(HALVINGS if np.any(loud) else 0):
        nearer = 0.5 * nearer
        shown = noise_along(lines, which, nearer) > 4.0 * plain
        shown &= nearer > 8.0 * lines.eps * np.fmax(lines.size[which], 0.1)
        short = np.where(shown, nearer, short)
    return np.where(loud, 2.0 * SAFETY * noise / short, 0.0)


def sighted(
    lines: Lines, level: Level, given: Host, side: Host, doubt: Host
) -> tuple[Host, Host, Host]:
    """Look at the gaps of a level with the shortest steps that can show them.

    Parameters
    ----------
    lines : Lines
    level : Level
        Which differs from the gradient.
    given : ndarray
        The gradient.
    side : ndarray
        The side on which each line is sampled.
    doubt : ndarray
        What the gradient's own rounding may be.

    Returns
    -------
    shown, h, certain : ndarray
        Whether the shortest step shows the gap, that step, and whether it is certain.
    """
    which = level.which
    gap = np.abs(given - level.slope)
    least = np.fmin(_least(lines, which), level.h)
    near, noise, grown = _nearest(lines, level, given, side, doubt)
    shown = _shows(near, given, doubt)
    certain = (~near.flat & ~grown) | (near.h >= level.h)
    # f may vary so fast that x has too few digits for it: it shows no slope and jumps from each
    # x to the next as if over the whole step, or such jumps are what a far larger gradient says.
    change = level.h * (np.abs(level.slope) + np.abs(level.bends[0]))
    unseen = (level.bound > 0.3 * np.abs(level.slope)) & (noise > 1e-3 * change)
    far = (gap > 100.0 * np.abs(level.slope)) & (gap * least > 3.0 * noise)
    far &= noise > 1e-6 * change
    certain &= ~((unseen | far) & (noise > 120.0 * _rounding(lines, level)))
    # What looks like noise at wide spacings, and not at narrow ones, may be stairs of any width:
    # they would be in between.
    on = np.flatnonzero(shown & certain & (lines.noise(which, level.h) > 30.0 * noise))
    h = near.h[on]
    while on.size:
        h = STRIDE * h
        on, h = on[h < level.h[on]], h[h < level.h[on]]
        if on.size:
            between = _with_noise(lines, which[on], h, side[on])
            certain[on] &= _shows(between, given[on], doubt[on])
            on, h = on[certain[on]], h[certain[on]]
    return shown, near.h, certain


def _least(lines: Lines, which: Host) -> Host:
    """Return the least step that says something: x can be moved by it and by its half."""
    size = lines.size[which]
    digit = lines.eps * np.exp2(np.floor(np.log2(size)))
    return np.where(size > 0, lines.digits * digit, 2.0**10 * lines.tiny)


def _nearest(
    lines: Lines, level: Level, given: Host, side: Host, doubt: Host
) -> tuple[Level, Host, Host]:
    """Measure lines with the shortest step that can show a gap.

    Returns
    -------
    near : Level
    noise, grown : ndarray
        The noise of each line there, and whether it grew with the step: then it is f itself.
    """
    which, gap = level.which, np.abs(given - level.slope)
    least = np.fmin(_least(lines, which), level.h)
    value = _rounding(lines, level)
    noise = np.fmax(noise_along(lines, which, 2.0 * least), value)
    h = np.clip(SIGHT * value / gap, least, level.h)
    # With stairs the first noise is that of a few of them, and says little.
    first = np.where(noise > value, noise, np.inf)
    for k in range(ROUNDS):
        near = measured(lines, which, h, side)
        near.rounding = 2.0 * SAFETY * noise / h
        near.bound = near.truncation + near.rounding
        # A proof is looked for until something speaks against it.
        ours, theirs = np.abs(near.slope - level.slope), np.abs(near.slope - given)
        short = (SIGHT * noise > gap * h) | ((ours <= 0.5 * theirs) & ~_shows(near, given, doubt))
        against = (ours > theirs) & (near.rounding < gap)
        longer = (near.flat | (short & ~against)) & (h < level.h)
        if not np.any(longer):
            break
        # Stairs may be a few digits wide, or any number.
        wider = 4.0 * h if k < ROUNDS / 2 else np.sqrt(h) * np.sqrt(level.h)
        enough = np.where(near.flat, wider, SIGHT * noise / gap)
        h = np.where(longer, np.clip(enough, np.fmin(1.5 * h, level.h), level.h), h)
        noise = np.where(longer, np.fmax(noise_along(lines, which, h), noise), noise)
    return near, noise, noise > 10.0 * first


def _with_noise(lines: Lines, which: Host, h: Host, side: Host) -> Level:
    """Measure lines with a step, and their noise with it."""
    level = measured(lines, which, h, side)
    level.rounding = level.rounding + 2.0 * SAFETY * noise_along(lines, which, h) / h
    level.bound = level.truncation + level.rounding
    return level


def _rounding(lines: Lines, level: Level) -> Host:
    """Return what the rounding of f's values alone amounts to."""
    return np.asarray(0.25 * lines.value_eps * level.top + lines.tiny)


def _shows(level: Level, given: Host, doubt: Host) -> Host:
    """Whether a level shows that a gradient is wrong."""
    gap = np.abs(given - level.slope)
    doubt = doubt + level.corner
    return np.asarray(level.finite & ~level.kinked & (gap > level.bound + doubt))


def settled(near: Level, ends: Host, doubt: Host) -> Host:
    """Whether both slopes of a kink stay what they were when the step shrinks to an eighth.

    Where other kinks lie as near as one likes, as in a sum over many ReLUs, they drift instead,
    and what they are off by is not known.

    Parameters
    ----------
    near : Level
        Of the shorter step.
    ends, doubt : ndarray
        The slopes with the longer one, the lower first, and what they are off by.
    """
    stay = near.sides[2] <= 0.25 * doubt + 5.0 * near.rounding
    for before, after in zip(ends, np.sort(near.sides[:2], axis=0), strict=True):
        stay &= np.abs(after - before) <= near.sides[2] + doubt
    return np.asarray(stay)
