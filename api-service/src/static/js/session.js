// What this tab knows of itself: its key, and what that key may not do.

const NAME = "api-key";

/** The key, kept for this tab only; until it is left, where the browser forbids storage. */
export const key = {
  get: () => stored((storage) => storage.getItem(NAME)),
  set: (value) => stored((storage) => storage.setItem(NAME, value)),
  forget: () => stored((storage) => storage.removeItem(NAME)),
};

const memory = new Map();
const inMemory = {
  getItem: (name) => memory.get(name) ?? null,
  setItem: (name, value) => memory.set(name, value),
  removeItem: (name) => memory.delete(name),
};

function stored(deed) {
  try {
    return deed(sessionStorage);
  } catch {
    return deed(inMemory);
  }
}

/** Deeds that were refused with 403, each with the API's words. */
const refused = new Map();

export const rights = {
  /** Why a deed is not allowed; null: nothing is known against it. */
  against: (deed) => refused.get(deed) ?? null,
  refuse(deed, words) {
    refused.set(deed, words);
    lookAtAll();
  },
  reset() {
    refused.clear();
    lookAtAll();
  },
};

const lookAtAll = () => document.querySelectorAll("[data-deed]").forEach(look);

/** Switch a button off where the key may not do its deed, now and when that becomes known. */
export function guard(button, deed) {
  button.dataset.deed = deed;
  look(button);
  button.addEventListener(
    "click",
    (event) => {
      if (button.getAttribute("aria-disabled") !== "true") return;
      event.preventDefault();
      event.stopImmediatePropagation();
    },
    { capture: true },
  );
  return button;
}

function look(button) {
  const words = rights.against(button.dataset.deed);
  if (words) {
    button.setAttribute("aria-disabled", "true");
    button.title = words;
  } else if (button.hasAttribute("aria-disabled")) {
    button.removeAttribute("aria-disabled");
    button.removeAttribute("title");
  }
}
