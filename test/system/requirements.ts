/**
 * Every behaviour that docs/protocol.md requires, with the tests that show it. A rule without a test, or
 * one whose test was renamed, fails requirements.test.ts.
 *
 * Not listed, because no part of it is built yet: replicas that share one store (§5, §6), rotation with its
 * limit of two secrets a slot (§3), and a minimum version in a client's record (§10).
 */
export interface Requirement {
  readonly section: string;
  readonly rule: string;
  readonly tests: readonly Test[];
}

/** A file below test/ and a title in it. The cases of conformance/ are run by conformance/run.test.ts. */
type Test = readonly [file: string, title: string];

const CALLS = '../conformance/calls.json';
const ERRORS = '../conformance/errors.json';
const REFUSED = '../conformance/refused.json';
const CANONICAL = 'wire/canonical-json.test.ts';
const CODEC = 'wire/codec.test.ts';
const SIGNATURE = 'wire/signature.test.ts';
const SECRET = 'wire/secret.test.ts';
const BEFORE_MAC = 'server/before-the-mac.test.ts';
const AFTER_MAC = 'server/after-the-mac.test.ts';
const FRESHNESS = 'server/freshness.test.ts';
const RETRIES = 'server/retries.test.ts';
const JOBS = 'server/jobs.test.ts';
const BUILT_IN = 'server/built-in.test.ts';
const ANSWER_JOB = 'server/answer-job.test.ts';
const HTTP = 'transports/node-http.test.ts';
const STDIO = 'transports/stdio.test.ts';
const STORE = 'store/record-store.suite.ts';
const NONCES = 'store/nonces.test.ts';
const WORKER = 'jobs/worker.test.ts';
const SWEEPER = 'jobs/sweeper.test.ts';
const PEER = 'system/peer.test.ts';
const ONCE = 'system/once.test.ts';
const TAMPER = 'system/tamper.test.ts';
const KILL = 'system/kill.test.ts';
const TERMINATE = 'system/terminate.test.ts';
const REPLY = 'client/reply.test.ts';
const RETRY = 'client/retry.test.ts';
const CLOCK = 'client/clock.test.ts';

const SURVIVES_KILL =
  'loses no acknowledged job, runs no direct call twice, and refuses every replay after restart';
const WALKED_ONCE_ONLY =
  'a retry of the same request_id gets the same job, other args under it are a conflict';

