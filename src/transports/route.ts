/**
 * A path that is served beside `POST /call`, such as `/mcp`. It sees a request as any HTTP transport can show
 * it, so that it runs on node:http and behind a web-standard handler alike.
 */
export interface Route {
  readonly path: string;
  /** Longest body that it reads, in bytes. */
  readonly maxBodyBytes: number;
  /** Answers every method on its path; never rejects. */
  handle(request: RouteRequest): Promise<RouteAnswer>;
  /** Ends what would stay open for as long as its client likes, such as subscriptions. */
  readonly close?: () => void;
}

/** What a route is shown of a request. */
export interface RouteRequest {
  readonly method: string;
  /** The value of a header, by its name in lower case; values of one that came twice are joined by a comma. */
  header(name: string): string | undefined;
  /** `null`: it was longer than `maxBodyBytes`, and was not read. */
  readonly body: Uint8Array | null;
  /** Aborts when whoever asked has gone. */
  readonly signal: AbortSignal;
}

/**
 * Its headers come beside those that every answer has: `cache-control: no-store`, `x-content-type-options: nosniff`.
 * One body, or a stream of server-sent events: each string is one event's data.
 */
export type RouteAnswer =
  | {
      readonly status: number;
      readonly headers: Readonly<Record<string, string>>;
      readonly body: string;
    }
  | {
      readonly status: number;
      readonly headers: Readonly<Record<string, string>>;
      readonly events: AsyncIterable<string>;
    };
