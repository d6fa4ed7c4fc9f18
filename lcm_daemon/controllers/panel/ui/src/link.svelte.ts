import { leaveField } from "./press";
import type { ClientMessage, Command, Hello, Lists, Parameter, ServerMessage, Status, Table, Value } from "./protocol";

const RETRY_MS = [250, 500, 1000, 2000];
const CHECK_MS = 500;
const MAX_SILENT_CHECKS = 6; // 3 s without a message end an open connection: the daemon's heartbeat comes twice a second
const MAX_OPENING_CHECKS = 10; // 5 s to open a connection
const ERROR_MS = 6000;

/** The connection to the daemon, and the daemon's state. It reconnects automatically, without a limit. */
export class Link {
  online = $state(false);
  show = $state("");
  version = $state("");
  parameters = $state.raw<Parameter[]>([]);
  commands = $state.raw<Command[]>([]);
  values = $state<Record<string, Value>>({});
  status = $state.raw<Status>({});
  /** Numbers in effect that differ from the value set: during a fade, or moved by a modulator. */
  live = $state.raw<Record<string, number>>({});
  lists = $state.raw<Lists>({});
  /** What the entries of the status mean. */
  statusHelp = $state.raw<Record<string, string>>({});
  error = $state("");
  /** The show has a browser source: it accepts camera frames. */
  acceptsCamera = $state(false);
  /** The daemon refuses what this page requests until the pin is entered. */
  viewOnly = $state(false);

  /** Called with the daemon's answer to a camera frame. */
  onCameraReply: (reply: "ack" | "lost") => void = () => {};

  /** Draws one JPEG frame. The next frame is requested when its promise settles. */
  drawFrame: (jpeg: Blob) => Promise<void> = async () => {};

  /** Draws one JPEG frame of the input, as `drawFrame` does for the output. */
  drawInput: (jpeg: Blob) => Promise<void> = async () => {};

  #watchesInput = false;
  #nextFrame: "output" | "input" = "output"; // what the next binary message is
  #socket: WebSocket | null = null;
  #checkTimer = 0;
  #silentChecks = 0;
  #heartbeat: number | undefined;
  #tries = 0;
  #held = new Set<string>();
  #missed = new Map<string, Value>(); // values of held parameters, to be shown on release
  #unsent: Record<string, Value> = {};
  #sendRequest = 0;
  #errorTimer = 0;

  connect(): void {
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const socket = new WebSocket(`${scheme}://${location.host}/ws`);
    socket.binaryType = "blob";
    socket.onmessage = (event: MessageEvent<string | Blob>) => {
      this.#silentChecks = 0;
      void this.#receive(event.data, socket);
    };
    socket.onclose = () => this.#disconnect();
    this.#socket = socket;
    this.#silentChecks = 0;
    this.#heartbeat = undefined;
    this.#checkTimer ||= window.setInterval(() => this.#checkSilence(), CHECK_MS);
  }

  /** Whether the controls have an effect. */
  get canPlay(): boolean {
    return this.online && !this.viewOnly;
  }

  /** Connect again, with the session that the browser has now. */
  reconnect(): void {
    this.#tries = 0;
    this.#disconnect();
  }

  /** Set a parameter. The page shows the value at once and sends it with the next animation frame. */
  set(name: string, value: Value): void {
    if (this.#refuses()) return;
    this.values[name] = value;
    this.#missed.delete(name);
    this.#unsent[name] = value;
    this.#sendRequest ||= requestAnimationFrame(() => this.#sendValues());
  }

  reset(parameter: Parameter): void {
    this.set(parameter.name, parameter.default);
  }

  /** Send a command. Unsent values go with it in the same message and are applied first; PANIC cancels them. */
  command(name: string, ...values: Value[]): void {
    leaveField();
    if (this.#refuses()) return;
    const command = values.length > 0 ? { name, arguments: values } : name;
    this.#sendMessage({ set: this.#popUnsent(), command, beat: this.#heartbeat });
  }

  #refuses(): boolean {
    if (this.viewOnly) this.#showError("View only: enter the pin to play.");
    return this.viewOnly;
  }

  /** Ask for frames of the input, or stop: the daemon sends none to a page that does not ask. */
  watchInput(on: boolean): void {
    const begins = on && !this.#watchesInput;
    this.#watchesInput = on;
    if (begins) this.#sendMessage({ input: "next" });
  }

  /** The page shows something that is only searched for then. Call it every second. */
  look(what: "sources"): void {
    this.#sendMessage({ look: what });
  }

  switchCamera(state: "start" | "stop"): void {
    this.#sendMessage({ camera: state });
  }

  /** Send one JPEG frame of the page's camera. Send the next one after `onCameraReply`. */
  sendCameraFrame(jpeg: Blob): void {
    this.#send(jpeg);
  }

  /** Do not show other clients' changes of this parameter until it is released. */
  hold(name: string): void {
    this.#held.add(name);
  }

  release(name: string): void {
    this.#held.delete(name);
    const missed = this.#missed.get(name);
    if (missed !== undefined) this.values[name] = missed;
    this.#missed.delete(name);
  }

  #sendValues(): void {
    this.#sendRequest = 0;
    const set = this.#popUnsent();
    if (set) this.#sendMessage({ set, beat: this.#heartbeat });
  }

