/**
 * Thrown by a tool to report a failure that its caller may read: the message reaches the client
 * as `job_failed: <message>`. Any other error a tool throws is reported without its message.
 */
export class ToolError extends Error {
  override readonly name = 'ToolError';
  /** For a job: try again while attempts are left. Default `false`: a stated failure is final. */
  readonly retryable: boolean;

  constructor(message: string, options: ErrorOptions & { retryable?: boolean } = {}) {
    super(message, options);
    this.retryable = options.retryable ?? false;
  }
}
