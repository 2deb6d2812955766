import { accessSync, constants, statfsSync } from 'node:fs';
import { freemem } from 'node:os';

/** Where Linux has a file system in memory for whoever asks. */
const FOLDER = '/dev/shm';
/** Several times what all services of a run of the tests keep at once. */
const NEEDED_BYTES = 4 * 2 ** 30;

/**
 * A folder in memory for the data of services, where there is one with room to spare. There the settings stay as
 * durable as they are, but nobody waits for a disk, which is most of what a new database costs. What is in it outlives
 * any process; it would not outlive the machine, which no test turns off.
 */
export function memoryFolder(): string | undefined {
  try {
    accessSync(FOLDER, constants.W_OK);
    const { bavail, bsize } = statfsSync(FOLDER);
    return Math.min(bavail * bsize, freemem()) < NEEDED_BYTES ? undefined : FOLDER;
  } catch {
    // There is none on this system, or none for us.
    return undefined;
  }
}
