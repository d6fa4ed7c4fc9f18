/**
 * The pages /output and /view: they draw what the daemon's /ws/output sends, and connect again without a limit. Until a
 * new connection brings a frame, the last one stays.
 */
import type { Status } from "../protocol";

const RETRY_MS = [250, 500, 1000, 2000];
const CHECK_MS = 500;
const MAX_SILENT_CHECKS = 6; // 3 s: the daemon sends the status twice a second
const FITS = ["cover", "stretch"];
const SHOWN: [key: string, label: string, unit: string][] = [
  ["show", "Show", ""],
  ["recipe", "Recipe", ""],
  ["change", "Change", ""],
  ["cue", "Look", ""],
  ["fps", "Rendered", "fps"],
  ["output_fps", "Output", "fps"],
  ["latency", "Latency", "ms"],
  ["source", "Source", ""],
  ["error", "Error", ""],
  ["alarm", "Alarm", ""],
];

const canvas = document.querySelector("canvas")!;
const context = canvas.getContext("bitmaprenderer")!;
const panel = document.getElementById("status");

let socket: WebSocket | null = null;
let silentChecks = 0;
let tries = 0;

function connect(): void {
  const opened = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws/output`);
  opened.binaryType = "blob";
  opened.onmessage = (event: MessageEvent<string | Blob>) => {
    silentChecks = tries = 0;
    if (typeof event.data === "string") showStatus((JSON.parse(event.data) as { status: Status }).status);
    else void draw(event.data, opened);
  };
  opened.onclose = disconnect;
  socket = opened;
  silentChecks = 0;
}

/** Does not wait for the socket's close event: over a dead network that takes a minute. */
function disconnect(): void {
  if (socket) socket.onmessage = socket.onclose = null;
  socket?.close();
  socket = null;
  document.body.dataset.link = "offline";
  setTimeout(connect, RETRY_MS[Math.min(tries++, RETRY_MS.length - 1)]);
}

/** Draw a frame and ask for the next one. A hidden page asks for none, so the daemon encodes none for it. */
async function draw(jpeg: Blob, from: WebSocket): Promise<void> {
  const bitmap = await createImageBitmap(jpeg).catch(() => null);
  if (bitmap) show(bitmap);
  document.body.dataset.link = "online";
  await visible();
  if (from.readyState === WebSocket.OPEN) from.send("ack");
}

/** The canvas has the size of the frame, so that the style sheet knows its shape. */
function show(bitmap: ImageBitmap): void {
  if (canvas.width !== bitmap.width || canvas.height !== bitmap.height) {
    canvas.width = bitmap.width;
    canvas.height = bitmap.height;
  }
  context.transferFromImageBitmap(bitmap);
}

function visible(): Promise<void> {
  if (!document.hidden) return Promise.resolve();
  return new Promise((resolve) => document.addEventListener("visibilitychange", () => resolve(), { once: true }));
}

function showStatus(status: Status): void {
  if (!panel) return;
  const rows = SHOWN.filter(([key]) => status[key] !== undefined && status[key] !== null && status[key] !== "");
  panel.replaceChildren(
    ...rows.map(([key, label, unit]) => {
      const row = document.createElement("div");
      row.className = key === "alarm" || key === "error" ? "alarm" : "";
      row.append(document.createElement("dt"), document.createElement("dd"));
      row.firstElementChild!.textContent = label;
      row.lastElementChild!.textContent = `${status[key]}${unit && ` ${unit}`}`;
      return row;
    }),
  );
}

/** A screen must stay on. Browsers allow this on https pages and on this machine. */
function keepAwake(): void {
  if (!document.hidden) void navigator.wakeLock?.request("screen").catch(() => null);
}

const fit = new URLSearchParams(location.search).get("fit") ?? "";
if (FITS.includes(fit)) document.body.classList.add(fit);
setInterval(() => {
  silentChecks += 1;
  if (socket && silentChecks > MAX_SILENT_CHECKS) disconnect();
}, CHECK_MS);
document.addEventListener("visibilitychange", keepAwake);
window.addEventListener("pagehide", () => socket?.close()); // a page that the browser keeps for "back" would stay connected
document.addEventListener("dblclick", () => {
  if (document.fullscreenElement) void document.exitFullscreen();
  else void document.documentElement.requestFullscreen?.();
});
keepAwake();
connect();
