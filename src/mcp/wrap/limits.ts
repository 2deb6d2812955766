/** A foreign server of the Model Context Protocol that `waybill wrap` serves. */
export const WRAP_LIMITS = {
  // Calls under way in it: most are one process on one core.
  maxCalls: 16,
  // Jobs at once, half of the calls: a direct call finds a place while jobs run for hours.
  concurrency: 8,
  // Direct calls that wait for a place; beyond it `busy` costs less than the memory of their arguments.
  maxWaiting: 256,
  // A direct call waits this long for a place or a restart: a fraction of the 30 s that it has. Jobs wait on.
  waitMs: 5_000,
  // From its start to its list of tools: a launcher such as npx may have to fetch the server first.
  startMs: 60_000,
  // Without an answer to the first question of 2026-07-28 it is taken for an older one.
  probeMs: 10_000,
  // Before a restart, doubled up to the maximum until it has lived for the last of these times.
  restartMs: 250,
  maxRestartMs: 30_000,
  stableMs: 60_000,
  // One message of it: four times what a reply can carry, so that a result just too large is told as that.
  maxMessageBytes: 4_194_304,
  // What it was sent and has not read: every call at once with arguments of 1 MiB.
  maxUnreadBytes: 16_777_216,
  // A server that has not answered a list of its tools for this long, after a call was given up, hangs.
  aliveMs: 10_000,
  maxTools: 1_000,
  // Pages of its list: a server whose cursors never end is refused.
  maxPages: 100,
  // After it said that its tools changed: a server may say so for each of a hundred.
  relistMs: 1_000,
  // One tool with its schemas: many of them still fit into one message of list_tools.
  maxToolBytes: 131_072,
  maxToolMembers: 4_000,
  // Progress text, for the record is written at every change.
  maxProgressChars: 500,
  // Of one line that it writes to the log, and of such lines in one second.
  maxLineChars: 1_000,
  maxLinesPerSecond: 20,
  // Time to end by itself when its stdin is closed, then again after SIGTERM; SIGKILL follows.
  endMs: 1_500,
  // Output that is still in the pipe when its process has ended.
  lastWordsMs: 250,
} as const;
