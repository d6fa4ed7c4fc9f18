import { link } from "./link.svelte";
import type { Row } from "./protocol";

const MOST_BYTES = 32 << 20; // the daemon's own limit, so that a large file is refused before it is sent

/** What a picture can be used for: the commands of that name. */
export type PictureUse = "source" | "guide" | "prompt_picture";

/** The pictures that pages have sent to the daemon. */
class Pictures {
  /** Why the last picture was refused, or "". */
  error = $state("");
  sending = $state(0);

  get rows(): Row[] {
    return link.lists.pictures ?? [];
  }

  /** Send a picture; resolves to its name as a source, or to "" if it was refused. */
  async send(file: File): Promise<string> {
    this.error = "";
    if (file.size > MOST_BYTES) return this.#refuse(`${file.name}: the file is too large: at most ${MOST_BYTES >> 20} MiB are accepted`);
    this.sending += 1;
    try {
      const type = file.type.startsWith("image/") || file.type ? file.type : "image/unknown";
      const answer = await fetch("/pictures", { method: "POST", body: file, headers: { "Content-Type": type } });
      if (!answer.ok) return this.#refuse(`${file.name}: ${(await answer.text()).trim()}`);
      return ((await answer.json()) as { source: string }).source;
    } catch {
      return this.#refuse(`${file.name}: the connection was lost; send it again`);
    } finally {
      this.sending -= 1;
    }
  }

  /** Send files, and use the last one. */
  async use(files: Iterable<File>, command: PictureUse | ""): Promise<void> {
    let source = "";
    for (const file of files) source = (await this.send(file)) || source;
    if (source && command) link.command(command, source);
  }

  async remove(number: number): Promise<void> {
    this.error = "";
    try {
      const answer = await fetch(`/pictures/${number}`, { method: "DELETE" });
      if (!answer.ok) this.#refuse((await answer.text()).trim());
    } catch {
      this.#refuse("the connection was lost");
    }
  }

  #refuse(reason: string): "" {
    this.error = reason;
    return "";
  }
}

export const pictures = new Pictures();

/** Files of a drop: pictures and nothing else a page may read. */
export function droppedFiles(event: DragEvent): File[] {
  return [...(event.dataTransfer?.files ?? [])];
}
