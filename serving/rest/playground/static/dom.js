// Builds elements. Text is always data: nothing here reads HTML.

const PROPERTIES = new Set(["checked", "disabled", "hidden", "textContent", "value"]);

/** Returns an element. Names that begin with "on" are listeners; null, undefined and false leave an attribute out. */
export function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (PROPERTIES.has(name)) node[name] = value;
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

export function button(label, onclick, attributes = {}) {
  return make("button", { type: "button", onclick, ...attributes }, label);
}

export const byId = (id) => document.getElementById(id);

/** Makes `nodes` the children of an element. Those that stay are not moved, so they keep the focus. */
export function arrange(parent, nodes) {
  for (const child of [...parent.children]) {
    if (!nodes.includes(child)) child.remove();
  }
  nodes.forEach((node, index) => {
    if (parent.children[index] !== node) parent.insertBefore(node, parent.children[index] ?? null);
  });
}

/** Tells screen readers a short fact, such as the end of an answer. */
export function announce(text) {
  byId("status").textContent = text;
}

/** Moves the focus among `items` by arrow keys, Home and End. Returns whether the key was one of these. */
export function walk(event, items, [back, forward]) {
  const index = items.indexOf(document.activeElement);
  const target = { [back]: index - 1, [forward]: index + 1, Home: 0, End: items.length - 1 }[event.key];
  if (target === undefined || index < 0) return false;
  event.preventDefault();
  items[Math.max(0, Math.min(items.length - 1, target))].focus();
  return true;
}
