export { type Content, type ContentBlock, contentOutput, isContentOutput } from './content.ts';
export type { Logger, Progress, ToolContext } from './context.ts';
export { type Annotations, defineTool, isTool, type Tool, type ToolDefinition } from './define-tool.ts';
export { invoke, parseArgs, type Settled } from './invoke.ts';
export type { JobPolicy } from '../limits.ts';
export {
  type Answer,
  type Answers,
  answerIssues,
  checkQuestions,
  type Question,
  type Questions,
  refuseToAsk,
} from './question.ts';
export { NONE } from './none.ts';
export { idlePatterns, matcherOf } from './pattern.ts';
export { type Issue, type JsonSchema, type Schema, withJsonSchema } from './schema.ts';