  #popUnsent(): Record<string, Value> | undefined {
    const values = this.#unsent;
    this.#unsent = {};
    return Object.keys(values).length > 0 ? values : undefined;
  }

  #sendMessage(message: ClientMessage): void {
    this.#send(JSON.stringify(message));
  }

  /** Messages are dropped while offline: they must not take effect when the network is back. */
  #send(data: string | Blob): void {
    if (this.online && this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(data);
  }

  async #receive(data: string | Blob, socket: WebSocket): Promise<void> {
    if (typeof data !== "string") return this.#onFrame(data, socket);
    const message = JSON.parse(data) as ServerMessage;
    if (message.frame) this.#nextFrame = message.frame;
    if (message.beat !== undefined) this.#heartbeat = message.beat;
    if (message.hello) this.#onHello(message.hello);
    if (message.table) this.#onTable(message.table);
    for (const change of message.changes ?? []) this.#onChange(change.name, change.value);
    if (message.status) this.status = message.status;
    if (message.live) this.live = message.live;
    if (message.lists) this.lists = { ...this.lists, ...message.lists };
    if (message.error) this.#showError(message.error);
    if (message.camera) this.onCameraReply(message.camera);
  }

  async #onFrame(jpeg: Blob, socket: WebSocket): Promise<void> {
    const isInput = this.#nextFrame === "input";
    this.#nextFrame = "output";
    await (isInput ? this.drawInput(jpeg) : this.drawFrame(jpeg));
    if (socket !== this.#socket) return;
    if (!isInput) this.#sendMessage({ frame: "ack" });
    else if (this.#watchesInput) this.#sendMessage({ input: "next" });
  }

  #onHello(hello: Hello): void {
    this.version = hello.version;
    this.show = hello.show;
    this.acceptsCamera = hello.camera;
    this.viewOnly = hello.role === "view";
    this.status = hello.status;
    this.live = hello.live;
    this.lists = hello.lists;
    this.statusHelp = hello.status_help;
    this.#onTable(hello);
    this.#tries = 0;
    this.online = true;
    if (this.#watchesInput) this.#sendMessage({ input: "next" });
  }

  #onTable(table: Table): void {
    const values = { ...table.values };
    this.#missed.clear();
    for (const name of this.#held) {
      const [shown, received] = [this.values[name], values[name]];
      if (received === undefined) this.#held.delete(name);
      if (received === undefined || shown === undefined) continue;
      this.#missed.set(name, received);
      values[name] = shown;
    }
    this.values = values;
    this.parameters = table.parameters;
    this.commands = table.commands;
  }

  #onChange(name: string, value: Value): void {
    if (this.#held.has(name)) this.#missed.set(name, value);
    else this.values[name] = value;
  }

  #showError(text: string): void {
    this.error = text;
    clearTimeout(this.#errorTimer);
    this.#errorTimer = window.setTimeout(() => (this.error = ""), ERROR_MS);
  }

  /** Counts checks instead of seconds: where a browser slows down the timers of a hidden page, the limit grows too. */
  #checkSilence(): void {
    this.#silentChecks += 1;
    if (this.#socket && this.#silentChecks > (this.online ? MAX_SILENT_CHECKS : MAX_OPENING_CHECKS)) this.#disconnect();
  }

  /** Does not wait for the socket's close event: over a dead network that takes a minute. */
  #disconnect(): void {
    if (this.#socket) this.#socket.onmessage = this.#socket.onclose = null;
    this.#socket?.close();
    this.#socket = null;
    this.online = false;
    this.#unsent = {};
    setTimeout(() => this.connect(), RETRY_MS[Math.min(this.#tries++, RETRY_MS.length - 1)]);
  }
}

export const link = new Link();
