import { StreamLanguage } from "@codemirror/language";

const KEYWORDS = /^(?:permit|forbid|when|unless|if|then|else|in|is|has|like|principal|action|resource|context)\b/;

/** Cedar's words, for colours. Whether it is valid says the control plane. */
export const cedar = StreamLanguage.define({
  name: "cedar",
  languageData: { commentTokens: { line: "//" } },
  token(stream) {
    if (stream.eatSpace()) return null;
    if (stream.match(/^\/\/.*/)) return "comment";
    if (stream.match(/^@[A-Za-z_]\w*/)) return "meta";
    if (stream.match(/^"(?:[^"\\]|\\.)*"?/)) return "string";
    if (stream.match(/^(?:true|false)\b/)) return "bool";
    if (stream.match(KEYWORDS)) return "keyword";
    if (stream.match(/^(?:[A-Z]\w*)(?=::)/)) return "typeName";
    if (stream.match(/^\d+/)) return "number";
    if (stream.match(/^[A-Za-z_]\w*/)) return null;
    stream.next();
    return null;
  },
});
