import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

/**
 * One hash over everything the page is built from, so that a test can tell whether the committed page is up to date.
 * Over every file but those in node_modules and those of hidden names, in the order of their paths: path, a zero byte,
 * the content with LF line ends, a zero byte.
 */
export function sourcesHash(root: string): string {
  const hash = createHash("sha256");
  const files = readdirSync(root, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(root.length + 1).replaceAll("\\", "/"))
    .filter((path) => !/^node_modules\/|(^|\/)\./.test(path))
    .sort();
  for (const path of files) {
    const text = readFileSync(join(root, path), "utf8").replaceAll("\r\n", "\n");
    hash.update(`${path}\0${text}\0`);
  }
  return hash.digest("hex");
}
