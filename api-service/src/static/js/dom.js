// Elements without markup: whatever comes from a task is text, and stays it.

const SVG = "http://www.w3.org/2000/svg";

/** Make an element: `h("a.row", {href, onclick}, "text", child, null)`. Strings become text. */
export function h(name, attributes = {}, ...children) {
  return fill(document.createElement(name.split(".")[0]), name, attributes, children);
}

/** Make an element of an SVG; the same, for shapes. */
export function s(name, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, name.split(".")[0]), name, attributes, children);
}

function fill(element, name, attributes, children) {
  const classes = name.split(".").slice(1);
  if (classes.length) element.setAttribute("class", classes.join(" "));
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

/** Set the text of an element, and touch nothing when it is the same. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Hold a container's children to a list, by key: what stays keeps its element, and so its focus.
 * `make(item)` returns an element, `update(element, item)` writes what may have changed. */
export function keyed(container, items, key, make, update = () => {}) {
  const known = new Map([...container.children].map((child) => [child.dataset.key, child]));
  let place = container.firstElementChild;
  for (const item of items) {
    const name = String(key(item));
    let element = known.get(name);
    known.delete(name);
    if (!element) {
      element = make(item);
      element.dataset.key = name;
    }
    update(element, item);
    if (element === place) place = place.nextElementSibling;
    else container.insertBefore(element, place);
  }
  for (const gone of known.values()) gone.remove();
}

const SHAPES = {
  pending: "M8 2.5a5.5 5.5 0 1 0 0 11 5.5 5.5 0 0 0 0-11z",
  retrying: "M13 8a5 5 0 1 1-1.6-3.7M13 2.2v2.6h-2.6",
  processing: "M8 2.5a5.5 5.5 0 1 0 0 11 5.5 5.5 0 0 0 0-11zM8 5v3l2 1.6",
  completed: "M3 8.4l3.4 3.4L13 4.6",
  failed: "M4 4l8 8M12 4l-8 8",
  cancelled: "M8 2.5a5.5 5.5 0 1 0 0 11 5.5 5.5 0 0 0 0-11zM4.4 11.6l7.2-7.2",
  warning: "M8 2.4l6 11H2zM8 6.4v3.4M8 11.4v.6",
  info: "M8 2.5a5.5 5.5 0 1 0 0 11 5.5 5.5 0 0 0 0-11zM8 7.4v3.4M8 5v.6",
};

export function icon(name) {
  return s(
    `svg.icon`,
    { viewBox: "0 0 16 16", "aria-hidden": "true" },
    s("path", { d: SHAPES[name] }),
  );
}
