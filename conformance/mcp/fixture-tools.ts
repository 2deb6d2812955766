import type { Tool } from '../../src/tools/index.ts';
import { CONTENT_TOOLS } from './fixture-content.ts';
import { TASK_TOOLS } from './fixture-tasks.ts';

/** The tools that the official conformance runner of the Model Context Protocol calls. */
export const FIXTURE_TOOLS: readonly Tool[] = [...CONTENT_TOOLS, ...TASK_TOOLS];
