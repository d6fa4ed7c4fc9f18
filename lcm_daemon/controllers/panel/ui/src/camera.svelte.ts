import { link } from "./link.svelte";

const MAX_SIDE = 768; // pixels of a frame's longer side: more than any packaged model renders
const QUALITY = 0.85;
const FPS = 30;

type Kind = "camera" | "screen";

const REASONS: Record<string, string> = {
  NotAllowedError: "permission denied",
  NotFoundError: "no device found",
  NotReadableError: "in use by another program",
  OverconstrainedError: "the device is gone",
};

/** Sends the page's camera or screen to the daemon, one frame at a time, always the newest. */
class CameraSender {
  kind = $state<Kind | null>(null);
  error = $state("");
  devices = $state.raw<MediaDeviceInfo[]>([]);
  device = $state("");
  /** Whether the browser can capture a screen; browsers of phones cannot. */
  readonly canCaptureScreen = Boolean(navigator.mediaDevices?.getDisplayMedia);

  #video = document.createElement("video");
  #canvas = document.createElement("canvas");
  #timer: Worker | null = null;
  #run = 0; // frames of an earlier run are dropped

  constructor() {
    this.#video.muted = true;
    this.#video.playsInline = true;
    document.addEventListener("visibilitychange", () => this.resume());
    link.onCameraReply = (reply) => {
      if (reply === "ack") this.#scheduleFrame();
      else if (this.kind) this.#end("stopped: another page has started its camera");
    };
  }

  async start(kind: Kind, device = ""): Promise<void> {
    this.#end("");
    const run = this.#run;
    try {
      const stream = await this.#openStream(kind, device);
      if (run !== this.#run) return stream.getTracks().forEach((track) => track.stop());
      this.#video.srcObject = stream;
      stream.getVideoTracks()[0]?.addEventListener("ended", () => this.stop());
      await this.#video.play();
    } catch (error) {
      if (run === this.#run) this.#end(this.#describeError(kind, error));
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

  /** Start sending again, after a reconnection for example. A frame sent over the old connection gets no reply. */
  resume(): void {
    if (!this.kind) return;
    this.#run += 1;
    link.switchCamera("start");
    void this.#sendFrame(this.#run);
  }

  #openStream(kind: Kind, device: string): Promise<MediaStream> {
    if (!navigator.mediaDevices) throw new DOMException("", "SecurityError");
    const size = { width: { ideal: 640 }, height: { ideal: 480 }, frameRate: { ideal: FPS } };
    if (kind === "screen") return navigator.mediaDevices.getDisplayMedia({ video: { frameRate: { ideal: FPS } } });
    return navigator.mediaDevices.getUserMedia({ video: device ? { ...size, deviceId: { exact: device } } : size });
  }

  #describeError(kind: Kind, error: unknown): string {
    if (!window.isSecureContext) return `${kind}: browsers allow this only on https pages and on localhost`;
    const reason = error instanceof DOMException ? REASONS[error.name] : undefined;
    return `${kind}: ${reason ?? String(error)}`;
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

  /** A hidden page, such as one behind the window that it captures, gets no frame callbacks: there it uses a timer. */
  #scheduleFrame(): void {
    const sendFrame = this.#sendFrame.bind(this, this.#run);
    const hasCallback = !document.hidden && "requestVideoFrameCallback" in this.#video;
    if (hasCallback) return void this.#video.requestVideoFrameCallback(() => void sendFrame());
    this.#timer ??= new Worker(new URL("./timer.ts", import.meta.url), { type: "module" });
    this.#timer.onmessage = () => void sendFrame();
    this.#timer.postMessage(1000 / FPS);
  }

  async #sendFrame(run: number): Promise<void> {
    const { videoWidth, videoHeight } = this.#video;
    if (run !== this.#run || !videoWidth) return;
    const scale = Math.min(1, MAX_SIDE / Math.max(videoWidth, videoHeight));
    this.#canvas.width = Math.round(videoWidth * scale);
    this.#canvas.height = Math.round(videoHeight * scale);
    this.#canvas.getContext("2d", { alpha: false })?.drawImage(this.#video, 0, 0, this.#canvas.width, this.#canvas.height);
    const jpeg = await new Promise<Blob | null>((done) => this.#canvas.toBlob(done, "image/jpeg", QUALITY));
    if (jpeg && run === this.#run) link.sendCameraFrame(jpeg);
  }
}

export const camera = new CameraSender();
