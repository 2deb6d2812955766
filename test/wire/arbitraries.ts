import fc from 'fast-check';
import type { JsonValue } from '../../src/wire/index.ts';

/** Any finite double, each bit pattern as likely as any other, with the usual troublemakers among them. */
export const anyFiniteNumber: fc.Arbitrary<number> = fc.oneof(
  fc
    .bigInt({ min: 0n, max: 2n ** 64n - 1n })
    .map((bits) => new Float64Array(new BigUint64Array([bits]).buffer)[0] ?? 0)
    .filter(Number.isFinite),
  fc.integer(),
  fc.constantFrom(0, -0, 1e21, 1e-7, 5e-324, Number.MAX_VALUE, 2 ** 53, 2 ** 53 + 2, 0.1 + 0.2),
);

/** Well-formed text from the whole of Unicode, and short texts that often share a beginning. */
export const anyText: fc.Arbitrary<string> = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 12 }),
  fc.string({
    unit: fc.constantFrom('a', 'b', '"', '\\', ':', '{', '\u0000', '\ufb33', '\u{1f602}', '\u20ac'),
    maxLength: 6,
  }),
);

/** Any value that a message may hold: no `__proto__`, no doubled names. */
export const anyJson: fc.Arbitrary<JsonValue> = fc.letrec<{ value: JsonValue }>((tie) => ({
  value: fc.oneof(
    { depthSize: 'small', maxDepth: 6 },
    fc.constantFrom(null, true, false),
    anyFiniteNumber,
    anyText,
    fc.array(tie('value'), { maxLength: 5 }),
    fc
      .array(
        fc.tuple(
          anyText.filter((name) => name !== '__proto__'),
          tie('value'),
        ),
        { maxLength: 6 },
      )
      .map((members) => Object.fromEntries(members)),
  ),
})).value;
