import { visit } from "./visit.svelte";

const QUALITY = 0.8;
const KEPT = "lcm-visitor-camera"; // key of what this tab keeps over a reload
const REASONS: Record<string, string> = {
  NotAllowedError: "Allow the camera for this page in the browser's address bar.",
  NotFoundError: "This device has no camera.",
  NotReadableError: "The camera is in use by another app.",
};

/** The visitor's camera. It opens when the visitor says so, and sends during the turn only. */
class Camera {
  isOn = $state(false);
  error = $state("");
  facing = $state<"user" | "environment">("user");
  readonly video = document.createElement("video");

  #canvas = document.createElement("canvas");
  #sending = false;
  #sentAt = 0;

  constructor() {
    this.video.muted = this.video.playsInline = true;
    visit.onCameraReply = () => this.#schedule();
  }

  /** Whether this browser gives pages a camera: only over https, and on the machine itself. */
  get isOffered(): boolean {
    return Boolean(navigator.mediaDevices);
  }

  get wasOn(): boolean {
    try {
      return sessionStorage.getItem(KEPT) === "on";
    } catch {
      return false;
    }
  }

  async start(): Promise<void> {
    this.#close();
    this.error = "";
    const side = visit.show?.camera?.side ?? 256;
    try {
      const video = { facingMode: this.facing, width: { ideal: 2 * side }, height: { ideal: 2 * side } };
      this.video.srcObject = await navigator.mediaDevices.getUserMedia({ video });
      await this.video.play();
      this.isOn = true;
    } catch (error) {
      this.#close();
      this.error = (error instanceof DOMException && REASONS[error.name]) || "The camera does not start.";
    }
    this.#keep();
  }

  stop(): void {
    this.pause();
    this.#close();
    this.#keep();
  }

  async turn(): Promise<void> {
    this.facing = this.facing === "user" ? "environment" : "user";
    await this.start();
    this.resume();
  }

  /** Begin to send, at the start of the turn and after a reconnection. */
  resume(): void {
    if (!this.isOn) return;
    this.#sending = true;
    visit.switchCamera("start");
    void this.#send();
  }

  /** Stop to send. */
  pause(): void {
    if (this.#sending) visit.switchCamera("stop");
    this.#sending = false;
  }

  #close(): void {
    (this.video.srcObject as MediaStream | null)?.getTracks().forEach((track) => track.stop());
    this.video.srcObject = null;
    this.isOn = false;
  }

  #keep(): void {
    try {
      sessionStorage.setItem(KEPT, this.isOn ? "on" : "off");
    } catch {
      return; // storage is off
    }
  }

  #schedule(): void {
    const pause = 1000 / (visit.show?.camera?.fps ?? 5) - (performance.now() - this.#sentAt);
    if (this.#sending) setTimeout(() => void this.#send(), Math.max(pause, 0));
  }

  /** Send the middle of the newest frame, as a square. The next one follows the answer. */
  async #send(): Promise<void> {
    const side = visit.show?.camera?.side ?? 256;
    const { videoWidth: width, videoHeight: height } = this.video;
    if (!this.#sending || !width || !height) return;
    this.#sentAt = performance.now();
    const cut = Math.min(width, height);
    this.#canvas.width = this.#canvas.height = side;
    const context = this.#canvas.getContext("2d")!;
    if (this.facing === "user") context.setTransform(-1, 0, 0, 1, side, 0); // as in a mirror
    context.drawImage(this.video, (width - cut) / 2, (height - cut) / 2, cut, cut, 0, 0, side, side);
    const jpeg = await new Promise<Blob | null>((done) => this.#canvas.toBlob(done, "image/jpeg", QUALITY));
    if (jpeg && this.#sending) visit.sendCameraFrame(jpeg);
  }
}

export const camera = new Camera();
