import { z } from 'zod';
import type { Outcome } from '../../store/index.ts';
import type { Annotations } from '../../tools/index.ts';
import type { BuiltIn, Caller } from '../registry.ts';

/** A built-in tool; its schemas are zod's, printed for discovery like everybody's. */
export function defineBuiltIn<Args>(definition: {
  readonly name: string;
  readonly description: string;
  readonly annotations: Annotations;
  readonly input: z.ZodType<Args>;
  readonly output: z.ZodType;
  readonly answer: (args: Args, caller: Caller) => Promise<Outcome> | Outcome;
}): BuiltIn {
  const { name, description, annotations, input, output, answer } = definition;
  return {
    kind: 'built-in',
    name,
    description,
    annotations,
    input,
    inputSchema: z.toJSONSchema(input, { io: 'input' }),
    outputSchema: z.toJSONSchema(output, { io: 'output' }),
    job: null,
    repeatable: true,
    // The pipeline has parsed the arguments with `input` before it calls.
    answer: (args, caller) => answer(args as Args, caller),
  };
}
