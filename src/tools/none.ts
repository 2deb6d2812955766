/** Of questions and of answers. It stands alone because the store needs no more of the tools, whose schemas load slowly. */
export const NONE: Readonly<Record<string, never>> = Object.freeze({});
