// A submission that is sent again after no answer is no second task.

/** Return a function that gives a body its key: the same one for as long as the body is the same. */
export function onceKeys() {
  let last = { body: null, key: null };
  return (body) => {
    const text = JSON.stringify(body);
    if (text !== last.body) last = { body: text, key: random() };
    return last.key;
  };
}

/** 128 random bits; `crypto.randomUUID` is there on secure origins only. */
function random() {
  return [...crypto.getRandomValues(new Uint8Array(16))]
    .map((n) => n.toString(16).padStart(2, "0"))
    .join("");
}
