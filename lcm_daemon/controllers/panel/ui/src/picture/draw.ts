/** Wait until the page is visible. A hidden page does not ask for frames, so the daemon encodes none for it. */
function visible(): Promise<void> {
  if (!document.hidden) return Promise.resolve();
  return new Promise((resolve) => {
    const listen = () => {
      if (document.hidden) return;
      document.removeEventListener("visibilitychange", listen);
      resolve();
    };
    document.addEventListener("visibilitychange", listen);
  });
}

/** Draw a JPEG frame, and give the canvas its size. Returns whether it was a picture. */
export async function draw(canvas: HTMLCanvasElement, jpeg: Blob): Promise<boolean> {
  await visible();
  const bitmap = await createImageBitmap(jpeg).catch(() => null);
  if (!bitmap) return false;
  if (canvas.width !== bitmap.width || canvas.height !== bitmap.height) {
    canvas.width = bitmap.width;
    canvas.height = bitmap.height;
  }
  canvas.getContext("2d", { alpha: false })?.drawImage(bitmap, 0, 0);
  bitmap.close();
  return true;
}

/** Save the picture as a file of the browser's downloads. */
export function saveSnapshot(canvas: HTMLCanvasElement, show: string): void {
  canvas.toBlob((png) => {
    if (!png) return;
    const anchor = document.createElement("a");
    anchor.href = URL.createObjectURL(png);
    anchor.download = `${show || "lcm-daemon"} ${new Date().toISOString().slice(0, 19).replaceAll(":", "-").replace("T", " ")}.png`;
    anchor.click();
    setTimeout(() => URL.revokeObjectURL(anchor.href), 10_000);
  }, "image/png");
}
