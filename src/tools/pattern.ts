/** Those of the patterns that no name fits. `*` stands for everything, also where there is nothing yet. */
export function idlePatterns(patterns: readonly string[], names: readonly string[]): readonly string[] {
  return patterns.filter((pattern) => pattern !== '*' && !names.some(matcherOf(pattern)));
}

/**
 * Tells whether names fit a pattern, where `*` stands for any run of characters, an empty one too. Each piece between
 * two stars is taken where it first occurs: what comes later could only leave less room, so nothing is tried twice.
 */
export function matcherOf(pattern: string): (name: string) => boolean {
  const [head = '', ...pieces] = pattern.split('*');
  const tail = pieces.pop();
  if (tail === undefined) return (name) => name === pattern;
  return (name) => {
    if (!name.startsWith(head)) return false;
    let from = head.length;
    for (const piece of pieces) {
      const found = name.indexOf(piece, from);
      if (found === -1) return false;
      from = found + piece.length;
    }
    return name.length - tail.length >= from && name.endsWith(tail);
  };
}
