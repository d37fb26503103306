// Which documents are ticked, over any number of searches, and the bar that says what can be done with them.

import { byId, el } from "./dom.js";

const picked = new Map();
let last = null;
let act = {};

export const keyOf = (document) => `${document.collection}/${document.document_id}`;
export const isPicked = (document) => picked.has(keyOf(document));

/** `actions`: {compare, remove}, called with the documents; `onChange()` after each change. */
export function start(actions) {
  act = actions;
}

/** `shown`: the documents on the screen in their order; with `range` all from the last one to this are ticked. */
export function pick(document, on, { shown, range = false }) {
  const from = range && last ? shown.findIndex((each) => keyOf(each) === last) : -1;
  const to = shown.findIndex((each) => keyOf(each) === keyOf(document));
  const meant = from < 0 ? [document] : shown.slice(Math.min(from, to), Math.max(from, to) + 1);
  for (const each of meant) {
    if (on) picked.set(keyOf(each), each);
    else picked.delete(keyOf(each));
  }
  last = keyOf(document);
  changed();
}

export function pickAll(documents) {
  for (const each of documents) picked.set(keyOf(each), each);
  changed();
}

export function clear() {
  picked.clear();
  last = null;
  changed();
}

export function forget(documents) {
  for (const each of documents) picked.delete(keyOf(each));
  changed();
}

function changed() {
  draw();
  act.onChange();
}

function draw() {
  const bar = byId("picked");
  const documents = [...picked.values()];
  const had = bar.contains(document.activeElement);
  bar.hidden = documents.length === 0;
  document.body.classList.toggle("picking", documents.length > 0);
  const button = (label, call, extra = {}) => el("button", { type: "button", class: "ghost", onclick: () => call(documents), ...extra }, label);
  bar.replaceChildren(...(documents.length ? [
    el("p", { role: "status" }, `${documents.length.toLocaleString()} selected`),
    button("Select all shown", act.all),
    button("Compare", act.compare, { disabled: documents.length !== 2, title: "Two pictures side by side: select two" }),
    button("Save ids", (all) => save("ids.txt", "text/plain", all.map((each) => each.document_id).join("\n") + "\n")),
    button("Export JSON", (all) => save("documents.json", "application/json", JSON.stringify(all.map(told), null, 2))),
    button("Delete", act.remove),
    el("button", { type: "button", class: "text-button", onclick: clear }, "Clear"),
  ] : []));
  if (had) (documents.length ? bar.querySelector("button:not(:disabled)") : byId("results")).focus({ preventScroll: true });
}

const told = ({ document_id, collection, metadata, score }) => ({ document_id, collection, metadata, ...(typeof score === "number" ? { score } : {}) });

function save(name, type, text) {
  const url = URL.createObjectURL(new Blob([text], { type }));
  el("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
