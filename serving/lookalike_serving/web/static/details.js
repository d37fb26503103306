// One document in full: its image, everything known about it, and the search as code.

import { apiKey, address, imagePath, show } from "./api.js";
import { byId, copyFrom, el, icon, ICONS } from "./dom.js";
import { readable } from "./filters.js";
import { nameOf, shownScore } from "./results.js";
import { isUrl } from "./state.js";

const dialog = byId("details");
let onClosed = () => {};

/** `closed` is called whenever the panel has closed, however that came about. */
export function start(closed) {
  onClosed = closed;
  dialog.addEventListener("close", () => { dialog.replaceChildren(); onClosed(); });
  // The backdrop belongs to the dialog; everything else in it is inside a child.
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
}

export const isOpen = () => dialog.open;
export const close = () => dialog.close();

/** `code`: [[label, text]], or none where nothing was searched for. */
export function open(document, fields, { onSimilar, code }) {
  const name = nameOf(document, fields);
  const path = imagePath(document.collection, document.document_id);
  const picture = el("img", { class: "details-picture", alt: name });
  show(picture, path);
  const id = el("button", { type: "button", class: "text-button mono", title: "Copy the document id", onclick: () => copyFrom(id, document.document_id) }, document.document_id);
  dialog.replaceChildren(el("div", { class: "details-inside" },
    el("div", { class: "details-stage" }, picture),
    el("div", { class: "details-text" },
      el("header", {},
        el("h2", { id: "details-title" }, name),
        el("button", { type: "button", class: "icon-button", "aria-label": "Close", onclick: close }, icon(ICONS.close))),
      el("dl", { class: "facts" },
        fact("Document", id),
        typeof document.score === "number" ? fact("Score", shownScore(document.score)) : null,
        typeof document.distance === "number" ? fact("Distance", shownScore(document.distance)) : null,
        fact("Collection", document.collection),
        Object.entries(document.metadata ?? {}).map(([key, value]) => fact(readable(key), shown(value)))),
      el("div", { class: "actions" },
        el("button", { type: "button", class: "primary", onclick: () => onSimilar(document) }, "More like this"),
        apiKey() ? null : el("a", { class: "ghost", href: address(path), target: "_blank", rel: "noopener" }, "Open the image")),
      code ? snippets(code) : null)));
  dialog.showModal();
}

function fact(name, value) {
  return [el("dt", {}, name), el("dd", {}, value)];
}

function shown(value) {
  if (value === null) return el("span", { class: "quiet" }, "none");
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (typeof value === "string") {
    const time = /^\d{4}-\d\d-\d\dT[\d:.]+(Z|[+-]\d\d:\d\d)$/.test(value) ? new Date(value) : null;
    if (time && !Number.isNaN(time.getTime())) return el("time", { datetime: value, title: value }, time.toLocaleString(undefined, { dateStyle: "medium" }));
    return isUrl(value) && /^https?:/.test(value) ? el("a", { href: value, target: "_blank", rel: "noopener noreferrer" }, value) : value;
  }
  if (Array.isArray(value) && value.every((each) => typeof each !== "object")) return value.join(", ");
  return typeof value === "object" ? el("code", {}, JSON.stringify(value)) : String(value);
}

function snippets(code) {
  const block = el("pre", { tabindex: "0", "aria-label": "This search as code" }, el("code"));
  const copy = el("button", { type: "button", class: "text-button", onclick: () => copyFrom(copy, block.textContent) }, "Copy");
  const tabs = code.map(([label, text], position) => {
    const tab = el("button", { type: "button", class: "tab", role: "tab", onclick: () => choose(position) }, label);
    tab.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (step) choose((position + step + code.length) % code.length, true);
    });
    return { tab, text };
  });
  const choose = (position, focus = false) => {
    tabs.forEach(({ tab }, each) => {
      tab.setAttribute("aria-selected", String(each === position));
      tab.tabIndex = each === position ? 0 : -1;
    });
    block.firstChild.textContent = tabs[position].text;
    if (focus) tabs[position].tab.focus();
  };
  choose(0);
  return el("section", { class: "snippets" },
    el("div", { class: "snippets-head" }, el("div", { role: "tablist", "aria-label": "This search as" }, tabs.map(({ tab }) => tab)), copy), block);
}