const BY_SECTION: Readonly<Record<string, Readonly<Record<string, readonly Test[]>>>> = {
  '§1': {
    'a message has nine members, all of them required': [
      [CODEC, 'are nine, each with a rule that is tested here'],
      [CODEC, '%s is required'],
    ],
    'no other member is allowed': [
      [CODEC, '"%s" beside them is refused'],
      [PEER, 'a tenth member and another media type are refused before the MAC'],
    ],
    'v is exactly mcp/0.1': [[CODEC, 'v: %j is refused']],
    'request_id, ts_ms, client_id, server_id, tool, args, nonce and signature keep to their rules': [
      [CODEC, '%s follows its rule at its bounds'],
      ['wire/envelope-schema.test.ts', 'accept the samples and the very same changed messages'],
    ],
    'request_id stays the same on a retry; nonce and ts_ms are new for every transmission': [
      [RETRY, 'keeps request_id, tool and args, and takes a new nonce and time'],
    ],
    'request_id is a UUID by default': [
      ['client/request-id.test.ts', 'is a UUID of version 7 and of the variant of RFC 9562'],
    ],
    'a response echoes the request_id, also when it refuses': [
      [BEFORE_MAC, 'the reply echoes the request_id of a message that shows one, else it is "-"'],
      [CODEC, 'by its own request_id when that is well-formed'],
      [CODEC, 'by "-" when it is %j'],
    ],
    'error is null unless status is error, and ok false has status error': [[CODEC, '%j is refused: %s']],
    'error is written code: message': [
      ['errors/errors.test.ts', 'says itself as "code: message"'],
      ['errors/codes.test.ts', '%s is read from "code: message"'],
    ],
    'ok true with status error says that the poll worked and the job failed': [
      [PEER, 'a cancelled job answers polls with ok and the error cancelled'],
    ],
  },
  '§2': {
    'signature is the lower-case hex HMAC-SHA256 of the canonical request without signature': [
      [
        SIGNATURE,
        'is HMAC-SHA256 over UTF-8 under the UTF-8 bytes of the secret as printed, in lower-case hex',
      ],
      [SIGNATURE, 'case $tcId is $result'],
      [CODEC, 'has the canonical text of an independent path, for any args'],
    ],
    'replies are signed in the same way': [
      [CODEC, 'has the canonical text of an independent path, for any result and any error'],
      [PEER, 'every reply verifies, but for those that are sent before the MAC holds'],
    ],
    'the canonical form is RFC 8785': [
      [CANONICAL, '%s gives exactly the published bytes'],
      [CANONICAL, 'is the one of an independent implementation'],
      [PEER, 'both write the same text for any JSON value'],
      [PEER, 'both write the same text for any double'],
    ],
    'the signature covers the values that were sent': [
      [TAMPER, 'every byte of a signed request flipped in turn is refused, and nothing runs'],
      [ERRORS, 'bad_signature for each member that was changed after signing'],
      [REPLY, 'every byte of it is as the server signed it'],
    ],
    'the key is the UTF-8 bytes of the secret as it is printed': [
      [SIGNATURE, 'of any text under any secret is the one of node:crypto on the bytes'],
    ],
    'senders append signature as the last member of the canonical text': [
      [CODEC, 'goes on the wire as its signed text with the signature as the last member'],
    ],
    'receivers do not depend on order, white space or escapes': [
      [BEFORE_MAC, 'in any order of members and with any white space'],
      [CODEC, 'may be written in any order, with any white space and any escapes'],
      [REFUSED, 'members in another order are fine'],
    ],
    'duplicate names are refused at any depth, escaped spellings too': [
      [CODEC, 'any doubled member is refused, wherever it stands'],
      [REFUSED, 'a doubled name, the second escaped'],
    ],
    'the name __proto__ is refused at any depth': [
      [CODEC, '__proto__ deep inside'],
      [REFUSED, '__proto__, escaped'],
    ],
    'numbers that are not finite doubles are refused': [
      [CODEC, 'digits that no double can hold'],
      [REFUSED, 'a number over every double: 1e400'],
    ],
    'lone surrogates are refused': [
      [REFUSED, 'a lone surrogate: high'],
      [REFUSED, 'a lone surrogate in a name'],
    ],
    'invalid UTF-8 and a byte-order mark are refused': [
      [REFUSED, 'invalid UTF-8: an overlong slash'],
      [REFUSED, 'a byte-order mark'],
    ],
    'nesting over 32 is refused': [
      [CODEC, 'nesting: 32 passes, 33 is refused'],
      [REFUSED, 'arrays nested 33 deep'],
    ],
    'over 20 000 object members are refused': [
      [CODEC, 'members: 20000 pass, 20001 are refused'],
      [REFUSED, '20001 members'],
    ],
    'over 1 MiB is refused': [
      [HTTP, 'that says so is refused before it comes, with an answer that arrives'],
      [CODEC, 'size: 1 MiB passes, one byte more is too_large whatever the bytes are'],
      [REFUSED, '1 MiB and one byte'],
    ],
    'any finite double is allowed, large integral ones too': [
      [CANONICAL, 'any finite double comes back from its text'],
      [PEER, 'batch_sum adds integers, floats and doubles beyond every integer'],
    ],
    'an integer that no double holds never verifies': [
      [PEER, 'a form that is not canonical, and an integer that no double holds, never verify'],
    ],
    'limits can be configured': [
      [BEFORE_MAC, 'limits that are set hold: bytes, depth and members'],
      [CODEC, 'tighter limits of an operator hold'],
    ],
  },
  '§3': {
    'the two secrets of a client are independent': [
      ['client/credential.test.ts', 'one key twice'],
      [
        PEER,
        'a tampered request, an unknown client and the key of another get one and the same bad_signature',
      ],
    ],
    'a generated secret is wb_, 32 random bytes and a checksum': [
      [SECRET, 'is wb_, 32 bytes in base64url and a CRC-32, so that scanners can find it'],
      [SECRET, 'with one character changed is known to be mistyped'],
    ],
    'the receiver tries both secrets of a slot': [
      [
        BEFORE_MAC,
        'both generations of keys are accepted, and a reply is signed with the key of the generation that asked',
      ],
      ['wire/algorithms.test.ts', 'is found under the key that fits, wherever it stands'],
    ],
    'a short or low-entropy secret of an operator needs --allow-weak-key': [
      [SECRET, '%s: %s'],
      ['cli/wrong-use.test.ts', 'keys of the operator’s own'],
    ],
    'signatures are compared in full, at equal length': [
      [SIGNATURE, 'with any bit of its digits flipped does not hold'],
      [SIGNATURE, 'that is empty, cut or too long never holds, not even after one that did'],
    ],
    'an unknown client and a wrong signature cannot be told apart': [
      [BEFORE_MAC, 'an unknown client and a wrong key get the same reply, byte for byte'],
      [ERRORS, 'bad_signature says the same for an unknown client and for a wrong MAC'],
      [
        PEER,
        'a tampered request, an unknown client and the key of another get one and the same bad_signature',
      ],
    ],
    'fingerprint is the first 32 hex digits of a MAC under the response key': [
      [SIGNATURE, 'the fingerprint is the first 32 hex digits of a MAC under the response key'],
      [PEER, 'server_identity names the server and proves its response key by the fingerprint'],
    ],
  },
  '§4': {
    'what is too large or of another type is refused before anything else': [
      [REFUSED, '2 MiB of what is not even UTF-8'],
      [ERRORS, 'unsupported_media_type'],
    ],
    'depth and members are counted before JSON.parse': [
      [CODEC, 'a mebibyte of brackets is refused before JSON.parse'],
      ['wire/scan.test.ts', 'a mebibyte of backslashes, quotes or brackets is read in one pass'],
    ],
    'the canonical form must count as many members as the scan': [
      [
        'wire/scan.test.ts',
        'is the number of members of the parsed value, for every JSON text without doubled names',
      ],
      [CODEC, 'any doubled member is refused, wherever it stands'],
    ],
    'each step comes in its order': [
      [
        FRESHNESS,
        'signature, server, window, nonce, request_id, policy, tool, schema: the first that is broken is told',
      ],
    ],
    'from the MAC on, replies are signed': [
      [FRESHNESS, 'a refusal after the MAC holds is signed and comes from this server'],
    ],
    'whatever bytes come, the reply is one message': [
      [BEFORE_MAC, 'whatever bytes come, the reply is one message, unsigned and a refusal'],
    ],
    'rate, quota and scope are decided before anything runs': [
      [
        AFTER_MAC,
        'is asked who calls what, for every call that is not known already, and for none that is forged',
      ],
      [AFTER_MAC, 'can forbid'],
      [AFTER_MAC, 'can slow down, and says for how long'],
    ],
    'no state is touched before the MAC holds': [
      [BEFORE_MAC, 'nothing is stored: thousands of forged messages leave no nonce and no row'],
      [ERRORS, 'a refused signature leaves no trace: the nonce can still be used'],
      [TAMPER, 'every byte of a signed request flipped in turn is refused, and nothing runs'],
    ],
    'the window is looked at before the nonce is stored': [
      [ERRORS, 'stale leaves no trace: the nonce can still be used'],
    ],
    'the nonce is stored before anything else is decided': [
      [ERRORS, 'replayed, although the first was refused after its MAC held'],
    ],
    'arguments are checked by the tool’s input schema': [
      [ERRORS, 'invalid_args'],
      [PEER, 'arguments that break the schema are refused with their issues'],
    ],
    'results are checked by the tool’s output schema': [
      [ERRORS, 'internal, when a tool breaks its own output schema'],
      ['tools/invoke.test.ts', 'by returning %s is internal; the log says where'],
    ],
    'the result is signed as it was checked': [
      [
        'tools/invoke.test.ts',
        'has its result as the output schema returns it: completed, and without unknown members',
      ],
    ],
  },
  '§5': {
    'the window is from 300 s ago to 60 s ahead': [
      [FRESHNESS, '%s: %i ms from the server’s clock is %s'],
      [CALLS, 'the time window, near its ends'],
    ],
    'a stale reply is signed and carries the clock of the server': [
      [FRESHNESS, 'a stale reply carries the clock of the server, from which a client corrects its own'],
      [PEER, 'a client with a wrong clock corrects it from the stale reply and retries the same request_id'],
    ],
    'a client corrects its skew from a stale reply and retries once': [
      [CLOCK, 'by %d ms learns the time from a stale reply and retries once'],
      [CLOCK, 'is told stale when the correction did not help'],
    ],
    'a nonce is stored atomically if absent': [
      [STORE, 'of 1 000 that claim one nonce at once, one does'],
      [ONCE, '1 000 copies of one transmission run it once; the other 999 are replayed and get no result'],
      [ERRORS, 'replayed, of two copies at once'],
    ],
    'a nonce is kept until its message has left the window': [
      [
        FRESHNESS,
        'a replay at the very end of the window is refused, even if the clock ticks between two looks at it',
      ],
      [NONCES, 'refuses a nonce for as long as its message can be in the window, to the millisecond'],
    ],
    'live nonces are never evicted: when the store is full the reply is busy': [
      [FRESHNESS, 'when the store of nonces is full the reply is busy, and nothing runs'],
      [
        NONCES,
        'is busy when it is full, says when to come back, and takes calls again when the window has passed',
      ],
    ],
    'when the store cannot be written the reply is busy': [
      [NONCES, 'lets nothing through that is not written, and takes calls again when there is room'],
    ],
    'a nonce belongs to its client': [
      [FRESHNESS, 'another client may use the same nonce'],
      [STORE, 'two clients may use the same nonce'],
    ],
    'the nonce guard survives kill -9 and restart': [
      [FRESHNESS, 'a replay from before a crash is refused'],
      [KILL, SURVIVES_KILL],
      [
        NONCES,
        'lets through no replay and refuses nothing new, over any course of time, restarts and crashes',
      ],
    ],
    'the same nonce again is replayed and fetches nothing': [
      [FRESHNESS, 'the same bytes again are replayed, signed, and get no result'],
      [ERRORS, 'replayed, the same nonce in another message'],
      [PEER, 'a captured request sent again is replayed and fetches nothing'],
    ],
    'an honest retry of a job gets the same job_id': [
      [CALLS, 'a job from accepted to done; a retry gives the same job'],
      [ONCE, '1 000 copies of one request start one job, and all get its one job_id'],
      [PEER, WALKED_ONCE_ONLY],
    ],
    'an honest retry of a direct tool that is not repeatable gets the recorded outcome': [
      [RETRIES, 'gets the recorded outcome, freshly signed, and nothing runs twice'],
      [CALLS, 'a retry of a call that must not run twice'],
      [
        ONCE,
        '1 000 copies of one request run a tool that is not repeatable once, and all get its one outcome',
      ],
    ],
    'what ran when its process died is never run again: it is internal': [
      [RETRIES, 'one whose process died over it is internal from the restart on, and is never run again'],
      [KILL, SURVIVES_KILL],
    ],
    'an honest retry may spell its args in another way': [
      [RETRIES, 'the same arguments in another order and spelling are the same call'],
    ],
    'a request_id belongs to its client': [[RETRIES, 'another client’s request_id is another call']],
    'a repeatable tool runs again': [
      [RETRIES, 'runs again: %o'],
      [CALLS, 'a retry of a repeatable call'],
    ],
    'a tool is repeatable when its annotations say readOnlyHint or idempotentHint': [
      ['tools/define-tool.test.ts', 'with the annotations %j is repeatable: %s'],
    ],
    'a request that still runs is in_progress': [
      [RETRIES, 'in_progress while it runs, with when to come back'],
      [ERRORS, 'in_progress, and afterwards the recorded outcome'],
    ],
    'the same request_id with another tool or other args is a conflict': [
      [ERRORS, 'request_id_conflict of a direct call'],
      [ERRORS, 'request_id_conflict of a job'],
      [ERRORS, 'request_id_conflict with another tool'],
    ],
    'records outlive the window, for 24 h by default, and then they go': [
      [RETRIES, 'its record outlives the window: it is there for a day, then forgotten'],
      [SWEEPER, 'forgets requests that have expired'],
      [SWEEPER, 'forgets a job when its retention has passed, and not before'],
      [STORE, 'a sweep forgets what has expired, at most as much as it may, and says how much'],
    ],
    'a client retries busy, rate_limited and in_progress as they say': [
      [RETRY, 'follows %s'],
      [RETRY, 'honours retry_after_ms of %s'],
      [RETRY, 'but not on in_progress: the call is alive, and its outcome is waited for'],
    ],
  },
  '§6': {
    'a job answers accepted with job_id and poll_after_ms': [
      [JOBS, 'with its id and when to poll, over HTTP with status 202'],
      [CALLS, 'start_long_task'],
      [PEER, 'a job is accepted, reports progress while it runs, and gives its payload back'],
    ],
    'accepted is said once the job is durable: kill -9 loses none': [
      [KILL, SURVIVES_KILL],
      [
        'jobs/crash.test.ts',
        'kill -9 loses no accepted job: what ran and what waited is run by the next process',
      ],
      ['store/commit.test.ts', 'a read does not resolve before what it saw is committed'],
    ],
    'SIGTERM loses no job: those that run finish or go back': [
      [
        'jobs/drain.test.ts',
        'a job that does not end in time is told, goes back to the queue uncounted, and runs after a reopen',
      ],
      [
        TERMINATE,
        'ends it with exit code 0; jobs finish or go back and finish after restart; nothing is lost',
      ],
    ],
    'a running job shows its progress': [
      [JOBS, 'running: running, with the progress or null'],
      [CALLS, 'a job that runs says so, with its progress'],
      [WORKER, 'is written at once, then seldom, and the last value is kept'],
    ],
    'wait_ms holds the reply until something changes': [
      [JOBS, 'holds the reply until there is progress, and until the job ends'],
      [JOBS, 'ends with the time, and the reply says how the job stands'],
    ],
    'wait_ms is from 0 to 30 000': [[JOBS, '%d is refused']],
    'a queued job is accepted': [[JOBS, 'queued: accepted']],
    'a job that succeeded is done, with the tool’s output': [
      [JOBS, 'succeeded: done, with the output of the tool'],
      [CALLS, 'a job from accepted to done; a retry gives the same job'],
    ],
    'a failed job is job_failed': [
      [JOBS, 'failed: error, job_failed'],
      [ERRORS, 'job_failed of a job'],
      [WORKER, 'with a failure that the tool states is final'],
    ],
    'a cancelled job is cancelled': [
      [JOBS, 'cancelled: error, cancelled'],
      [ERRORS, 'cancelled'],
      [PEER, 'a cancelled job answers polls with ok and the error cancelled'],
    ],
    'an expired job is deadline_exceeded': [
      [JOBS, 'expired: error, deadline_exceeded'],
      [ERRORS, 'deadline_exceeded of a job'],
      [SWEEPER, 'ends a running job at its deadline and so aborts its tool, whose result is dropped'],
    ],
    'an ended job never changes': [[STORE, 'a job that is $state never changes again']],
    'only the newest attempt writes': [[STORE, 'a fence that is lost writes nothing']],
    'a foreign job and an unknown one get the same not_found': [
      [PEER, 'the job of another client and an unknown job get the same not_found'],
    ],
    'a foreign poll is not even held': [[JOBS, 'a held poll of a foreign id is not held']],
    'job ids are unguessable': [[JOBS, 'its id can be neither guessed from another nor repeated']],
    'a job outlives its server': [
      [JOBS, 'a job that was accepted before a restart is run after it, and polled from the new server'],
    ],
    'only the client that started a job lists it': [
      [JOBS, 'list_jobs shows nobody else’s'],
      [STORE, 'another client’s jobs are never listed, whatever cursor is given'],
      [PEER, 'list_jobs shows the jobs of this client and of no other'],
    ],
  },
  '§7': {
    'server_identity says who the server is and what it can do': [
      [BUILT_IN, 'says who the server is, which response key it holds, and what it can do'],
      [BUILT_IN, 'shows each client the fingerprint of its own key'],
      [CALLS, 'server_identity'],
      [PEER, 'server_identity names the server and proves its response key by the fingerprint'],
    ],
    'list_tools gives names, descriptions, schemas, kind and annotations, in pages': [
      [BUILT_IN, 'lists every tool in the order of names, the built-in ones too'],
      [BUILT_IN, 'tells of a tool all that a caller needs'],
      [BUILT_IN, 'goes on from any cursor'],
    ],
    'schemas are JSON Schema 2020-12': [
      ['tools/define-tool.test.ts', 'describes itself in JSON Schema 2020-12'],
    ],
    'list_jobs gives the newest first, in pages, of one state if asked': [
      [JOBS, 'pages through all jobs, newest first, each once'],
      [JOBS, 'tells of each job what a person wants to know, and filters by status'],
    ],
    'built-in tools take and give what their schemas say': [
      [BUILT_IN, 'every built-in tool takes what its published schema says and gives what it says'],
    ],
    'answer_job answers what a job asks, for the client that started it only': [
      [ANSWER_JOB, 'shows its questions beside its progress, as long as they are not answered'],
      [ANSWER_JOB, 'a foreign job and an unknown one get the same not_found, and nothing is answered'],
      [ANSWER_JOB, 'content that breaks its schema is refused and nothing is kept: %s'],
    ],
    'cancel_job ends a job, and says how one that had ended has ended': [
      [JOBS, 'ends a queued job, which then never runs'],
      [JOBS, 'aborts the tool of a running job'],
      [JOBS, 'says how a job has ended that had ended, again and again, and changes nothing'],
    ],
    'batch_sum counts and adds': [
      [CALLS, 'batch_sum'],
      [PEER, 'batch_sum adds integers, floats and doubles beyond every integer'],
    ],
    'start_long_task reports progress and gives its payload back': [
      [PEER, 'a job is accepted, reports progress while it runs, and gives its payload back'],
    ],
  },
  '§8': {
    'refusals before the MAC are unsigned, and there are only four': [
      [
        'errors/codes.test.ts',
        'sent before the MAC holds are the unsigned codes of the table, no more and no fewer',
      ],
      [PEER, 'every reply verifies, but for those that are sent before the MAC holds'],
    ],
    'bad_envelope names path and reason, of the sender’s own bytes only': [
      [CODEC, 'the message never quotes the input'],
      [CODEC, 'a path is made of the sender’s names, but short and of printable ASCII'],
    ],
    'a client never takes an unsigned reply for an answer': [
      [REPLY, 'not when %s'],
      [RETRY, 'after four replies of %s, which nobody signed, as reply_unverified'],
    ],
    wrong_server: [[ERRORS, 'wrong_server']],
    unknown_tool: [[ERRORS, 'unknown_tool']],
    forbidden: [[ERRORS, 'forbidden']],
    'rate_limited and busy say when to come back': [
      [ERRORS, 'rate_limited'],
      [ERRORS, 'busy'],
    ],
    'deadline_exceeded of a direct call': [[ERRORS, 'deadline_exceeded of a direct call']],
    'internal has an opaque id; the detail goes to the log only': [
      [BEFORE_MAC, 'secrets are in no reply and in no line of the log'],
      [
        'tools/invoke.test.ts',
        'is internal with an opaque id; the detail is in the log under that id and nowhere else',
      ],
      [ERRORS, 'internal, when a tool breaks'],
    ],
    'a direct tool that states its failure is handled, with job_failed': [
      [AFTER_MAC, 'a failure that it states is an answer: handled, with status error'],
      [ERRORS, 'job_failed of a direct call'],
    ],
    'invalid_args lists the issues': [
      ['tools/schema.test.ts', 'that break it are refused with every issue, its path and its message'],
    ],
    'one table holds code, HTTP status, retryable and meaning; docs agree with it both ways': [
      ['errors/codes.test.ts', '%s has an HTTP status that fits and a meaning'],
      ['docs/errors.test.ts', 'says of every code what the table of codes says, and of no other'],
      ['conformance/cases.test.ts', 'errors.json shows every code of the table, and no other'],
    ],
    'a client accepts a reply only if it verifies, answers its request, is of its server and fresh': [
      [REPLY, 'verified, to its request, from its server and fresh'],
      [REPLY, 'not when %s'],
    ],
  },
  '§9': {
    'over HTTP, POST /call takes one message and gives one': [
      [HTTP, 'one message each way, as application/json, with the status of its code'],
      [HTTP, '%s %s gets %i'],
      ['client/transport.test.ts', 'posts the bytes as application/json and returns those of the reply'],
      [PEER, 'a captured request sent again is replayed and fetches nothing'],
    ],
    'the code table gives the HTTP status, 202 for accepted': [
      [AFTER_MAC, 'a refusal with the code %s goes out with HTTP status %i'],
      ['conformance/cases.test.ts', 'expects what the table of codes says'],
    ],
    'over stdio, one message a line': [
      [STDIO, 'each line is answered with a line'],
      [STDIO, 'lines may come in any pieces'],
      ['cli/serve.test.ts', '--stdio answers one message a line on stdout alone, and ends when stdin ends'],
    ],
    'replies over stdio come in the order in which they are ready': [
      [STDIO, 'a quick call does not wait for a slow one'],
    ],
    'in process: bytes in, bytes out, the same as over every other binding': [
      ['transports/in-process.test.ts', 'the bytes are those of every other transport'],
    ],
    'over HTTP a message is application/json': [
      [HTTP, 'content-type %j gets %i'],
      [HTTP, 'no content-type at all gets 415'],
    ],
    'every case of conformance/ passes over HTTP': [
      ['conformance/run.test.ts', 'finds nothing wrong, and with both sets of tools skips nothing'],
    ],
  },
  '§10': {
    'another version is refused': [
      [CODEC, 'v: %j is refused'],
      [CODEC, 'mcp/0.1 is the version this build speaks'],
    ],
    'a server lists the versions it speaks': [
      [PEER, 'server_identity names the server and proves its response key by the fingerprint'],
    ],
    'a reply uses the version of its request': [
      [PEER, 'every reply verifies, but for those that are sent before the MAC holds'],
    ],
  },
  '§11': {
    'json.dumps is the canonical form within the stated bounds, and not outside of them': [
      [PEER, 'json.dumps writes it too, within the bounds of §11'],
      [PEER, 'json.dumps writes another text just outside of the bounds of §11'],
    ],
    'the server never tries a second canonical form': [
      [PEER, 'a form that is not canonical, and an integer that no double holds, never verify'],
    ],
    'a client written from this text alone walks the whole flow and verifies every reply': [
      [PEER, 'every reply verifies, but for those that are sent before the MAC holds'],
    ],
  },
};

export const REQUIREMENTS: readonly Requirement[] = Object.entries(BY_SECTION).flatMap(([section, rules]) =>
  Object.entries(rules).map(([rule, tests]) => ({ section, rule, tests })),
);
