/** Waits until the condition holds, or for a time. */
export async function until(condition: () => boolean, ms: number): Promise<void> {
  const endMs = performance.now() + ms;
  while (!condition() && performance.now() < endMs) await new Promise((resolve) => setTimeout(resolve, 10));
}
