/**
 * RFC 8785 for values that JSON.parse gave: the runner's own, because a referee must not share the
 * mistakes of the player. Built on JSON.stringify, whose numbers and escapes are those of the RFC.
 */
export function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  // `<` compares strings by UTF-16 code units, as the RFC wants.
  const members = Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1));
  return `{${members.map(([name, member]) => `${JSON.stringify(name)}:${canonical(member)}`).join(',')}}`;
}

/** The text on the wire: the signed text with the signature as its last member. */
export function withSignature(signedText: string, signature: string): string {
  return `${signedText.slice(0, -1)},"signature":"${signature}"}`;
}
