export { hasTokenizer, loadTokenizer, type Tokenizer } from "./tokenizer.js";
