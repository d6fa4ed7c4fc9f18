import type { Row } from "../protocol";

/** Words that no model needs to know: to call them unknown would only distract. */
const SMALL = ["a", "an", "the", "of", "in", "on", "at", "and", "with", "picture", "texture", "abstract", "beautiful", "detailed"];
const MARKS = /\\[()[\]:\\]|::+\s*[+-]?[\d.]*|:\s*[+-]?[\d.]+\s*(?=\))|[()[\]]/g; // as pipelines/prompt_syntax.py reads them

function words(text: string): string[] {
  return text.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? [];
}

/** The words of a prompt that a model does not know, each once. Without rows, the model reads any text. */
export function unknownWords(prompt: string, rows: readonly Row[]): string[] {
  if (rows.length === 0) return [];
  const known = new Set([...SMALL, ...rows.flatMap((row) => words(`${row.word} ${row.also}`))]);
  return [...new Set(words(prompt.replaceAll(MARKS, " ")))].filter((word) => !known.has(word));
}

/** A text with a word put in at a place, with spaces around it where they are needed. Returns the place behind it, too. */
export function withWord(text: string, place: number, word: string): [string, number] {
  const [before, after] = [text.slice(0, place), text.slice(place)];
  const start = before + (before === "" || /\s$/.test(before) ? "" : " ") + word;
  return [start + (after === "" || /^[\s,]/.test(after) ? "" : " ") + after, start.length];
}
