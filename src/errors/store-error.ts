/** The store cannot be read or written now; callers are told `busy` (docs/protocol.md §5). */
export class StoreError extends Error {
  override readonly name = 'StoreError';
}
