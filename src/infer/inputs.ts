/** What a caller gives one by one, or all at once. */
export type Inputs<T> = AsyncIterable<T> | Iterable<T>;
