import { leaveField } from "./press";
import type { ClientMessage, Command, Hello, Parameter, ServerMessage, Status, Table, Value } from "./protocol";

const RETRY_MS = [250, 500, 1000, 2000];
const WATCH_MS = 500;
const SILENCE = 6; // steps of the watch, 3 s, until an open connection that says nothing is dead: it beats twice a second
const OPENING = 10; // steps until a connection that does not come about is given up
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
  /** The number in force, where it is not the one set: a fade is under way, or something moves it around. */
  live = $state.raw<Record<string, number>>({});
  error = $state("");
  /** The show's source is the page: it takes pictures. */
  takesPictures = $state(false);

  /** Hears what became of the page's own pictures. */
  answer: (word: "ack" | "lost") => void = () => {};

  /** Draws one JPEG; its promise is settled when the next may come. */
  draw: (picture: Blob) => Promise<void> = async () => {};

  #socket: WebSocket | null = null;
  #watching = 0;
  #silent = 0;
  #beat: number | undefined;
  #tries = 0;
  #held = new Set<string>();
  #missed = new Map<string, Value>();
  #moves: Record<string, Value> = {};
  #flush = 0;
  #errorTimer = 0;

  connect(): void {
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const socket = new WebSocket(`${scheme}://${location.host}/ws`);
    socket.binaryType = "blob";
    socket.onmessage = (event: MessageEvent<string | Blob>) => {
      this.#silent = 0;
      void this.#receive(event.data, socket);
    };
    socket.onclose = () => this.#lost();
    this.#socket = socket;
    this.#silent = 0;
    this.#beat = undefined;
    this.#watching ||= window.setInterval(() => this.#watch(), WATCH_MS);
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

  /** Give a command. What was typed or moved before it goes along in front of it, in one message: PANIC voids that. */
  command(name: string, ...values: Value[]): void {
    leaveField();
    const command = values.length > 0 ? { name, arguments: values } : name;
    this.#post({ set: this.#takeMoves(), command, beat: this.#beat });
  }

  switchCamera(word: "start" | "stop"): void {
    this.#post({ camera: word });
  }

  /** Send a JPEG of the page's own camera; `answer` hears when the next may go. */
  sendPicture(picture: Blob): void {
    this.#put(picture);
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
    const set = this.#takeMoves();
    if (set) this.#post({ set, beat: this.#beat });
  }

  #takeMoves(): Record<string, Value> | undefined {
    const moves = this.#moves;
    this.#moves = {};
    return Object.keys(moves).length > 0 ? moves : undefined;
  }

  #post(message: ClientMessage): void {
    this.#put(JSON.stringify(message));
  }

  /** What is said offline is not said: it must not come out of the blue when the network is back. */
  #put(data: string | Blob): void {
    if (this.online && this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(data);
  }

  async #receive(data: string | Blob, socket: WebSocket): Promise<void> {
    if (typeof data !== "string") {
      await this.draw(data);
      if (socket === this.#socket) this.#post({ frame: "ack" });
      return;
    }
    const message = JSON.parse(data) as ServerMessage;
    if (message.beat !== undefined) this.#beat = message.beat;
    if (message.hello) this.#greet(message.hello);
    if (message.table) this.#adopt(message.table);
    for (const change of message.changes ?? []) this.#hear(change.name, change.value);
    if (message.status) this.status = message.status;
    if (message.live) this.live = message.live;
    if (message.error) this.#complain(message.error);
    if (message.camera) this.answer(message.camera);
  }

  #greet(hello: Hello): void {
    this.version = hello.version;
    this.show = hello.show;
    this.takesPictures = hello.camera;
    this.status = hello.status;
    this.live = hello.live;
    this.#adopt(hello);
    this.#tries = 0;
    this.online = true;
  }

  #adopt(table: Table): void {
    const values = { ...table.values };
    this.#missed.clear();
    for (const name of this.#held) {
      const [mine, theirs] = [this.values[name], values[name]];
      if (theirs === undefined) this.#held.delete(name);
      if (theirs === undefined || mine === undefined) continue;
      this.#missed.set(name, theirs);
      values[name] = mine;
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

  /** Counted in steps, not by the clock: a browser that slows a hidden page's timers slows the patience too. */
  #watch(): void {
    this.#silent += 1;
    if (this.#socket && this.#silent > (this.online ? SILENCE : OPENING)) this.#lost();
  }

  /** Not to be waited for: over a dead network a socket takes a minute to close, and says "closed" only then. */
  #lost(): void {
    if (this.#socket) this.#socket.onmessage = this.#socket.onclose = null;
    this.#socket?.close();
    this.#socket = null;
    this.online = false;
    this.#moves = {};
    setTimeout(() => this.connect(), RETRY_MS[Math.min(this.#tries++, RETRY_MS.length - 1)]);
  }
}

export const link = new Link();
