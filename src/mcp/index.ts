export { mcpRoute } from './http.ts';
export type { McpOptions } from './options.ts';
export { serveMcp, type ServeMcpOptions } from './serve-mcp.ts';
export { type Wrapped, wrapServer, type WrapOptions } from './wrap/wrap.ts';
