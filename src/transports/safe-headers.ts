/**
 * What every HTTP answer says beside its own headers. Answers are for one caller alone: nothing between keeps a copy,
 * and a browser that gets hold of one takes it for the data that it is.
 */
const SAFE_HEADERS = { 'cache-control': 'no-store', 'x-content-type-options': 'nosniff' } as const;

/** A browser that came here over TLS once never comes without it again, for a year. Of this host name only. */
const TLS_HEADERS = { ...SAFE_HEADERS, 'strict-transport-security': 'max-age=31536000' } as const;

export type SafeHeaders = typeof SAFE_HEADERS | typeof TLS_HEADERS;

export const safeHeaders = (overTls: boolean): SafeHeaders => (overTls ? TLS_HEADERS : SAFE_HEADERS);
