// Text of tasks as it is, with what cannot be seen made visible.
import { h } from "./dom.js";

//: Controls, marks of direction, and what has no width. Joiners stand in ordinary words and emoji.
const UNSEEN =
  /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb\u{e0000}-\u{e0fff}]/u;
const BLANK = /^[\s\u200c\u200d]*$/u;
//: Characters shown of a long text, until somebody asks for more.
const MOST_MARKS = 400;

/** Return an element that shows a text, isolated from the direction of what is around it. */
export function shown(text) {
  const box = h("bdi");
  box.append(...pieces(String(text)));
  return box;
}

/** Write a text into an element, as `shown` does; nothing happens when it is the same. */
export function show(element, text) {
  if (element.dataset.text === text) return;
  element.dataset.text = text;
  element.replaceChildren(shown(text));
}

function pieces(text) {
  const all = BLANK.test(text);
  if (!all && !UNSEEN.test(text)) return [text];
  const found = [];
  let plain = "";
  let marks = 0;
  for (const character of text) {
    if ((all || UNSEEN.test(character)) && marks < MOST_MARKS) {
      if (plain) found.push(plain);
      plain = "";
      marks += 1;
      found.push(h("span.unseen", { title: "A character that cannot be seen" }, point(character)));
    } else {
      plain += character;
    }
  }
  return plain ? [...found, plain] : found;
}

function point(character) {
  return `U+${character.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}`;
}
