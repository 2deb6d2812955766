/** The command `waybill` from a checkout: set-up where it is needed, then the program, in this process. */
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { ROOT, setUp } from './setup.mjs';

setUp();

// npm starts scripts in the root folder; a path on the command line means the folder where it was typed.
const { INIT_CWD, npm_lifecycle_event } = process.env;
if (npm_lifecycle_event === 'waybill' && INIT_CWD !== undefined) process.chdir(INIT_CWD);

const main = join(ROOT, 'dist/cli/main.js');
process.argv[1] = main;
await import(pathToFileURL(main).href);
