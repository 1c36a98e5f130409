/** Words of the block of memory that a worker and its supervisor share. */
export const CONTROL = { execution: 0, length: 1, running: 2, mutation: 3, corpus: 4, blocks: 5, words: 8 };
