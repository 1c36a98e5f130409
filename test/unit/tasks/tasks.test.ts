/** Three rows of each task: what the model reads, what may follow, and where that begins, all written by hand. */
import { join } from "node:path";
import { encodeExample } from "../../../src/data/encode.js";
import type { Example } from "../../../src/data/example.js";
import { choicesExample, demonstrations, promptText, readRow, trainingExample } from "../../../src/tasks/examples.js";
import { taskNames, taskOf } from "../../../src/tasks/registry.js";
import { loadTokenizer } from "../../../src/tokenizer/index.js";
import { failure } from "../checkpoint/support.js";

const DEMO = join(__dirname, "../../../docs/demo/tiny-opt");

interface Case {
  row: Record<string, unknown>;
  /** As the model reads it. */
  prompt: string;
  /** Texts of the tokens behind it: of each candidate, or of the completion. */
  answers: string[];
  right: number[];
}

const binary = (row: Record<string, unknown>, prompt: string, answers: string[], label: number): Case => ({
  row: { ...row, label },
  prompt,
  answers,
  right: [label],
});
const REVIEW = [" terrible", " great"];
const NO_YES = ["No", "Yes"];

const CASES: Record<string, Case[]> = {
  sst2: [
    binary({ sentence: "a warm film ", idx: 0 }, "a warm film It was", REVIEW, 1),
    binary({ sentence: " dull , and long\n" }, "dull , and long It was", REVIEW, 0),
    binary({ sentence: "it's fine ." }, "it's fine . It was", REVIEW, 1),
  ],
  rte: [
    binary(
      { premise: "The sun shines.", hypothesis: "It is day." },
      'The sun shines.\nDoes this mean that "It is day." is true? Yes or No?\n',
      ["Yes", "No"],
      0,
    ),
    binary(
      { premise: " Two dogs ran.", hypothesis: "Cats slept." },
      'Two dogs ran.\nDoes this mean that "Cats slept." is true? Yes or No?\n',
      ["Yes", "No"],
      1,
    ),
    binary(
      { premise: 'He said "go".', hypothesis: "Someone spoke" },
      'He said "go".\nDoes this mean that "Someone spoke" is true? Yes or No?\n',
      ["Yes", "No"],
      0,
    ),
  ],
  cb: [
    binary(
      { premise: "I think it rains.", hypothesis: "it rains" },
      'Suppose I think it rains. Can we infer that "it rains"? Yes, No, or Maybe?\n',
      ["Yes", "No", "Maybe"],
      2,
    ),
    binary(
      { premise: "She knows that he left.", hypothesis: "he left" },
      'Suppose She knows that he left. Can we infer that "he left"? Yes, No, or Maybe?\n',
      ["Yes", "No", "Maybe"],
      0,
    ),
    binary(
      { premise: "Nobody came.", hypothesis: "someone came" },
      'Suppose Nobody came. Can we infer that "someone came"? Yes, No, or Maybe?\n',
      ["Yes", "No", "Maybe"],
      1,
    ),
  ],
  boolq: [
    {
      row: { question: "is two even", answer: true, passage: "Two is even." },
      ...{ prompt: "Two is even. Is two even?\n", answers: ["Yes", "No"], right: [0] },
    },
    {
      row: { question: "is three even?", answer: false, passage: "Three is odd." },
      ...{ prompt: "Three is odd. Is three even?\n", answers: ["Yes", "No"], right: [1] },
    },
    {
      row: { question: "élan is a word", answer: true, passage: "(Élan -- a word.)" },
      ...{ prompt: "(Élan -- a word.) Élan is a word?\n", answers: ["Yes", "No"], right: [0] },
    },
  ],
  wsc: [
    binary(
      { text: "Mark told Pete lies, which He retold.", span1_text: "Mark", span2_text: "He" },
      "Mark told Pete lies, which He retold.\n" +
        'In the previous sentence, does the pronoun "he" refer to Mark? Yes or No?\n',
      NO_YES,
      0,
    ),
    binary(
      { text: "The cup fell and it broke.", span1_text: "The cup", span2_text: "it" },
      'The cup fell and it broke.\nIn the previous sentence, does the pronoun "it" refer to The cup? Yes or No?\n',
      NO_YES,
      1,
    ),
    binary(
      { text: "Ann and Bo met. They talked.", span1_text: "Ann and Bo", span2_text: "They" },
      "Ann and Bo met. They talked.\n" +
        'In the previous sentence, does the pronoun "they" refer to Ann and Bo? Yes or No?\n',
      NO_YES,
      1,
    ),
  ],
  wic: [
    binary(
      { word: "bank", sentence1: "The bank was steep.", sentence2: "He robbed a bank." },
      'Does the word "bank" have the same meaning in these two sentences? Yes, No?\n' +
        "The bank was steep.\nHe robbed a bank.\n",
      NO_YES,
      0,
    ),
    binary(
      { word: "run", sentence1: "I run.", sentence2: "They run fast." },
      'Does the word "run" have the same meaning in these two sentences? Yes, No?\nI run.\nThey run fast.\n',
      NO_YES,
      1,
    ),
    binary(
      { word: "light", sentence1: "A light bag.", sentence2: " Turn on the light ." },
      // Spaces go at the ends of the whole alone.
      'Does the word "light" have the same meaning in these two sentences? Yes, No?\n' +
        "A light bag.\n Turn on the light .\n",
      NO_YES,
      0,
    ),
  ],
  multirc: [
    binary(
      { paragraph: "Tim has a dog.", question: "Who has a dog?", answer: "Tim" },
      'Tim has a dog.\nQuestion: Who has a dog?\nI found this answer "Tim". Is that correct? Yes or No?\n',
      NO_YES,
      1,
    ),
    binary(
      { paragraph: "Tim has a dog.", question: "Who has a dog?", answer: "Tom" },
      'Tim has a dog.\nQuestion: Who has a dog?\nI found this answer "Tom". Is that correct? Yes or No?\n',
      NO_YES,
      0,
    ),
    binary(
      { paragraph: " It rained. ", question: "What fell", answer: "rain." },
      'It rained. \nQuestion: What fell\nI found this answer "rain.". Is that correct? Yes or No?\n',
      NO_YES,
      1,
    ),
  ],
  copa: [
    binary(
      { premise: "The glass fell.", question: "effect", choice1: "It broke.", choice2: "I laughed at it." },
      "The glass fell so",
      [" it broke.", " I laughed at it."],
      0,
    ),
    binary(
      { premise: "The woman smiled. ", question: "cause", choice1: "She won.", choice2: "Her cat ran off." },
      "The woman smiled because",
      [" she won.", " her cat ran off."],
      0,
    ),
    binary(
      { premise: "I waited...", question: "cause", choice1: "I'm early.", choice2: "The bus was late. " },
      "I waited.. because",
      [" i'm early.", " the bus was late."],
      1,
    ),
  ],
  record: [
    {
      row: {
        passage: "Anna met Bo in Rome.\n@highlight\nThey ate.\n@highlight\nIt rained",
        query: "@placeholder is a city, and @placeholder is old.",
        entities: ["Anna", "Bo", "Rome"],
        answers: ["Rome"],
      },
      prompt: "Anna met Bo in Rome.\n- They ate.\n- It rained\n-",
      answers: [
        " Anna is a city, and Anna is old.",
        " Bo is a city, and Bo is old.",
        " Rome is a city, and Rome is old.",
      ],
      right: [2],
    },
    {
      row: {
        passage: "The US, or America.",
        query: "It is @placeholder.",
        entities: ["US", "America", "Cuba"],
        answers: ["America", "US"],
      },
      ...{
        prompt: "The US, or America.\n-",
        answers: [" It is US.", " It is America.", " It is Cuba."],
        right: [1, 0],
      },
    },
    {
      row: { passage: "A $& sign.", query: "@placeholder costs.", entities: ["$&", "A", "A"], answers: ["$&"] },
      ...{ prompt: "A $& sign.\n-", answers: [" $& costs.", " A costs."], right: [0] },
    },
  ],
  squad: [
    {
      row: {
        title: "Rivers",
        context: "It flows north.",
        question: " Where to? ",
        answers: { text: ["north", "to the north"] },
      },
      prompt: "Title: Rivers\nContext: It flows north.\nQuestion: Where to?\nAnswer:",
      ...{ answers: [" north\n"], right: [0] },
    },
    {
      row: { title: "Ada_Lovelace", context: "Ada (1815).", question: "When?", answers: { text: ["1815"] } },
      prompt: "Title: Ada_Lovelace\nContext: Ada (1815).\nQuestion: When?\nAnswer:",
      ...{ answers: [" 1815\n"], right: [0] },
    },
    {
      row: { title: "", context: "Two words here.", question: "What?", answers: { text: ["Two words"] } },
      prompt: "Title: \nContext: Two words here.\nQuestion: What?\nAnswer:",
      ...{ answers: [" Two words\n"], right: [0] },
    },
  ],
  drop: [
    {
      row: {
        passage: "They won 3 games.",
        question: "How many games?",
        answers_spans: { spans: ["3", "three"], types: ["number"] },
      },
      prompt: "Passage: They won 3 games.\nQuestion: How many games?\nAnswer:",
      ...{ answers: [" 3\n"], right: [0] },
    },
    {
      row: { passage: " In 1990, one.", question: "When?\n", answers_spans: { spans: ["1990"] } },
      prompt: "Passage:  In 1990, one.\nQuestion: When?\nAnswer:",
      ...{ answers: [" 1990\n"], right: [0] },
    },
    {
      row: { passage: "Red, blue.", question: "Which colours?", answers_spans: { spans: ["Red", "blue"] } },
      prompt: "Passage: Red, blue.\nQuestion: Which colours?\nAnswer:",
      ...{ answers: [" Red\n"], right: [0] },
    },
  ],
};

