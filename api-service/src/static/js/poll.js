// Asking again and again, while somebody looks.

const LONGEST_MS = 30_000;

/** Call `work` now, then `seconds` after each end; not while the tab is hidden, less often while it
 * fails. `now()` asks for it at once, `soon()` no sooner than `gap` seconds after the last time. */
export function poll(work, seconds, gap = 2) {
  let timer = null;
  let failures = 0;
  let busy = false;
  let wanted = false;
  let last = 0;
  let stopped = false;

  async function turn() {
    timer = null;
    if (busy || stopped || document.hidden) return;
    busy = true;
    wanted = false;
    last = Date.now();
    let pause = seconds * 1000;
    try {
      await work();
      failures = 0;
    } catch (error) {
      if (error.name === "AbortError") return;
      if (error.status === undefined) throw error;
      failures += 1;
      pause = Math.min(Math.max((error.retryAfter ?? 0) * 1000, 1000 * 2 ** failures), LONGEST_MS);
    } finally {
      busy = false;
    }
    plan(wanted && !failures ? gap * 1000 : pause);
  }

  function plan(ms) {
    clearTimeout(timer);
    if (!stopped) timer = setTimeout(turn, ms);
  }

  const wake = () => (document.hidden ? clearTimeout(timer) : plan(0));
  document.addEventListener("visibilitychange", wake);
  turn();
  return {
    now() {
      failures = 0;
      if (busy) wanted = true;
      else plan(0);
    },
    soon() {
      if (wanted || failures) return;
      wanted = true;
      if (!busy) plan(Math.max(last + gap * 1000 - Date.now(), 0));
    },
    stop() {
      stopped = true;
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", wake);
    },
  };
}
