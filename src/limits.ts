/**
 * Every limit of Waybill, each with its reason; those of the audit stand in `audit/limits.ts`, those of `waybill wrap`
 * in `mcp/wrap/limits.ts`. Options of the same name set others where that is of use (`createServer`, `listen`,
 * `defineTool`, `createClient`). Names carry their unit last.
 */

/** What one message may look like (docs/protocol.md §2). */
export interface MessageLimits {
  readonly maxMessageBytes: number;
  readonly maxDepth: number;
  readonly maxMembers: number;
}

export const MESSAGE_LIMITS: MessageLimits = {
  // The protocol's own limit: large enough for tool arguments, small enough to parse in one event-loop turn.
  maxMessageBytes: 1_048_576,
  // The protocol's own limit: every recursion over a message is then bounded, whatever was sent.
  maxDepth: 32,
  // The protocol's own limit: canonical form sorts names, and 20 000 of them cost about 10 ms.
  maxMembers: 20_000,
};

/** How far `ts_ms` may be from the server's clock (docs/protocol.md §5). */
export interface TimeWindow {
  readonly maxPastMs: number;
  readonly maxFutureMs: number;
}

export const TIME_WINDOW: TimeWindow = {
  // Slow links and clocks that drift; every nonce is kept this long, so it costs memory.
  maxPastMs: 300_000,
  // Only for clocks that run ahead; a message from the future can be replayed for longer.
  maxFutureMs: 60_000,
};

export const SERVER_LIMITS = {
  // Calls in the pipeline at once; beyond it a reply of `busy` costs less than the memory of a queue.
  maxCallsInFlight: 10_000,
  // Nonces that are live at once, at 16 to 43 bytes: one replica takes 15 000 calls/s without end.
  maxNonces: 8_388_608,
  // A direct tool holds its connection; what takes longer should be a job.
  directTimeoutMs: 30_000,
  // Time to record how such a call ended once its time is up; until then a retry is told in_progress (§5).
  outcomeGraceMs: 5_000,
  // Longest hold of poll_job: below the idle time-out of common proxies (docs/protocol.md §6).
  maxWaitMs: 30_000,
  // When to poll again if the reply was not held: often enough for a person who watches.
  pollAfterMs: 500,
  // When to come back if the queue is full: it empties at the pace of the jobs, not in milliseconds.
  fullRetryMs: 1_000,
  // Records of requests outlive the window by far, so that a late retry still finds its outcome (§5).
  requestRetentionMs: 86_400_000,
  // One page of list_jobs or list_tools, whatever it tells of: half of what a message may have.
  pageBytes: 524_288,
  // Most tools or jobs on one page of list_tools and list_jobs.
  pageSize: 100,
  // How often the store is asked whether clients changed: a client added elsewhere is known within this time.
  clientRefreshMs: 200,
  // What is larger is worked on in several turns: this much takes 10 ms in all, measured for what is dearest.
  turnBytes: 65_536,
  // A store or queue that does not answer within it is not ready: probes of load balancers wait 2 s and more.
  readyMs: 1_500,
  // Time for each part to let go at shutdown; with the drain below the 30 s after which containers are killed.
  closeMs: 5_000,
} as const;

/** How the jobs of one tool are run; all times in milliseconds. These hold for tools that do not say. */
export interface JobPolicy {
  /** First try and retries together, crashes of a worker included. */
  readonly attempts: number;
  /** Wait before the first retry; doubled for each further one. */
  readonly backoffMs: number;
  /** From acceptance to the end of the last attempt; later the job is `deadline_exceeded`. */
  readonly deadlineMs: number;
  /** How long the ended job can be polled. */
  readonly retentionMs: number;
  /** How many jobs of the tool run at once, in all workers together; without it, as many as the workers run. */
  readonly concurrency?: number;
}

export const JOB_POLICY: JobPolicy = Object.freeze({
  attempts: 3,
  backoffMs: 1_000,
  // An hour: what takes longer should say so.
  deadlineMs: 3_600_000,
  // A day, like the records of requests (docs/protocol.md §5).
  retentionMs: 86_400_000,
});

/** Smallest and largest value of each setting of a tool's jobs. */
export const JOB_POLICY_BOUNDS: Readonly<Record<keyof JobPolicy, readonly [min: number, max: number]>> = {
  attempts: [1, 100],
  backoffMs: [0, 3_600_000],
  // 24 days: Node's timers overflow soon after.
  deadlineMs: [1, 2_073_600_000],
  // Ten minutes: the record must outlive the time window, or a late retry would run the job again.
  retentionMs: [600_000, 31_536_000_000],
  concurrency: [1, 100_000],
};

