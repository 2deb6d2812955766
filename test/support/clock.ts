/** A clock that stands still until the test moves it. */
export interface TestClock {
  nowMs: number;
  readonly now: () => number;
}

export const START_MS = 1_800_000_000_000;

export function createTestClock(nowMs: number = START_MS): TestClock {
  const clock = { nowMs, now: () => clock.nowMs };
  return clock;
}
