// To newer and older pages, and how far a search has looked.
import { h, say } from "../../dom.js";
import { plural } from "../../format.js";

/** `address(cursor)` is where a page is. */
export function pager(address) {
  const searched = h("p.muted");
  const newest = h("a.button", {}, "Newest");
  const newer = h("button", { type: "button", onclick: () => history.back() }, "Newer");
  const older = h("a.button", {}, "Older");
  const buttons = h("span.buttons", {}, newest, newer, older);
  const element = h("nav.pager", { "aria-label": "Pages" }, searched, buttons);

  /** `cameFrom`: the browser's history leads to the newer page. */
  function draw(page, cameFrom) {
    newest.hidden = !page.cursor;
    newest.href = address(null);
    newer.hidden = !cameFrom;
    older.hidden = !page.next;
    older.href = address(page.next);
    say(searched, page.searched ? words(page) : "");
  }
  return { element, draw };
}

function words({ searched, next }) {
  const rest = next ? "; Older goes on." : ", all that the other filters leave.";
  return `Looked through ${plural(searched.rows, "task")}${rest}`;
}
