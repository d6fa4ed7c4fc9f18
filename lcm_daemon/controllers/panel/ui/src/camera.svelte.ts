import { link } from "./link.svelte";

/** Pixels of a sent frame's longer side, by name. "small" is more than most packaged models render. */
export const SIDES = { small: 768, "720p": 1280, "1080p": 1920 } as const;
export type Side = keyof typeof SIDES;

const QUALITY = 0.85;
const FPS = 30;
const KEPT = "lcm-camera"; // key of what the browser keeps: for a reload of this tab, and for later visits

type Kind = "camera" | "screen";

interface Kept {
  device?: string;
  mirror?: boolean;
  side?: Side;
}

const REASONS: Record<string, string> = {
  NotAllowedError: "permission denied; allow the camera for this page in the browser's address bar",
  NotFoundError: "no device found",
  NotReadableError: "in use by another program",
  OverconstrainedError: "the device is gone",
  AbortError: "the device failed; try again",
};

function read(store: Storage): Kept & { sending?: boolean } {
  try {
    return JSON.parse(store.getItem(KEPT) ?? "{}") as Kept;
  } catch {
    return {}; // storage is off, or holds something else
  }
}

function write(store: Storage, content: object): void {
  try {
    store.setItem(KEPT, JSON.stringify(content));
  } catch {
    return; // storage is off or full: nothing is kept
  }
}

/** Sends the page's camera or screen to the daemon, one frame at a time, always the newest. */
class CameraSender {
  kind = $state<Kind | null>(null);
  error = $state("");
  devices = $state.raw<MediaDeviceInfo[]>([]);
  device = $state("");
  mirror = $state(false);
  side = $state<Side>("small");
  /** Width and height of the frames that are sent, in pixels. */
  size = $state("");
  /** Whether the browser can capture a screen; browsers of phones cannot. */
  readonly canCaptureScreen = Boolean(navigator.mediaDevices?.getDisplayMedia);

  #video = document.createElement("video");
  #canvas = document.createElement("canvas");
  #timer: Worker | null = null;
  #run = 0; // frames of an earlier run are dropped
  #resumes = read(sessionStorage).sending === true; // it was sending before the page was loaded again

  constructor() {
    const kept = read(localStorage);
    this.mirror = kept.mirror === true;
    this.side = kept.side && kept.side in SIDES ? kept.side : "small";
    this.device = kept.device ?? "";
    this.#video.muted = true;
    this.#video.playsInline = true;
    document.addEventListener("visibilitychange", () => this.resume());
    link.onCameraReply = (reply) => {
      if (reply === "ack") this.#scheduleFrame();
      else if (this.kind) this.#end("stopped: another page has started its camera");
    };
  }

  /** Start to send; resolves to whether it does. `device`: one of `devices`; "" for the one that was chosen last. */
  async start(kind: Kind, device = this.device): Promise<boolean> {
    this.#end("");
    const run = this.#run;
    try {
      const stream = await this.#openStream(kind, device);
      if (run !== this.#run) {
        stream.getTracks().forEach((track) => track.stop());
        return false;
      }
      this.#video.srcObject = stream;
      stream.getVideoTracks()[0]?.addEventListener("ended", () => this.#end(`${kind}: the device or the browser has ended it`));
      await this.#video.play();
    } catch (error) {
      if (run === this.#run) this.#end(this.#describeError(kind, error));
      return false;
    }
    this.kind = kind;
    if (kind === "camera") this.device = this.#track()?.getSettings().deviceId ?? "";
    this.devices = (await navigator.mediaDevices.enumerateDevices()).filter((found) => found.kind === "videoinput");
    this.#keep();
    this.resume();
    return true;
  }

  stop(): void {
    if (this.kind) link.switchCamera("stop");
    this.#end("");
    this.#keep();
  }

  /** Start sending again, after a reconnection or a reload. A frame sent over the old connection gets no reply. */
  resume(): void {
    if (this.#resumes) {
      this.#resumes = false;
      void this.start("camera"); // a screen would have to be chosen again
      return;
    }
    if (!this.kind) return;
    this.#run += 1;
    link.switchCamera("start");
    void this.#sendFrame(this.#run);
  }

  setMirror(mirror: boolean): void {
    this.mirror = mirror;
    this.#keep();
  }

  setSide(side: Side): void {
    this.side = side;
    this.#keep();
    if (this.kind === "camera") void this.start("camera"); // the device may have to change its mode
  }

  #keep(): void {
    write(localStorage, { device: this.device, mirror: this.mirror, side: this.side });
    write(sessionStorage, { sending: this.kind === "camera" });
  }

  async #openStream(kind: Kind, device: string): Promise<MediaStream> {
    if (!navigator.mediaDevices) throw new DOMException("", "SecurityError");
    const rate = { frameRate: { ideal: FPS } };
    if (kind === "screen") return navigator.mediaDevices.getDisplayMedia({ video: rate });
    const width = this.side === "small" ? 640 : SIDES[this.side];
    const height = this.side === "small" ? 480 : Math.round((width * 9) / 16);
    const video = { ...rate, width: { ideal: width }, height: { ideal: height } };
    try {
      return await navigator.mediaDevices.getUserMedia({ video: device ? { ...video, deviceId: { exact: device } } : video });
    } catch (error) {
      const isGone = error instanceof DOMException && error.name === "OverconstrainedError";
      if (!isGone || device !== this.device) throw error;
      return navigator.mediaDevices.getUserMedia({ video }); // the one that was chosen last is not plugged in
    }
  }

  #describeError(kind: Kind, error: unknown): string {
    if (!window.isSecureContext) {
      return `${kind}: browsers allow this only on https pages and on localhost; open the page by https (network.tls in the show), or on the daemon's machine`;
    }
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
    this.size = "";
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
    const scale = Math.min(1, SIDES[this.side] / Math.max(videoWidth, videoHeight));
    const [width, height] = [Math.round(videoWidth * scale), Math.round(videoHeight * scale)];
    [this.#canvas.width, this.#canvas.height, this.size] = [width, height, `${width}x${height}`];
    const context = this.#canvas.getContext("2d", { alpha: false });
    if (this.mirror) context?.setTransform(-1, 0, 0, 1, width, 0); // a new size has reset it
    context?.drawImage(this.#video, 0, 0, width, height);
    const jpeg = await new Promise<Blob | null>((done) => this.#canvas.toBlob(done, "image/jpeg", QUALITY));
    if (jpeg && run === this.#run) link.sendCameraFrame(jpeg);
  }
}

export const camera = new CameraSender();
