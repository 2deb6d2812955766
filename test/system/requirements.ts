/**
 * Every behaviour that docs/protocol.md requires, with the tests that show it. A rule without a test, or
 * one whose test was renamed, fails requirements.test.ts.
 */
type Tests = Readonly<Record<string, readonly string[]>>;

export interface Requirement {
  readonly section: string;
  readonly rule: string;
  /** File below test/ and title of the test. */
  readonly tests: readonly (readonly [file: string, title: string])[];
}

const BY_SECTION: Readonly<Record<string, Readonly<Record<string, Tests>>>> = {
  '§1': {
    'A message has nine members, all required': {
      'wire/codec.test.ts': ['are nine, each with a rule that is tested here', '%s is required'],
    },
    'No other members are allowed': {
      'wire/codec.test.ts': ['"%s" beside them is refused', 'a member without name is refused'],
      'system/peer.test.ts': ['a tenth member and another media type are refused before the MAC'],
    },
    'v is exactly mcp/0.1': { 'wire/codec.test.ts': ['v: %j is refused'] },
    'Each member is of its type and within its bounds': {
      'wire/codec.test.ts': ['%s follows its rule at its bounds'],
      'wire/envelope-schema.test.ts': ['accept the samples and the very same changed messages'],
    },
    'request_id and nonce are a UUID unless the caller says otherwise': {
      'client/request-id.test.ts': [
        'is a UUID of version 7 and of the variant of RFC 9562',
        'is new every time',
      ],
    },
    'request_id stays the same on a retry; nonce and ts_ms are new for every transmission': {
      'client/retry.test.ts': ['keeps request_id, tool and args, and takes a new nonce and time'],
    },
    'A response echoes the request_id, also when it refuses': {
      'wire/codec.test.ts': ['by its own request_id when that is well-formed'],
    },
    'error is null unless status is error': { 'wire/codec.test.ts': ['%j is refused: %s'] },
    'error is written code: message': {
      'errors/errors.test.ts': ['says itself as "code: message"'],
      'errors/codes.test.ts': ['%s is read from "code: message"'],
    },
    'ok true with status error says that the poll worked and the job failed': {
      'system/peer.test.ts': ['a cancelled job answers polls with ok and the error cancelled'],
    },
  },
  '§2': {
    'The signature is the lower-case hex HMAC-SHA256 of the canonical message without signature': {
      'wire/signature.test.ts': [
        'is HMAC-SHA256 over UTF-8 under the UTF-8 bytes of the secret as printed, in lower-case hex',
        'case $tcId is $result',
      ],
      'wire/codec.test.ts': ['has the canonical text of an independent path, for any args'],
    },
    'Replies are signed in the same way': {
      'wire/codec.test.ts': ['has the canonical text of an independent path, for any result and any error'],
      'system/peer.test.ts': ['every reply verifies, but for those that are sent before the MAC holds'],
    },
    'The canonical form is RFC 8785': {
      'wire/canonical-json.test.ts': [
        '%s gives exactly the published bytes',
        'is the one of an independent implementation',
        'orders names by UTF-16 code units, not by code points or bytes of UTF-8',
      ],
      'system/peer.test.ts': [
        'both write the same text for any JSON value',
        'both write the same text for any double',
      ],
    },
    'The signature covers the values that were sent: every changed byte is refused': {
      'system/tamper.test.ts': [
        'every byte of a signed request flipped in turn is refused, and nothing runs',
      ],
      'client/reply.test.ts': ['every byte of it is as the server signed it'],
    },
    'The key is the UTF-8 bytes of the secret as it is printed': {
      'wire/signature.test.ts': ['of any text under any secret is the one of node:crypto on the bytes'],
    },
    'Senders append signature as the last member of the canonical text': {
      'wire/codec.test.ts': ['goes on the wire as its signed text with the signature as the last member'],
    },
    'Receivers do not depend on the order, white space and escapes of what arrives': {
      'wire/codec.test.ts': ['may be written in any order, with any white space and any escapes'],
    },
    'Duplicate names at any depth are refused, escaped spellings too': {
      'wire/codec.test.ts': ['any doubled member is refused, wherever it stands'],
    },
    'The name __proto__ is refused at any depth': {
      'wire/codec.test.ts': ['__proto__ deep inside', '__proto__ beside the nine'],
    },
    'Numbers that are not finite doubles are refused': {
      'wire/codec.test.ts': ['digits that no double can hold'],
    },
    'Invalid UTF-8, a byte-order mark and lone surrogates are refused': {
      'wire/codec.test.ts': [
        'a cut character at the end',
        'a byte-order mark',
        'a lone surrogate in error is refused',
      ],
    },
    'Nesting over 32 is refused': { 'wire/codec.test.ts': ['nesting: 32 passes, 33 is refused'] },
    'Over 20 000 object members are refused': {
      'wire/codec.test.ts': ['members: 20000 pass, 20001 are refused'],
    },
    'Over 1 MiB is too_large': {
      'wire/codec.test.ts': ['size: 1 MiB passes, one byte more is too_large whatever the bytes are'],
    },
    'Any finite double is allowed, large integral ones too': {
      'wire/canonical-json.test.ts': ['any finite double comes back from its text'],
      'system/peer.test.ts': ['batch_sum adds integers, floats and doubles beyond every integer'],
    },
    'An integer that no double holds never verifies': {
      'system/peer.test.ts': [
        'a form that is not canonical, and an integer that no double holds, never verify',
      ],
    },
    'Limits can be configured': { 'wire/codec.test.ts': ['tighter limits of an operator hold'] },
  },
};

export const REQUIREMENTS: readonly Requirement[] = Object.entries(BY_SECTION).flatMap(([section, rules]) =>
  Object.entries(rules).map(([rule, tests]) => ({
    section,
    rule,
    tests: Object.entries(tests).flatMap(([file, titles]) => titles.map((title) => [file, title] as const)),
  })),
);
