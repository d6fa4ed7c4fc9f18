import type { ClientMessage, Command, Hello, Parameter, ServerMessage, Status, Table, Value } from "./protocol";

const RETRY_MS = [250, 500, 1000, 2000];
const SILENCE_MS = 5000;
const ERROR_MS = 6000;

/** The connection to the daemon, and what the daemon says is so. It reconnects by itself, for ever. */
export class Link {
  online = $state(false);
  show = $state("");
  version = $state("");
  parameters = $state.raw<Parameter[]>([]);
  commands = $state.raw<Command[]>([]);
  values = $state<Record<string, Value>>({});
  status = $state.raw<Status>({});
  error = $state("");
  /** The show's source is the page: it takes pictures. */
  takesPictures = $state(false);

  /** Hears what became of the page's own pictures. */
  answer: (word: "ack" | "lost") => void = () => {};

  /** Draws one JPEG; its promise is settled when the next may come. */
  draw: (picture: Blob) => Promise<void> = async () => {};

  #socket: WebSocket | null = null;
  #tries = 0;
  #held = new Set<string>();
  #missed = new Map<string, Value>();
  #moves: Record<string, Value> = {};
  #flush = 0;
  #errorTimer = 0;

  connect(): void {
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const socket = new WebSocket(`${scheme}://${location.host}/ws`);
    const impatience = setTimeout(() => socket.close(), SILENCE_MS);
    socket.binaryType = "blob";
    socket.onopen = () => clearTimeout(impatience);
    socket.onmessage = (event: MessageEvent<string | Blob>) => this.#receive(event.data);
    socket.onclose = () => {
      clearTimeout(impatience);
      this.#lost();
    };
    this.#socket = socket;
  }

  /** Move a parameter: shown at once, sent once per animation frame at most. */
  set(name: string, value: Value): void {
    this.values[name] = value;
    this.#missed.delete(name);
    this.#moves[name] = value;
    this.#flush ||= requestAnimationFrame(() => this.#send());
  }

  reset(parameter: Parameter): void {
    this.set(parameter.name, parameter.default);
  }

  command(name: string, ...values: Value[]): void {
    if (name === "panic") this.#moves = {};
    this.#post({ command: values.length > 0 ? { name, arguments: values } : name });
  }

  switchCamera(word: "start" | "stop"): void {
    this.#post({ camera: word });
  }

  /** Send a JPEG of the page's own camera; `answer` hears when the next may go. */
  sendPicture(picture: Blob): void {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(picture);
  }

  /** While a control is held, what others do to its parameter is remembered, not shown. */
  hold(name: string): void {
    this.#held.add(name);
  }

  release(name: string): void {
    this.#held.delete(name);
    const missed = this.#missed.get(name);
    if (missed !== undefined) this.values[name] = missed;
    this.#missed.delete(name);
  }

  #send(): void {
    this.#flush = 0;
    if (Object.keys(this.#moves).length > 0) this.#post({ set: this.#moves });
    this.#moves = {};
  }

  #post(message: ClientMessage): void {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(message));
  }

  async #receive(data: string | Blob): Promise<void> {
    if (typeof data !== "string") {
      await this.draw(data);
      this.#post({ frame: "ack" });
      return;
    }
    const message = JSON.parse(data) as ServerMessage;
    if (message.hello) this.#greet(message.hello);
    if (message.table) this.#adopt(message.table);
    for (const change of message.changes ?? []) this.#hear(change.name, change.value);
    if (message.status) this.status = message.status;
    if (message.error) this.#complain(message.error);
    if (message.camera) this.answer(message.camera);
  }

  #greet(hello: Hello): void {
    this.version = hello.version;
    this.show = hello.show;
    this.takesPictures = hello.camera;
    this.status = hello.status;
    this.#adopt(hello);
    this.#missed.clear();
    this.#tries = 0;
    this.online = true;
  }

  #adopt(table: Table): void {
    const values = { ...table.values };
    for (const name of this.#held) {
      const mine = this.values[name];
      if (name in values && mine !== undefined) values[name] = mine;
    }
    this.values = values;
    this.parameters = table.parameters;
    this.commands = table.commands;
  }

  #hear(name: string, value: Value): void {
    if (this.#held.has(name)) this.#missed.set(name, value);
    else this.values[name] = value;
  }

  #complain(text: string): void {
    this.error = text;
    clearTimeout(this.#errorTimer);
    this.#errorTimer = window.setTimeout(() => (this.error = ""), ERROR_MS);
  }

  #lost(): void {
    this.online = false;
    this.#moves = {};
    setTimeout(() => this.connect(), RETRY_MS[Math.min(this.#tries++, RETRY_MS.length - 1)]);
  }
}

export const link = new Link();
