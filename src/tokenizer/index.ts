export { ChatRenderer, renderChat, type RenderChatOptions, type Watched } from "./chat.js";
export { TextStopper } from "./stop.js";
export { StreamDecoder, type StreamDecoderOptions } from "./stream.js";
export { hasTokenizer, loadTokenizer } from "./tokenizer.js";
export type { ChatMessage, ChatTemplate, IdStream, Tokenizer } from "./types.js";
