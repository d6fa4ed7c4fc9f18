import { link } from "./link.svelte";

const LONGEST = 768; // pixels of a picture's longer side: more than any model here paints
const QUALITY = 0.85;
const RATE = 30;

type Kind = "camera" | "screen";

const REASONS: Record<string, string> = {
  NotAllowedError: "the browser was not allowed to",
  NotFoundError: "there is none",
  NotReadableError: "another program has it",
  OverconstrainedError: "it is gone",
};

/** The page's own camera or screen, on its way to the daemon: one picture at a time, the newest. */
class Camera {
  kind = $state<Kind | null>(null);
  error = $state("");
  devices = $state.raw<MediaDeviceInfo[]>([]);
  device = $state("");
  /** Whether the browser can give a screen; those of phones cannot. */
  readonly screens = Boolean(navigator.mediaDevices?.getDisplayMedia);

  #video = document.createElement("video");
  #canvas = document.createElement("canvas");
  #timer: Worker | null = null;
  #run = 0; // the pictures of an earlier start are nobody's

  constructor() {
    this.#video.muted = true;
    this.#video.playsInline = true;
    document.addEventListener("visibilitychange", () => this.resume());
    link.answer = (word) => {
      if (word === "ack") this.#shootNext();
      else if (this.kind) this.#end("another page has started its camera");
    };
  }

  async start(kind: Kind, device = ""): Promise<void> {
    this.#end("");
    const run = this.#run;
    try {
      const stream = await this.#ask(kind, device);
      if (run !== this.#run) return stream.getTracks().forEach((track) => track.stop());
      this.#video.srcObject = stream;
      stream.getVideoTracks()[0]?.addEventListener("ended", () => this.stop());
      await this.#video.play();
    } catch (error) {
      if (run === this.#run) this.#end(this.#explain(kind, error));
      return;
    }
    this.kind = kind;
    this.device = this.#track()?.getSettings().deviceId ?? "";
    this.devices = (await navigator.mediaDevices.enumerateDevices()).filter((found) => found.kind === "videoinput");
    this.resume();
  }

  stop(): void {
    if (this.kind) link.switchCamera("stop");
    this.#end("");
  }

  /** Begin anew where a new connection has begun: a picture still on its way to the old one is void. */
  resume(): void {
    if (!this.kind) return;
    this.#run += 1;
    link.switchCamera("start");
    void this.#shoot(this.#run);
  }

  #ask(kind: Kind, device: string): Promise<MediaStream> {
    if (!navigator.mediaDevices) throw new DOMException("", "SecurityError");
    const size = { width: { ideal: 640 }, height: { ideal: 480 }, frameRate: { ideal: RATE } };
    if (kind === "screen") return navigator.mediaDevices.getDisplayMedia({ video: { frameRate: { ideal: RATE } } });
    return navigator.mediaDevices.getUserMedia({ video: device ? { ...size, deviceId: { exact: device } } : size });
  }

  #explain(kind: Kind, error: unknown): string {
    if (!window.isSecureContext) return "browsers give a camera to https and to this machine's own pages alone";
    const reason = error instanceof DOMException ? REASONS[error.name] : undefined;
    return `no ${kind}: ${reason ?? String(error)}`;
  }

  #track(): MediaStreamTrack | undefined {
    return (this.#video.srcObject as MediaStream | null)?.getVideoTracks()[0];
  }

  #end(error: string): void {
    this.#run += 1;
    (this.#video.srcObject as MediaStream | null)?.getTracks().forEach((track) => track.stop());
    this.#video.srcObject = null;
    this.kind = null;
    this.error = error;
  }

  /** A hidden page, such as one behind the window that it shares, is told of no frames: there a timer has to do. */
  #shootNext(): void {
    const shoot = this.#shoot.bind(this, this.#run);
    const told = !document.hidden && "requestVideoFrameCallback" in this.#video;
    if (told) return void this.#video.requestVideoFrameCallback(() => void shoot());
    this.#timer ??= new Worker(new URL("./timer.ts", import.meta.url), { type: "module" });
    this.#timer.onmessage = () => void shoot();
    this.#timer.postMessage(1000 / RATE);
  }

  async #shoot(run: number): Promise<void> {
    const { videoWidth, videoHeight } = this.#video;
    if (run !== this.#run || !videoWidth) return;
    const scale = Math.min(1, LONGEST / Math.max(videoWidth, videoHeight));
    this.#canvas.width = Math.round(videoWidth * scale);
    this.#canvas.height = Math.round(videoHeight * scale);
    this.#canvas.getContext("2d", { alpha: false })?.drawImage(this.#video, 0, 0, this.#canvas.width, this.#canvas.height);
    const jpeg = await new Promise<Blob | null>((done) => this.#canvas.toBlob(done, "image/jpeg", QUALITY));
    if (jpeg && run === this.#run) link.sendPicture(jpeg);
  }
}

export const camera = new Camera();
