/** Counts of windows up to this, in milliseconds, need not survive a crash: they are over soon after. */
export const BRIEF_MS = 600_000;

export const MINUTE_MS = 60_000;
/** In UTC, as all windows. */
export const DAY_MS = 86_400_000;

/** How long the window of `nowMs` lasts from then on, in milliseconds. */
export function leftOfWindow(windowMs: number, nowMs: number): number {
  return windowMs - (nowMs % windowMs);
}

/** When the window of `nowMs` began: windows begin at multiples of their length since 1970. */
export function windowOf(windowMs: number, nowMs: number): number {
  return Math.floor(nowMs / windowMs) * windowMs;
}

/**
 * The window that counts for whoever is in the one of `ownMs`, when the last one counted began at `knownMs`. The next
 * one is believed: another replica's clock is a little ahead, and must not see its counts go. One that is
 * further off comes of a clock that was wrong.
 */
export function countedWindow(ownMs: number, knownMs: number, windowMs: number): number {
  return knownMs === ownMs + windowMs ? knownMs : ownMs;
}
