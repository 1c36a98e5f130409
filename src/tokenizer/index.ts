export { type ChatMessage, type ChatTemplate, renderChat, type RenderChatOptions } from "./chat.js";
export { TextStopper } from "./stop.js";
export { StreamDecoder, type StreamDecoderOptions } from "./stream.js";
export { hasTokenizer, type IdStream, loadTokenizer, type Tokenizer } from "./tokenizer.js";
