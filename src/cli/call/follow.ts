import { ClientError } from '../../errors/index.ts';
import type { JobHandle, JobUpdate } from '../../client/index.ts';
import { isObject, type JsonObject } from '../../wire/index.ts';
import { Failure } from '../exits.ts';
import type { ClientFlags } from '../options.ts';
import { printable, shellWord } from '../output.ts';
import { progressView, questionsText } from '../progress-view.ts';

/**
 * Waits for the end of a job and shows on stderr how it goes.
 *
 * @returns its result
 * @throws ProtocolError of a job that did not succeed; Failure when the server is out of reach
 */
export async function follow(job: JobHandle, flags: ClientFlags, signal: AbortSignal): Promise<JsonObject> {
  const view = progressView(process.stderr);
  try {
    let result: JsonObject = {};
    let before = '';
    for await (const update of job.updates({ signal })) {
      if (update.error !== null) throw update.error;
      view.update(update.state, update.progress);
      const asked = questionsText(update.questions);
      if (asked !== '' && asked !== before)
        view.say(`the job waits for an answer: ${asked}; give it with ${answerHint(job, update, flags)}`);
      before = asked;
      result = update.result ?? result;
    }
    return result;
  } catch (error) {
    if (!(error instanceof ClientError)) throw error;
    // The client's own words speak to programmers.
    const { message } = error.cause instanceof ClientError ? error.cause : error;
    const hint = `${message}; the job may still run: ${jobCommand('wait', job.id, flags)}`;
    throw new Failure('noAnswer', error.kind, hint, { cause: error, result: { job_id: job.id } });
  } finally {
    view.end();
  }
}

export function goesOn(job: JobHandle, flags: ClientFlags): string {
  return `the job goes on; wait for it: ${jobCommand('wait', job.id, flags)}; or end it: ${jobCommand('cancel', job.id, flags)}`;
}

function answerHint({ id }: JobHandle, { questions }: JobUpdate, flags: ClientFlags): string {
  const answers = Object.entries(questions).map(([key, { schema }]) => [
    key,
    { action: 'accept', content: blankOf(schema) },
  ]);
  const json = JSON.stringify(Object.fromEntries(answers));
  return `${jobCommand('answer', id, flags)} --answers ${shellWord(printable(json))}`;
}

/** The members to fill in. */
function blankOf({ properties }: JsonObject): object {
  return Object.fromEntries(Object.keys(isObject(properties) ? properties : {}).map((name) => [name, '…']));
}

/** How to go on with a job from the same shell. */
export function jobCommand(
  verb: 'wait' | 'cancel' | 'answer',
  id: string,
  { credential }: ClientFlags,
): string {
  return `waybill jobs ${verb} ${shellWord(printable(id))} --credential ${shellWord(credential)}`;
}