export const JOB_LIMITS = {
  // Jobs that one worker process runs at once.
  concurrency: 64,
  // Open jobs of one client: one that sends without end is told `busy` before it fills the disk.
  maxOpenJobs: 10_000,
  // Open jobs of a client that share one priority: clients with fewer come first as soon as there is a backlog.
  priorityStep: 64,
  // A worker that did not renew its lease for this long is taken for dead: with the time until somebody
  // looks, a fifth of it, its jobs run again within 10 s.
  leaseMs: 7_500,
  // Ceiling of the doubling wait between attempts.
  maxBackoffMs: 60_000,
  // An open job is pushed again when nothing was heard of it for the first of these times, then for the second:
  // its queue may have lost it. Far above the wait in a queue that is not full.
  firstLookMs: 15_000,
  lookMs: 60_000,
  // How often deadlines, lost dispatches and old records are looked for.
  sweepMs: 500,
  // Records that one step of a sweep touches: keeps the event loop free, and large ones out of memory.
  sweepBatch: 100,
  // Time for running jobs to end at shutdown before they go back to the queue.
  drainMs: 10_000,
  // Time for aborted jobs to notice, before their records are taken from them.
  abortGraceMs: 500,
  // How often the outcome of a job that has run is offered to a store that is away.
  outcomeRetryMs: 500,
  // How often an idle consumer looks for retries that are due and leases that ran out.
  pollMs: 200,
  // Progress is written at most this often for one job; the last value is never lost.
  progressIntervalMs: 50,
  // Of all answers that one job has had: they are read with its record at every poll. Forms filled in by people
  // stay far below.
  maxAnswersBytes: 262_144,
} as const;

export const POSTGRES_LIMITS = {
  // Connections of one process for statements; one more listens. A database has 100 unless told otherwise.
  poolSize: 8,
  connectTimeoutMs: 2_000,
  // Our statements take milliseconds: one that takes this long will not come back, and its callers are told `busy`.
  statementTimeoutMs: 5_000,
  // Rows of one statement.
  maxBatch: 256,
  // Notifications can be missed while their connection is down: what somebody waits for is then read this often.
  pollMs: 500,
  // Pause before a lost connection for notifications is made anew.
  reconnectMs: 250,
  // How far the clocks of replicas may be apart before one forgets a nonce that another would still let in.
  maxClockSkewMs: 60_000,
  nonceSweepMs: 5_000,
  nonceSweepBatch: 5_000,
  // An outage is told in the log this often.
  logMs: 10_000,
  // Time for statements under way to end when the store is closed.
  closeMs: 3_000,
} as const;

export const TOOL_LIMITS = {
  // Of a failure's message: a page of text; with a whole file in it, no reply could carry it.
  maxMessageChars: 8_192,
  // Reasons of one `invalid_args`: more would make the reply larger than what was refused.
  maxIssues: 20,
  // Of the path and of the message of each.
  maxIssueChars: 500,
  // Of the questions of one tool or job: a reply that shows them has room for the progress beside them.
  maxQuestionsBytes: 65_536,
} as const;

export const HTTP_LIMITS = {
  // Open connections of one process, far below the usual limit on file descriptors.
  maxConnections: 10_000,
  // Then a peer connects anew: one that never lets go would stay with its server when others have joined. A
  // handshake with TLS takes milliseconds, spread over so many calls less than a microsecond each.
  maxRequestsPerConnection: 10_000,
  // Bodies that have begun and not ended, all connections together: strangers could fill the memory with them.
  maxHeldBytes: 268_435_456,
  // A client that trickles its headers or body holds a connection no longer than this (slow loris).
  headersTimeoutMs: 10_000,
  // The same before that, for the handshake of TLS.
  handshakeTimeoutMs: 10_000,
  requestTimeoutMs: 30_000,
  // How often the two times above are looked at.
  checkIntervalMs: 2_000,
  // After a refusal, time for the answer to reach a peer that still sends.
  lingerMs: 500,
  // Idle keep-alive: above the 60 s of common load balancers, so that the server is not first to close.
  keepAliveTimeoutMs: 65_000,
  // A comment on a stream of events that is silent: below the idle time-out of common proxies.
  streamAliveMs: 15_000,
  // A peer that takes nothing of such a stream for this long is let go: a link that is alive takes something.
  streamStallMs: 60_000,
  // Our messages need a handful of headers.
  maxHeaderBytes: 8_192,
  maxHeaders: 64,
} as const;

