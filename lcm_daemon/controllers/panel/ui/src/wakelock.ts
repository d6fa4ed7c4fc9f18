/**
 * Keep the screen of a touch device on while the page is in sight. Browsers offer this on https pages and on localhost.
 * `data-awake` at the document says whether it is: "yes", or why it is not. Returns a function that ends it.
 */
export function keepAwake(): () => void {
  if (!matchMedia("(pointer: coarse)").matches) return () => {};
  let lock: WakeLockSentinel | null = null;
  let ended = false;

  async function ask(): Promise<void> {
    if (document.hidden || ended) return;
    try {
      lock = await navigator.wakeLock.request("screen");
      document.documentElement.dataset.awake = "yes";
    } catch (error) {
      document.documentElement.dataset.awake = error instanceof DOMException ? error.name : "not offered";
    }
  }

  document.addEventListener("visibilitychange", ask);
  void ask();
  return () => {
    ended = true;
    document.removeEventListener("visibilitychange", ask);
    void lock?.release();
  };
}
