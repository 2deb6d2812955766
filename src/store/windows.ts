/** Counts of windows up to this, in milliseconds, need not survive a crash: they are over soon after. */
export const BRIEF_MS = 600_000;

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
