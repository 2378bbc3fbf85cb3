"""Slopes of a function along lines through a point, with a step found for each line.

A central difference is off by what f does between its two points (truncation), which grows with
the step, and by the rounding of f's values over the step, which grows as the step shrinks. Nobody
knows beforehand where the two meet: f has a scale of its own along each line. So each line is
measured with one step and half of it, which says how large both are, and again with other steps
as long as it is undecided. A line whose slope has an edge of f's domain on one side is measured
on the other; one that has a kink has two slopes.
After C. J. F. Ridders (1982), whose article `check_gradient` names.
"""

from __future__ import annotations

import numpy as np

from ..arrays import Host
from .flat import followed
from .levels import Level, Lines, measured
from .noise import SAFETY
from .sight import hidden_slope, noise_along, settled, sighted
from .verdicts import (
    FAILED,
    GRADIENT_ROUNDING,
    JUMP,
    KINK,
    NOISE,
    OPEN,
    PASSED,
    STAIRCASE,
    UNCLEAR,
    Slopes,
    Wanted,
)

ROUNDS = 60
# So many levels that fail and are not certain leave a line undecided.
DOUBTS = 3


def find_slopes(lines: Lines, wanted: Wanted) -> Slopes:
    """Measure the slope of every line, and judge it where there is one to judge."""
    with np.errstate(all="ignore"):
        return _Search(lines, wanted).run()


