// What this tab knows of itself: its key, and what that key may not do.

const NAME = "api-key";

/** The key, kept for this tab only. */
export const key = {
  get: () => sessionStorage.getItem(NAME),
  set: (value) => sessionStorage.setItem(NAME, value),
  forget: () => sessionStorage.removeItem(NAME),
};

/** Deeds that were refused with 403, each with the API's words. */
const refused = new Map();

export const rights = Object.assign(new EventTarget(), {
  /** Why a deed is not allowed; null: nothing is known against it. */
  against: (deed) => refused.get(deed) ?? null,
  refuse(deed, words) {
    refused.set(deed, words);
    rights.dispatchEvent(new Event("change"));
  },
  reset() {
    refused.clear();
    rights.dispatchEvent(new Event("change"));
  },
});

/** Switch a button off where the key may not do its deed, now and when that becomes known. */
export function guard(button, deed) {
  const look = () => {
    const words = rights.against(deed);
    if (words) {
      button.setAttribute("aria-disabled", "true");
      button.title = words;
    } else if (button.hasAttribute("aria-disabled")) {
      button.removeAttribute("aria-disabled");
      button.removeAttribute("title");
    }
  };
  look();
  rights.addEventListener("change", look);
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