export const STDIO_LIMITS = {
  // Calls of one peer at once; the next line is read when one of them is answered.
  maxCallsInFlight: 256,
  // After the end of the input, time for calls of the Model Context Protocol that are nearly done: what was
  // piped in is answered, and a host that wants the process to end waits seconds.
  lastAnswersMs: 1_000,
} as const;

export const CLIENT_LIMITS = {
  // One call, retries included, when the caller gives no time.
  timeoutMs: 60_000,
  // Transmissions of one call; with the backoff below the last one leaves after about 6 s.
  attempts: 6,
  // Replies that prove nothing end a call sooner: 1.4 s ride out a key added a moment ago and a forger's
  // single shot, yet a wrong credential is reported while its user still looks.
  unverifiedAttempts: 4,
  // One transmission: above what a server may take for a direct tool or a held poll (30 s each).
  attemptTimeoutMs: 35_000,
  backoffMs: 200,
  maxBackoffMs: 5_000,
  // Held polls: one request a quarter of a minute for a job that is silent.
  waitMs: 15_000,
  // The same while somebody watches: poll_job cannot say what was seen last, so a change that falls
  // between two polls is only seen when the next one ends.
  watchMs: 2_000,
  // Pause before the next poll when a server neither held this one nor said when to come back.
  pollAfterMs: 500,
  // A reply may be this far from the (corrected) clock of the client; the window of §5, both ways.
  maxReplySkewMs: 300_000,
} as const;

/** The Model Context Protocol. */
export const MCP_LIMITS = {
  // How long a call to a job waits for hosts without Tasks: below the 60 s after which most cut a call.
  waitMs: 30_000,
  // Longest such wait that may be asked for.
  maxWaitMs: 3_600_000,
  // Progress at least this often, so that a host which counts the time since the last goes on waiting.
  heartbeatMs: 10_000,
  // Tools on one page of tools/list, and what they may weigh together: hosts read a page as one message.
  pageSize: 100,
  pageBytes: 524_288,
  // An answer against a message of ours: a result stands in it twice, as data and as text with its escapes.
  answerFactor: 4,
  // How long a host may keep the list; tools change only with a restart.
  listTtlMs: 60_000,
  // When to ask for a task again: often enough for a person who watches.
  pollIntervalMs: 1_000,
  // Open subscriptions of all clients: each holds a connection.
  maxSubscriptions: 1_000,
  // Of one client: a host has one for each of its windows.
  maxOwnSubscriptions: 20,
  // Tasks that one subscription follows: each is a wait on its record.
  maxSubscribedTasks: 100,
} as const;

/** `waybill connect`, which stands between a host and a remote server. */
export const CONNECT_LIMITS = {
  // How old the list of tools may be: a definition that changed is held back within it, at one more request.
  refreshMs: 30_000,
  // Pages of list_tools and of list_jobs that are read: 10 000 tools, and as many jobs, are a fault or an attack.
  maxPages: 100,
  // Jobs whose tool is remembered, at about 200 bytes; of others it is asked again.
  maxKnownJobs: 1_000,
  // The file of approved tools: every definition of a server with hundreds of tools fits.
  maxApprovalsBytes: 33_554_432,
  // Of one value in a diff, around the first character that differs; `--json` shows the whole.
  maxDiffChars: 160,
  // Lines of a diff on stderr; hosts keep that in a log, and a server can change everything at once.
  maxDiffLines: 200,
} as const;

/** Configuration files of hosts, which `waybill install` edits. */
export const INSTALL_LIMITS = {
  // Hosts keep history in the same file: tens of MiB are seen, more is not a configuration.
  maxConfigBytes: 67_108_864,
  // Depth of its JSON: every recursion over it is bounded.
  maxConfigDepth: 200,
} as const;

/** What an operator may say of one client. */
export const TERMS_LIMITS = {
  // Patterns of tools: looked at one after the other with each call.
  maxScopes: 100,
  // As long as the longest name of a tool.
  maxScopeChars: 128,
  // Calls a minute, jobs a day and open jobs: more is no limit.
  maxQuantity: 1_000_000_000,
  // A few lines.
  maxNoteChars: 500,
} as const;
