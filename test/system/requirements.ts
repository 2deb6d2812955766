/**
 * Every behaviour that docs/protocol.md requires, with the tests that show it. A rule without a test, or
 * one whose test was renamed, fails requirements.test.ts.
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
const STORE = 'store/record-store.suite.ts';
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
    'limits can be configured': [[CODEC, 'tighter limits of an operator hold']],
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
      [SIGNATURE, 'holds under any of the active keys, whichever fits'],
    ],
    'a short or low-entropy secret of an operator needs --allow-weak-key': [[SECRET, '%s: %s']],
    'signatures are compared in full, at equal length': [
      [SIGNATURE, 'with any bit of its digits flipped does not hold'],
      [SIGNATURE, 'that is empty, cut or too long never holds, not even after one that did'],
    ],
    'an unknown client and a wrong signature cannot be told apart': [
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
    'no state is touched before the MAC holds': [
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
      [CALLS, 'the time window, near its ends'],
      [ERRORS, 'stale, too old'],
      [ERRORS, 'stale, from the future'],
    ],
    'a stale reply is signed and carries the clock of the server': [
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
    'a nonce belongs to its client': [[STORE, 'two clients may use the same nonce']],
    'the nonce guard survives kill -9 and restart': [[KILL, SURVIVES_KILL]],
    'the same nonce again is replayed and fetches nothing': [
      [ERRORS, 'replayed, the same nonce in another message'],
      [PEER, 'a captured request sent again is replayed and fetches nothing'],
    ],
    'an honest retry of a job gets the same job_id': [
      [CALLS, 'a job from accepted to done; a retry gives the same job'],
      [ONCE, '1 000 copies of one request start one job, and all get its one job_id'],
      [PEER, WALKED_ONCE_ONLY],
    ],
    'an honest retry of a direct tool that is not repeatable gets the recorded outcome': [
      [CALLS, 'a retry of a call that must not run twice'],
      [
        ONCE,
        '1 000 copies of one request run a tool that is not repeatable once, and all get its one outcome',
      ],
    ],
    'what ran before a kill is not run again': [[KILL, SURVIVES_KILL]],
    'a repeatable tool runs again': [[CALLS, 'a retry of a repeatable call']],
    'a tool is repeatable when its annotations say readOnlyHint or idempotentHint': [
      ['tools/define-tool.test.ts', 'with the annotations %j is repeatable: %s'],
    ],
    'a request that still runs is in_progress': [
      [ERRORS, 'in_progress, and afterwards the recorded outcome'],
    ],
    'the same request_id with another tool or other args is a conflict': [
      [ERRORS, 'request_id_conflict of a direct call'],
      [ERRORS, 'request_id_conflict of a job'],
      [ERRORS, 'request_id_conflict with another tool'],
    ],
    'records expire, and not before their time': [
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
      [CALLS, 'start_long_task'],
      [PEER, 'a job is accepted, reports progress while it runs, and gives its payload back'],
    ],
    'accepted is said once the job is durable: kill -9 loses none': [
      [KILL, SURVIVES_KILL],
      ['store/flush.test.ts', 'a write waits for the disk, and so does each read that saw it'],
    ],
    'SIGTERM loses no job: those that run finish or go back': [
      [
        TERMINATE,
        'ends it with exit code 0; jobs finish or go back and finish after restart; nothing is lost',
      ],
    ],
    'a running job shows its progress': [[CALLS, 'a job that runs says so, with its progress']],
    'wait_ms holds the reply until something changes': [
      [STORE, 'who waits for a change is woken by %s'],
      ['client/http.test.ts', 'a held poll ends although garbage is collected meanwhile'],
    ],
    'a job that succeeded is done, with the tool’s output': [
      [CALLS, 'a job from accepted to done; a retry gives the same job'],
    ],
    'a failed job is job_failed': [[ERRORS, 'job_failed of a job']],
    'a cancelled job is cancelled': [
      [ERRORS, 'cancelled'],
      [PEER, 'a cancelled job answers polls with ok and the error cancelled'],
    ],
    'an expired job is deadline_exceeded': [[ERRORS, 'deadline_exceeded of a job']],
    'an ended job never changes': [[STORE, 'a job that is $state never changes again']],
    'only the newest attempt writes': [[STORE, 'a fence that is lost writes nothing']],
    'a foreign job and an unknown one get the same not_found': [
      [PEER, 'the job of another client and an unknown job get the same not_found'],
    ],
    'only the client that started a job lists it': [
      [STORE, 'another client’s jobs are never listed, whatever cursor is given'],
      [PEER, 'list_jobs shows the jobs of this client and of no other'],
    ],
  },
  '§7': {
    'server_identity says who the server is and what it can do': [
      [CALLS, 'server_identity'],
      [PEER, 'server_identity names the server and proves its response key by the fingerprint'],
    ],
    'list_tools gives names, descriptions, schemas, kind and annotations, in pages': [
      [CALLS, 'list_tools'],
      ['client/client.test.ts', 'tools fetches every page'],
    ],
    'schemas are JSON Schema 2020-12': [
      ['tools/define-tool.test.ts', 'describes itself in JSON Schema 2020-12'],
    ],
    'list_jobs gives the newest first, in pages, of one state if asked': [
      [CALLS, 'list_jobs'],
      [STORE, 'jobs are listed newest first'],
      [STORE, 'a list can be of one state'],
    ],
    'cancel_job ends a job': [
      [STORE, 'a %s job can be ended from outside as $state'],
      ['client/http.test.ts', 'a job is cancelled'],
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
      [
        'tools/invoke.test.ts',
        'is internal with an opaque id; the detail is in the log under that id and nowhere else',
      ],
      [ERRORS, 'internal, when a tool breaks'],
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
      ['client/transport.test.ts', 'posts the bytes as application/json and returns those of the reply'],
      [PEER, 'a captured request sent again is replayed and fetches nothing'],
    ],
    'the code table gives the HTTP status, 202 for accepted': [
      ['conformance/cases.test.ts', 'expects what the table of codes says'],
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
    'a reply uses the version of its request': [[REPLY, 'not when %s']],
  },
};

export const REQUIREMENTS: readonly Requirement[] = Object.entries(BY_SECTION).flatMap(([section, rules]) =>
  Object.entries(rules).map(([rule, tests]) => ({ section, rule, tests })),
);
