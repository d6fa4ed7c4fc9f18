import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

/**
 * SHA-256 over the sources of the page, with which a test checks that the committed page is up to date. It covers
 * every file except hidden ones and node_modules, sorted by path: path, zero byte, content with LF line ends, zero byte.
 */
export function sourcesHash(root: string): string {
  const hash = createHash("sha256");
  const files = readdirSync(root, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(root.length + 1).replaceAll("\\", "/"))
    .filter((path) => !/^node_modules\/|(^|\/)\./.test(path))
    .sort();
  for (const path of files) {
    const text = readFileSync(join(root, path), "latin1").replaceAll("\r\n", "\n"); // a byte each: some are pictures
    hash.update(`${path}\0`).update(text, "latin1").update("\0");
  }
  return hash.digest("hex");
}
