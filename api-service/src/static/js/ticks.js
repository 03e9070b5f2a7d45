// What counts up or down is written anew each second, while somebody looks.

/** Call `write` each second; returns how to stop. */
export function eachSecond(write) {
  const timer = setInterval(() => document.hidden || write(), 1000);
  return () => clearInterval(timer);
}
