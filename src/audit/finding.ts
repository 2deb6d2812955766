/** Everything that can be wrong with a bundle or a chain, and how it is said of what is named before it. */
const PROBLEMS = {
  not_a_bundle: 'does not begin with the line of a bundle',
  wrong_key: 'is of another key than expected',
  wrong_server: 'is of another server than the first line says',
  changed: 'was changed',
  missing: 'is missing',
  out_of_order: 'is out of order',
  twice: 'stands here once more',
  added: 'was added',
  cut_off: 'is cut off',
  not_json: 'is not a line of JSON',
  too_long: 'is a line that is too long',
  head_signature:
    'is a head whose signature does not hold: it was changed, or a record since the head before',
  after_close: 'stands after the end of its chain',
  not_linked: 'is another record than the one that was there before',
  unsigned:
    'and what follows is signed by no head, for longer than any process waits: it may have been made up',
  wrong_end: 'has a last line that does not fit',
} as const;

export type Problem = keyof typeof PROBLEMS;

/** Of what something is said: `null` where it is no single chain or record. */
export interface Subject {
  readonly chain: string | null;
  readonly seq: number | null;
}

/** The first thing that is wrong. */
export interface Finding extends Subject {
  readonly problem: Problem;
  /** Of the bundle or of what was read, from 1; where it was noticed. */
  readonly line: number;
  /** A sentence for people, without the end. */
  readonly message: string;
}

/** The bundle as a whole. */
export const WHOLE: Subject = { chain: null, seq: null };

export function finding(problem: Problem, { chain, seq }: Subject, line: number, detail = ''): Finding {
  const what =
    chain === null
      ? seq === null
        ? 'the bundle'
        : `record ${seq} of a chain`
      : seq === null
        ? `chain ${chain}`
        : `chain ${chain}, record ${seq}`;
  const more = detail === '' ? '' : `: ${detail}`;
  return { problem, chain, seq, line, message: `${what} (line ${line}) ${PROBLEMS[problem]}${more}` };
}
