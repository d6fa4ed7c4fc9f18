import type { Parameter, Value } from "../protocol";
import type { Before, Message, Refused, Show } from "./protocol";

const RETRY_MS = [250, 500, 1000, 2000];
const CHECK_MS = 1000;
const MAX_SILENT_CHECKS = 12; // the server sends the state every 4 s
const SEND_MS = 100; // between two messages with values
const ERROR_MS = 6000;
const ENDED = 4410; // codes of lcm_daemon/audience/lobby.py
const ELSEWHERE = 4409;

function visible(): Promise<void> {
  if (!document.hidden) return Promise.resolve();
  return new Promise((resolve) => document.addEventListener("visibilitychange", () => resolve(), { once: true }));
}

type Phase = "loading" | "start" | "waiting" | "turn" | "ended" | "elsewhere";

/** A visitor's session: from the first look at the show to the end of the turn. It reconnects without a limit. */
export class Visit {
  phase = $state<Phase>("loading");
  online = $state(false);
  show = $state.raw<Show | null>(null);
  before = $state.raw<Before | null>(null);
  refused = $state.raw<Refused | null>(null);
  number = $state(0);
  place = $state(0);
  wait = $state(0);
  left = $state(0);
  parameters = $state.raw<Parameter[]>([]);
  values = $state<Record<string, Value>>({});
  withheld = $state(false);
  ended = $state("");
  error = $state("");
  hasPicture = $state(false);

  /** Draws one JPEG picture. The next one is sent when its promise settles. */
  draw: (jpeg: Blob) => Promise<void> = async () => {};

  /** Called when the next frame of the camera may be sent. */
  onCameraReply: () => void = () => {};

  #socket: WebSocket | null = null;
  #silentChecks = 0;
  #tries = 0;
  #unsent: Record<string, Value> = {};
  #sendTimer = 0;
  #errorTimer = 0;
  #endsAt = 0;

  constructor() {
    setInterval(() => this.#check(), CHECK_MS);
    addEventListener("pagehide", () => this.#socket?.close());
    addEventListener("pageshow", (event) => event.persisted && void this.look());
  }

  /** Read what the show offers; go on with a session that this browser has. */
  async look(): Promise<void> {
    try {
      const before = (await (await fetch("/join/state")).json()) as Before;
      this.before = this.show = before;
      this.online = true;
      if (before.number !== null) this.#connect();
      else if (!["ended", "elsewhere"].includes(this.phase)) this.phase = "start";
    } catch {
      this.online = false;
      setTimeout(() => void this.look(), RETRY_MS.at(-1));
    }
  }

  async join(): Promise<void> {
    try {
      const answer = await fetch("/join", { method: "POST" });
      if (answer.ok) {
        this.refused = null;
        this.#connect();
      } else if (answer.headers.get("content-type")?.startsWith("application/json")) {
        this.#refuse((await answer.json()) as Refused);
      } else {
        this.#showError((await answer.text()).slice(0, 200));
      }
    } catch {
      this.#showError("The show cannot be reached. Try again.");
    }
  }

  leave(): void {
    this.#send({ leave: true });
  }

  /** Use the session on this page, which another one has. */
  takeOver(): void {
    this.#connect();
  }

  /** Set a parameter. The page shows it at once. */
  set(name: string, value: Value): void {
    this.values[name] = value;
    this.#unsent[name] = value;
    this.#sendTimer ||= window.setTimeout(() => this.#sendValues(), SEND_MS);
  }

  switchCamera(state: "start" | "stop"): void {
    this.#send({ camera: state });
  }

  sendCameraFrame(jpeg: Blob): void {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(jpeg);
  }

  #refuse(refused: Refused): void {
    const spread = refused.seconds > 0 ? Math.round(3 * Math.random()) : 0; // not all phones at once
    this.refused = { ...refused, seconds: refused.seconds + spread };
    this.phase = "start";
  }

  #sendValues(): void {
    this.#sendTimer = 0;
    const set = this.#unsent;
    this.#unsent = {};
    this.#send({ set });
  }

