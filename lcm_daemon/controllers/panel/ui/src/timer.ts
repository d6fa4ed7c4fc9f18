/** Worker that answers after the given milliseconds. Browsers slow down a hidden page's own timers, but not a worker's. */
onmessage = (event: MessageEvent<number>) => {
  setTimeout(() => postMessage(null), event.data);
};
