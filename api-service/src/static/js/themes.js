// Dark, light, or as the system has it.
const NEXT = { "": "dark", dark: "light", light: "" };
const WORDS = { "": "Auto", dark: "Dark", light: "Light" };

export function setUpTheme(button) {
  const root = document.documentElement;
  const tell = () => {
    const chosen = root.dataset.theme ?? "";
    button.textContent = `${WORDS[chosen]} theme`;
    button.title = `Switch to ${WORDS[NEXT[chosen]].toLowerCase()}`;
  };
  button.addEventListener("click", () => {
    const chosen = NEXT[root.dataset.theme ?? ""];
    if (chosen) root.dataset.theme = chosen;
    else delete root.dataset.theme;
    try {
      localStorage.setItem("theme", chosen);
    } catch {
      // It holds for this page, then.
    }
    tell();
  });
  tell();
}