const place = "row 0";

test("every task has its rows", () => {
  expect(Object.keys(CASES).sort()).toEqual(taskNames().sort());
  for (const cases of Object.values(CASES)) expect(cases).toHaveLength(3);
});

describe.each(Object.entries(CASES))("%s", (name, cases) => {
  const task = taskOf(name);

  test.each(cases)("prompt, answers and their tokens: $prompt", async ({ row, prompt, answers, right }) => {
    const tokenizer = await loadTokenizer(DEMO);
    const read = readRow(task, { record: row, place });
    expect(promptText(read.example, "")).toBe(prompt);
    const decoded = (ids: ArrayLike<number>) => tokenizer.decode(Array.from(ids));
    const encode = (example: Example) =>
      encodeExample(tokenizer, example, { maxLength: 512, vocabSize: tokenizer.vocabSize });
    if (task.metric === "accuracy") {
      const encoded = encode(choicesExample(read, "", undefined));
      if (encoded.kind !== "choices") throw new Error(encoded.kind);
      expect(encoded.label).toBe(right[0]);
      expect(encoded.right ?? [encoded.label]).toEqual(right);
      expect(encoded.choices.map(({ ids, from }) => decoded(ids.slice(from)))).toEqual(answers);
      for (const { ids, from } of encoded.choices) expect(decoded(ids.slice(1, from))).toBe(prompt);
    }
    const learned = encode(trainingExample(task, read, undefined));
    const asChoices = task.metric === "accuracy" && task.loss === "choices";
    expect(learned.kind).toBe(asChoices ? "choices" : "tokens");
    if (learned.kind !== "tokens") return;
    const from = learned.labels.findIndex((label) => label >= 0);
    expect(decoded(learned.ids.slice(from))).toBe(answers[right[0] ?? 0]);
    expect(decoded(learned.ids.slice(1, from))).toBe(prompt);
  });

  test("demonstrations stand before the prompt, and the answer begins where it did", async () => {
    const tokenizer = await loadTokenizer(DEMO);
    const [first, second, third] = cases.map(({ row }) => readRow(task, { record: row, place }));
    const [a, b, c] = cases;
    if (a === undefined || b === undefined || c === undefined || !first || !second || !third) throw new Error("3 rows");
    const shown = demonstrations([first, second]);
    const text = (one: Case) => `${one.prompt}${one.answers[one.right[0] ?? 0]}`.trim();
    expect(shown).toBe(`${text(a)}\n\n${text(b)}`);
    expect(promptText(third.example, shown)).toBe(`${shown}\n\n${c.prompt}`);
    if (task.metric !== "accuracy") return;
    const o = { maxLength: 2048, vocabSize: tokenizer.vocabSize };
    const encoded = encodeExample(tokenizer, choicesExample(third, shown, 1), o);
    if (encoded.kind !== "choices") throw new Error(encoded.kind);
    expect(encoded.choices.map(({ ids, from }) => tokenizer.decode(Array.from(ids.slice(from))))).toEqual(c.answers);
    expect(encoded.choices[0]?.ids[0]).toBe(1);
  });
});

