export { CODES, type Code, codeOf, ProtocolError, ToolError } from './errors/index.ts';
export {
  type Annotations,
  defineTool,
  type JobPolicy,
  type Logger,
  type Progress,
  type Schema,
  type Tool,
  type ToolContext,
  type ToolDefinition,
  withJsonSchema,
} from './tools/index.ts';
export { REQUEST_SCHEMA, RESPONSE_SCHEMA } from './wire/envelope-schema.ts';