  #send(message: object): void {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(message));
  }

  #connect(): void {
    this.#drop();
    const socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/join/ws`);
    socket.binaryType = "blob";
    socket.onmessage = (event: MessageEvent<string | Blob>) => void this.#receive(event.data, socket);
    socket.onclose = (event) => this.#onClose(event.code);
    this.#socket = socket;
    this.#silentChecks = 0;
  }

  #drop(): void {
    if (this.#socket) this.#socket.onmessage = this.#socket.onclose = null;
    this.#socket?.close();
    this.#socket = null;
  }

  #onClose(code: number): void {
    this.#drop();
    if (code === ENDED) return this.#end(this.ended || "gone");
    if (code === ELSEWHERE) {
      this.phase = "elsewhere";
      return;
    }
    this.online = false;
    setTimeout(() => this.#socket ?? this.#connect(), RETRY_MS[Math.min(this.#tries++, RETRY_MS.length - 1)]);
  }

  #end(reason: string): void {
    this.ended = reason;
    this.phase = "ended";
    this.hasPicture = this.withheld = false;
    this.values = {};
  }

  async #receive(data: string | Blob, socket: WebSocket): Promise<void> {
    this.#silentChecks = 0;
    if (typeof data !== "string") {
      await this.draw(data);
      this.hasPicture = true;
      this.withheld = false;
      await visible(); // a hidden page is sent no further pictures
      if (socket === this.#socket) this.#send({ picture: "ack" });
      return;
    }
    const message = JSON.parse(data) as Message;
    if (message.hello) this.#onHello(message.hello);
    if (message.table) this.#onTable(message.table);
    if (message.state) this.#onState(message.state);
    if (message.values) this.#onValues(message.values);
    if (message.withheld) this.withheld = true;
    if (message.camera) this.onCameraReply();
    if (message.error) this.#showError(message.error);
    if (message.ended) this.ended = message.ended;
  }

  #onHello(hello: Show & { number: number }): void {
    this.show = hello;
    this.number = hello.number;
    this.online = true;
    this.ended = "";
    this.#tries = 0;
  }

  #onTable(table: NonNullable<Message["table"]>): void {
    this.parameters = table.parameters;
    this.values = { ...table.values, ...this.#unsent };
  }

  /** Not while the visitor moves the same control: the answer is older than the move. */
  #onValues(values: Record<string, Value>): void {
    for (const [name, value] of Object.entries(values)) if (!(name in this.#unsent)) this.values[name] = value;
  }

  #onState(state: NonNullable<Message["state"]>): void {
    this.#send({ here: true });
    const begins = state.phase === "turn" && this.phase !== "turn";
    this.phase = state.phase;
    if (state.phase === "waiting") {
      this.place = state.place;
      this.wait = state.wait;
    } else {
      this.#endsAt = performance.now() + 1000 * state.left;
      this.left = Math.ceil(state.left);
    }
    if (begins && navigator.userActivation?.hasBeenActive) navigator.vibrate?.(200);
  }

  #showError(text: string): void {
    this.error = text;
    clearTimeout(this.#errorTimer);
    this.#errorTimer = window.setTimeout(() => (this.error = ""), ERROR_MS);
  }

  /** Once a second: count down, and connect again over a network that has become silent. */
  #check(): void {
    if (this.phase === "turn") this.left = Math.max(Math.ceil((this.#endsAt - performance.now()) / 1000), 0);
    if (this.refused && this.refused.seconds > 0) this.refused = { ...this.refused, seconds: this.refused.seconds - 1 };
    this.#silentChecks += 1;
    if (this.#socket && this.#silentChecks > MAX_SILENT_CHECKS) this.#onClose(1006);
  }
}

export const visit = new Visit();