test("the answer is as many tokens as the whole has more than the prompt, even where these are others", async () => {
  // A space and a line break at the end of a text are one token, and two before a word.
  const tokenizer = await loadTokenizer(DEMO);
  const row = { word: "light", sentence1: "A light bag.", sentence2: "Turn on the light . ", label: 0 };
  const example = choicesExample(readRow(taskOf("wic"), { record: row, place }), "", undefined);
  const encoded = encodeExample(tokenizer, example, { maxLength: 512, vocabSize: tokenizer.vocabSize });
  if (encoded.kind !== "choices") throw new Error(encoded.kind);
  const answers = encoded.choices.map(({ ids, from }) => tokenizer.decode(Array.from(ids.slice(from))));
  expect(answers).toEqual(["\nNo", "\nYes"]);
});

test("a row that a task cannot use names its column", () => {
  const read = (name: string, record: Record<string, unknown>) => () =>
    readRow(taskOf(name), { record, place: "x.parquet, row 7" });
  expect(read("sst2", { sentence: "a", label: -1 })).toThrow(
    failure("ZO2_ERR_DATA", 'x.parquet, row 7: column "label" is -1'),
  );
  expect(read("sst2", { label: 1 })).toThrow(failure("ZO2_ERR_DATA", 'row 7: column "sentence" is no text: missing'));
  expect(read("boolq", { passage: "a", question: "b", answer: 1 })).toThrow(failure("ZO2_ERR_DATA", '"answer"'));
  expect(read("squad", { title: "", context: "", question: "", answers: { text: [] } })).toThrow(
    failure("ZO2_ERR_DATA", '"answers.text" is no list of texts: []'),
  );
  expect(read("copa", { premise: "a", question: "why" })).toThrow(failure("ZO2_ERR_DATA", '"question" is "why"'));
  expect(read("record", { passage: "", query: "", entities: ["a"], answers: ["b"] })).toThrow(
    failure("ZO2_ERR_DATA", 'none of column "answers"'),
  );
});
