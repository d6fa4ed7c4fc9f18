/** A worker that answers after so many milliseconds: unlike a page's own timers, none is slowed while nobody looks. */
onmessage = (event: MessageEvent<number>) => {
  setTimeout(() => postMessage(null), event.data);
};
