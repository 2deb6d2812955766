export { CODES, type Code, codeOf, ProtocolError, ToolError } from './errors/index.ts';
export {
  type Annotations,
  type Answer,
  type Answers,
  type Content,
  type ContentBlock,
  contentOutput,
  defineTool,
  type JobPolicy,
  type Logger,
  type Progress,
  type Question,
  type Questions,
  type Schema,
  type Tool,
  type ToolContext,
  type ToolDefinition,
  withJsonSchema,
} from './tools/index.ts';
export { REQUEST_SCHEMA, RESPONSE_SCHEMA } from './wire/envelope-schema.ts';