class _Search:
    """The search for the step of every line, all at once; a round costs four values a line."""

    def __init__(self, lines: Lines, wanted: Wanted) -> None:
        self.lines, self.wanted = lines, wanted
        n = len(lines.value)
        self.given = wanted.given
        self.usual = lines.eps**0.2 if wanted.step is None else wanted.step
        size = np.where(lines.size > 1.0, lines.size, 1.0)
        self.h = self.usual * (size if wanted.step is None else np.ones(n))
        self.first, self.shortest = self.h.copy(), self.h.copy()
        self.floor = np.where(lines.size > 0, 4 * lines.eps * lines.size, 2.0**10 * lines.tiny)
        self.low, self.high = np.zeros(n), np.full(n, np.inf)
        self.strides = np.zeros((2, n))  # how often a line went down, or up, without a model
        self.rounding = np.broadcast_to(np.asarray(wanted.rounding, dtype=float), (n,)).copy()
        self.noise = np.zeros(n)  # measured along the line itself
        self.verdict, self.reason = np.full(n, OPEN), np.full(n, NOISE)
        self.side = np.zeros(n, dtype=int)
        self.inside = np.zeros((2, n), dtype=bool)
        self.slope, self.bound = np.full(n, np.nan), np.full(n, np.inf)
        self.truncation, self.best_h = np.full(n, np.inf), self.h.copy()
        self.plain = np.zeros(n, dtype=bool)  # whether the best one's noise is plain
        self.kink = np.full((3, n), np.inf)  # left, right, what they are off by
        self.kink_h = np.full((2, n), np.inf)  # of the clearest one, and the shortest
        self.bend = np.full(n, np.inf)
        # Of a level that failed: slope, bound, truncation; and how many agree about it.
        self.suspect, self.agreed = np.full((3, n), np.nan), np.zeros(n, dtype=int)
        self.doubts = np.zeros(n, dtype=int)
        self.zero_within = np.full(n, np.inf)  # what rounding may hide of a slope of 0
        self.evens, self.looked = np.zeros(n, dtype=int), np.zeros(n, dtype=bool)
        self.done = np.zeros(n, dtype=bool)
        self.edge = np.zeros(n, dtype=bool)  # a step was too long for the domain
        self.steep = np.zeros(n, dtype=bool)  # at the shortest step
        self.retried = np.zeros(n, dtype=bool)
        self.sight = np.full(n, np.nan)  # a shorter step that did not show what a longer one did

    def run(self) -> Slopes:
        """Search until every line is decided, or nothing helps."""
        for _ in range(ROUNDS):
            which = np.flatnonzero((self.verdict == OPEN) & ~self.done)
            if which.size == 0:
                break
            level = self._measure(which)
            self._keep(level)
            self._look_at_flat(level)
            self._judge(level)
            self._go_on(level)
        self._close()
        return Slopes(
            self.verdict, self.reason, self.slope, self.bound, self.kink[0], self.kink[1],
            self.side, self.shortest, np.isfinite(self.slope),
        )  # fmt: skip

    def _measure(self, which: Host, h: Host | None = None) -> Level:
        h = self.h[which] if h is None else h
        self.shortest[which] = np.fmin(self.shortest[which], h)
        level = measured(self.lines, which, h, self.side[which])
        level.rounding = level.rounding + 2.0 * SAFETY * self.noise[which] / h
        level.bound = level.truncation + level.rounding
        # A kink that is smaller than what is asked of the slope does not matter.
        matters = np.abs(level.bends[1]) / 2 > self._tolerance(level.slope)
        level.kinked &= matters
        return level

    def _tolerance(self, slope: Host) -> Host:
        tolerance: Host = np.fmax(self.wanted.rtol * np.abs(slope), self.wanted.atol)
        return tolerance

    def _keep(self, level: Level) -> None:
        """Remember the best level of each line, and its kink from the nearest points."""
        w = level.which
        for k in (0, 1):
            self.inside[k, w] |= level.inside[k]
        plain = self._plain(w, level.h)
        share, before = level.bound / np.abs(level.slope), self.bound[w] / np.abs(self.slope[w])
        decisive = (share < 0.3) | (before < 0.3)
        closer = np.where(decisive, ~(share >= before), level.bound < self.bound[w])
        better = ((plain == self.plain[w]) & closer) | (plain & ~self.plain[w])
        better &= level.finite & ~level.kinked
        self.plain[w] |= better & plain
        i = w[better]
        self.slope[i], self.bound[i] = level.slope[better], level.bound[better]
        self.truncation[i], self.best_h[i] = level.truncation[better], level.h[better]
        self.bend[i] = np.abs(level.bends[1][better])
        # What the slopes on both sides are off by must be small beside what they differ by.
        two = level.kinked & (level.sides[2] < 0.5 * np.abs(level.sides[1] - level.sides[0]))
        clearer = two & (level.sides[2] < self.kink[2, w])
        for k in range(3):
            self.kink[k, w[clearer]] = level.sides[k][clearer]
        self.kink_h[0, w[clearer]] = level.h[clearer]
        nearer = two & (level.h < self.kink_h[1, w])
        self.kink_h[1, w[nearer]] = level.h[nearer]
        # Half of x times the curvature is what a gradient may lose that is a sum of such terms.
        bend = np.abs(level.bends[1]) * 2.0
        lost = GRADIENT_ROUNDING * self.lines.eps * bend * (self.lines.size[w] / level.h)
        smooth = level.finite & ~level.kinked & (level.h >= 0.5 * self.first[w])
        lost = np.where(smooth & (level.truncation < 0.3 * np.abs(level.slope)), lost, 0.0)
        self.rounding[w] = np.fmax(self.rounding[w], lost)

    # --- verdicts ----------------------------------------------------------------------------

    def _judge(self, level: Level) -> None:
        """Decide what this level can decide."""
        open_ = (self.verdict[level.which] == OPEN) & level.finite & ~level.kinked
        level_ = level.part(open_)
        w, tolerance = level_.which, self._tolerance(level_.slope)
        ready = ~level_.flat & (tolerance > 0)
        if self.wanted.thorough and self.wanted.step is None:
            deep = level_.truncation <= 4.0 * level_.rounding
            ready &= deep | np.isfinite(self.high[w]) & (self.low[w] > 0)
        if self.given is None:
            self.verdict[w[ready & (level_.bound <= tolerance)]] = PASSED
            self._judge_even(level_, np.zeros(len(w)))
            return
        gap = np.abs(self.given[w] - level_.slope)
        explained = gap <= level_.bound + self.rounding[w]
        accepted = explained | (self.wanted.loose & (gap <= tolerance))
        passed = accepted & ready & (gap + level_.bound <= tolerance)
        self.verdict[w[passed]] = PASSED
        self._take(level_, passed)
        self._judge_even(level_, self.given[w])
        self._suspect(level_.part(~accepted), gap[~accepted])

    def _take(self, level: Level, keep: Host) -> None:
        """Report what decided."""
        i = level.which[keep]
        self.slope[i], self.bound[i] = level.slope[keep], level.bound[keep]
        self.best_h[i] = level.h[keep]

    def _judge_even(self, level: Level, given: Host) -> None:
        """Slopes that are 0 because f is even about x: so with steps of four sizes."""
        even = level.even & (given == 0.0)
        self.evens[level.which] = np.where(even, self.evens[level.which] + 1, 0)
        w, value = level.which, np.abs(self.lines.value[level.which])
        hidden = np.fmin(self.zero_within[w], self.lines.value_eps * level.top / level.h)
        self.zero_within[w] = np.where(even, hidden, np.inf)
        settled = even & (self.evens[w] >= 4)
        # Beside large even terms a slope would not show.
        shown = (hidden <= self.lines.value_eps**0.5 * value) | (value == 0)
        self.done[w[settled & ~shown]] = True
        settled &= shown
        # Where f is 0, no rounding hides what remains very near to x.
        near = self.first[w] * self.lines.eps**2
        there = np.flatnonzero(settled & (value == 0))
        right, left = (self.lines.sample(w[there], sign * near[there])[0] for sign in (1, -1))
        other = there[right != left]
        settled[other], self.evens[w[other]], self.sight[w[other]] = False, 0, near[other]
        i = w[settled]
        self.verdict[i], self.slope[i] = PASSED, 0.0
        self._take(level, settled)

    def _suspect(self, level: Level, gap: Host) -> None:
        """Levels at which the gradient is wrong: two other steps must say so too.

        What differs from level to level has not converged, and decides nothing: a function that
        varies faster than the step agrees with itself by chance now and then.
        """
        w = level.which
        telling = (gap > 8.0 * level.bound) & ~level.flat & self._convincing(level, gap)
        same = telling & self._agrees(level, *self.suspect[:, w])
        self.agreed[w] = np.where(same, self.agreed[w] + 1, 0)
        settled = self.agreed[w] >= 2
        if np.any(settled):
            self._confirm(level.part(settled))
            self.agreed[w[settled]] = 0
        self.suspect[:, w] = np.nan
        once = telling & (self.verdict[w] == OPEN) & ~settled
        i = w[once]
        self.suspect[:, i] = level.slope[once], level.bound[once], level.truncation[once]

    def _plain(self, which: Host, h: Host) -> Host:
        """Whether the noise with a step is nothing but noise.

        What looks like noise at wide spacings, and not at narrow ones, may be f itself.
        """
        narrow = self.lines.noise(which, 0.0 * h)
        return np.asarray((self.lines.noise(which, h) <= 100.0 * narrow) | (narrow == 0))

    def _convincing(self, level: Level, gap: Host) -> Host:
        """Whether a level's own error is far below a gap.

        With a long step f must show a slope, for what goes up and down within it shows none; and
        with one longer than x nothing is certain.
        """
        near = (level.h <= 10.0 * self.first[level.which]) & (self.side[level.which] == 0)
        inside = level.h <= 2.0 * np.fmax(self.lines.size[level.which], 1.0)
        seen = level.bound <= 0.02 * np.abs(level.slope)
        sides = np.fmax(np.abs(level.sides[0]), np.abs(level.sides[1]))
        settled = level.truncation < 0.1 * sides + level.rounding
        return np.asarray(settled & (seen | near) & inside & (level.truncation < 0.25 * gap))

    @staticmethod
    def _agrees(level: Level, slope: Host, bound: Host, truncation: Host) -> Host:
        """Whether a level agrees with one of a step 3 or 5 times as long, as a smooth f would."""
        same = np.abs(level.slope - slope) <= level.bound + bound
        return np.asarray(same & (level.truncation <= truncation / 3.0 + 2.0 * level.rounding))

    def _confirm(self, level: Level) -> None:
        """Look at lines that fail once more, nearer to x.

        The slope at x may itself depend on the last digits of x, so that no gradient could be
        better.
        """
        w, h = level.which, level.h
        given: Host = self.given[w]  # type: ignore[index]
        gap = np.abs(given - level.slope)
        noise = noise_along(self.lines, w, h)
        bound = level.bound + 2.0 * SAFETY * noise / h
        beside = measured(self.lines.jittered(), w, h, self.side[w])
        lost = np.fmax(np.abs(beside.slope - level.slope) - level.bound, 0.0)
        self.rounding[w] = np.fmax(self.rounding[w], 8.0 * np.where(np.isfinite(lost), lost, 0.0))
        # Noise that is f itself, as kinks at every distance are, is not as harmless as rounding.
        plain = np.fmax(self.lines.noise(w, 0.0 * h), 0.25 * self.lines.value_eps * level.top)
        more = np.divide(noise, plain, out=np.full_like(noise, 4.0), where=plain > 0)
        bound = bound * np.clip(more, 1.0, 4.0)
        bound = np.fmax(bound, level.bound + hidden_slope(self.lines, w, h, noise, plain))
        doubt = self.rounding[w]
        wrong = gap > bound + level.corner + doubt
        shown, near, certain = sighted(self.lines, level, given, self.side[w], doubt)
        if self.wanted.step is None:
            # A gap below what is asked for must show at once.
            fine = gap <= self._tolerance(level.slope)
            certain &= ~fine | (near <= self.lines.eps**0.4 * np.fmax(self.lines.size[w], 1.0))
        # One-sided differences lose more digits, and shorter steps show nothing.
        wrong &= (shown & certain) | (self.side[w] != 0)
        i = w[wrong]
        self.verdict[i] = FAILED
        self.slope[i], self.bound[i], self.best_h[i] = level.slope[wrong], bound[wrong], h[wrong]
        i = w[~wrong]
        self.noise[i] = np.fmax(self.noise[i], np.where(shown, noise, 0.0)[~wrong])
        self.bound[i] = np.inf  # those of before did not know of this noise
        self.sight[i] = np.where(shown, np.nan, near)[~wrong]
        self.doubts[w[shown & ~certain]] += 1
        self.done |= self.doubts >= DOUBTS

    # --- the next step -----------------------------------------------------------------------

    def _go_on(self, level: Level) -> None:
        """Choose the next step of every line that is still open."""
        level = level.part((self.verdict[level.which] == OPEN) & ~self.done[level.which])
        w, h = level.which, level.h
        coarse = ~level.finite | level.kinked | (level.truncation > level.rounding)
        coarse |= level.grown & ~level.flat  # the noise is that of larger values
        coarse &= ~level.flat
        self.edge[w] |= ~level.finite
        self.steep[w] = np.where(coarse & level.finite, level.steep, self.steep[w])
        # Another step that disagrees with one that failed: that one was too long.
        again = np.isfinite(self.suspect[0, w])
        self.low[w] = np.where(coarse, self.low[w], np.fmax(self.low[w], h))
        self.high[w] = np.where(coarse & ~again, np.fmin(self.high[w], h), self.high[w])
        low, high = self.low[w], self.high[w]
        start = np.where(level.flat, np.fmax(low, h), h)
        new = start * np.where(coarse, self._downward(level), self._upward(level))
        # Where f does not settle, its scale may be that of the entry.
        own = self.usual * self.lines.size[w]
        first = coarse & (h > self.lines.size[w]) & (own > 0) & (low == 0)
        new = np.where(first & ~self._settles(level), np.fmin(h / 8.0, own), new)
        between = (low > 0) & np.isfinite(high)
        inner = np.clip(new, 1.5 * low, high / 1.5)
        new = np.where(
            between, np.where(self._settles(level), inner, np.sqrt(low) * np.sqrt(high)), new
        )
        new = np.where(again, h / 5.0, new)
        evens = self.evens[w]
        places = np.asarray([0.0, 1 / 16.0, 32.0, 1024.0, 1.0])[np.fmin(evens, 4)]
        new = np.where(evens > 0, self.first[w] * places, new)
        new = np.fmax(new, self.floor[w])
        over = new > 1e-2 * self.lines.largest
        ended = (between & (high < 4.0 * low) & ~again) | (coarse & (h <= self.floor[w])) | over
        self.h[w] = new
        # Beside an entry of 0, a kink as near as this is at 0.
        ended |= level.kinked & (self.lines.size[w] == 0) & (h < self.lines.eps * self.first[w])
        deceived = np.isfinite(self.sight[w]) & (self.sight[w] < h)
        self.h[w] = np.where(deceived, self.sight[w], self.h[w])
        self.low[w[deceived]], self.high[w[deceived]] = 0.0, h[deceived]
        self.sight[w] = np.nan
        ended &= ~deceived
        self._end(w, ended | (self.wanted.step is not None) & ~again)

    def _settles(self, level: Level) -> Host:
        """Whether both differences are near to each other.

        Then they may be trusted to change as the powers of the step that theory names.
        """
        trusted: Host = level.finite & ~level.kinked
        return np.asarray(trusted & (level.truncation < 0.3 * np.abs(level.slope)))

    def _downward(self, level: Level) -> Host:
        """Return the factor of a shorter step."""
        goal = 0.3 * self._tolerance(level.slope)
        share = np.sqrt(goal / level.truncation)
        if self.wanted.thorough:
            share = np.zeros_like(share)
        share = np.fmax(share, np.cbrt(level.rounding / level.truncation))
        settles = self._settles(level)
        again = np.isfinite(self.suspect[0, level.which])
        self.strides[0, level.which] += ~settles & ~again
        stride = 8.0 ** -np.clip(2.0 ** (self.strides[0, level.which] - 1), 1.0, 64.0)
        return np.asarray(np.where(settles, np.clip(share, 1e-3, 0.5), stride))

    def _upward(self, level: Level) -> Host:
        """Return the factor of a longer step."""
        goal = 0.3 * self._tolerance(level.slope)
        visible = (level.rounding < np.abs(level.slope)) & ~level.flat & (goal > 0)
        share = np.where(goal > 0, level.rounding / goal, 8.0)
        self.strides[1, level.which] += ~visible
        stride = 8.0 ** np.fmin(2.0 ** (self.strides[1, level.which] - 1), 64.0)
        return np.where(visible, np.clip(share, 2.0, 1e3), stride)

    def _end(self, which: Host, ended: Host) -> None:
        """End the search of lines; at an edge of the domain, search again on its inner side."""
        i = which[ended]
        unsided = (self.side[i] == 0) & self.edge[i] & (self.inside[0, i] != self.inside[1, i])
        unsided |= (self.side[i] == 0) & self.edge[i] & ~np.isfinite(self.slope[i])
        side = np.where(self.inside[0, i], 1, np.where(self.inside[1, i], -1, 0))
        unsided &= side != 0
        again = i[unsided]
        self.side[again] = side[unsided]
        self.h[again] = self.first[again]
        self.low[again], self.high[again], self.strides[:, again] = 0.0, np.inf, 0.0
        self.edge[again], self.suspect[:, again], self.agreed[again] = False, np.nan, 0
        i = i[~unsided]
        # What was taken for noise may be f itself: look at shorter steps, which it spares.
        doubtful = ~self.retried[i] & ~self._plain(i, self.first[i])
        again, self.retried[i] = i[doubtful], True
        self.h[again] = 0.25 * self.lines.eps**0.5 * np.fmax(self.lines.size[again], 0.1)
        self.low[again], self.high[again], self.strides[:, again] = 0.0, np.inf, 0.0
        self.suspect[:, again], self.agreed[again] = np.nan, 0
        self.done[i[~doubtful]] = True

    # --- lines along which f does not change -------------------------------------------------

    def _look_at_flat(self, level: Level) -> None:
        """Find out why lines show no change."""
        fresh = level.flat & ~self.looked[level.which] & (self.side[level.which] == 0)
        which = level.which[fresh]
        if which.size == 0 or self.wanted.step is not None:
            return
        self.looked[which] = True
        found = followed(self.lines, which, level.h[fresh], self.high[which])
        stairs = which[found.stairs]
        self.verdict[stairs], self.reason[stairs], self.slope[stairs] = UNCLEAR, STAIRCASE, 0.0
        self._settle_zero(which[found.zero], found.bound[found.zero])
        # Whatever is left may have a slope below its rounding, and show it farther out.
        hidden = ~found.zero & ~found.stairs
        self.low[which[hidden]] = found.h[hidden]

    def _settle_zero(self, which: Host, bound: Host) -> None:
        """Judge slopes that are known to be 0."""
        self.slope[which], self.bound[which] = 0.0, bound
        given = np.zeros(len(which)) if self.given is None else self.given[which]
        right = np.abs(given) <= np.fmax(self.wanted.atol, self.rounding[which])
        unclear = np.abs(given) <= bound
        # In a function of values about 1, as 1 + z² is, such a slope may be lost.
        value = np.fmax(np.abs(self.lines.value[which]), 1.0)
        size = np.fmax(self.lines.size[which], 1.0)
        unclear |= np.abs(given) * size <= self.lines.value_eps**0.5 * value
        self.verdict[which] = np.select([right, unclear], [PASSED, UNCLEAR], FAILED)

    # --- the end -----------------------------------------------------------------------------

    def _close(self) -> None:
        """Judge the lines that no step has decided."""
        left = np.flatnonzero(self.verdict == OPEN)
        if left.size == 0:
            return
        apart = self._apart(left)
        # A step that leaves the kink outside shows no bend, and a slope.
        clean = (self.bound[left] < 0.6 * apart) & (self.bend[left] < 0.25 * apart)
        kinked = np.isfinite(self.kink[2, left]) & ~clean
        self._judge_kinks(left[kinked])
        if self.given is None:
            self.verdict[left[~kinked]] = UNCLEAR
        else:
            self._last_look(left[~kinked])
        unclear = np.flatnonzero(self.verdict == OPEN)
        self.verdict[unclear] = UNCLEAR
        self.reason[self.steep & (self.verdict == UNCLEAR) & (self.reason == NOISE)] = JUMP

    def _apart(self, which: Host) -> Host:
        """Return what the slopes on both sides of a kink differ by."""
        return np.asarray(np.abs(self.kink[1, which] - self.kink[0, which]))

    def _judge_kinks(self, which: Host) -> None:
        """Judge gradients at kinks, which lie between the slopes on both sides.

        The shortest step that shows one must show the same two slopes: what only looks like a
        kink does not.
        """
        if which.size == 0:
            return
        other = self._measure(which, self.kink_h[1, which])
        doubt = self.kink[2, which] + other.sides[2]
        same = other.kinked & (self.kink[2, which] < 0.1 * self._apart(which))
        for k in (0, 1):
            same &= np.abs(other.sides[k] - self.kink[k, which]) <= doubt
        self.verdict[which[~same]] = UNCLEAR
        self.slope[which[~same]] = self.kink[:2, which[~same]].mean(axis=0)
        self.bound[which[~same]] = np.inf
        i = which[same]
        doubt = self.kink[2, i]
        ends = np.sort(self.kink[:2, i], axis=0)
        # Rounding hides a bend as narrow as this, within which f may have any of the slopes.
        value = self.lines.value_eps * np.abs(self.lines.value[i])
        noise = np.fmax(self.lines.noise(i, 0.0 * doubt), value)
        size = self.lines.size[i]
        narrow = self.lines.eps**0.75 * np.fmax(size, 1.0)
        # A kink at 0 is not one at an entry beside it.
        narrow = np.where(size > 0, np.fmin(narrow, 0.1 * size), narrow)
        hidden = noise > narrow * (ends[1] - ends[0])
        self.slope[i], self.bound[i], self.kink[:2, i] = ends.mean(axis=0), doubt, ends
        if self.given is None:
            self.verdict[i] = np.where(hidden, UNCLEAR, KINK)
            return
        doubt = doubt + self.rounding[i] + self.wanted.atol
        between = (ends[0] - doubt <= self.given[i]) & (self.given[i] <= ends[1] + doubt)
        near = self._measure(i, self.kink_h[0, i] / 8.0)
        sure = settled(near, ends, self.kink[2, i])
        out = np.fmax(ends[0] - self.given[i], self.given[i] - ends[1])
        sides, more = np.sort(near.sides[:2], axis=0), near.sides[2] + self.rounding[i]
        more = more + self.wanted.atol
        beside = (sides[0] - more <= self.given[i]) & (self.given[i] <= sides[1] + more)
        wrong = ~between & ~beside & (sure | (out > 10.0 * (ends[1] - ends[0])))
        known = sure & between & ~hidden
        self.verdict[i] = np.where(wrong, FAILED, np.where(known, KINK, UNCLEAR))

    def _last_look(self, which: Host) -> None:
        """See whether the best step that was found is enough to say that a slope is wrong."""
        gap = np.abs(self.given[which] - self.slope[which])  # type: ignore[index]
        wrong = gap > self.bound[which] + self.rounding[which]
        if self.wanted.loose:
            wrong &= gap > self._tolerance(self.slope[which])
        wrong &= np.isfinite(gap)
        which, gap = which[wrong], gap[wrong]
        if which.size == 0:
            return
        level = self._measure(which, self.best_h[which])
        other = self._measure(which, self.best_h[which] / 3.0)
        same = self._agrees(other, level.slope, level.bound, level.truncation)
        same &= self._convincing(level, gap) & level.finite & other.finite
        same &= ~level.kinked & ~other.kinked
        if np.any(same):
            self._confirm(level.part(same))
