/** Something around the program is not as it must be; the message says what to do. Exit code 2 in the CLI. */
export class SetupError extends Error {
  override readonly name = 'SetupError';
}
