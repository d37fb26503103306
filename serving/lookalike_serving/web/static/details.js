// One document in full: its image, everything known about it, and the search as code.

import { apiKey, address, imagePath } from "./api.js";
import { byId, copyFrom, el, icon, ICONS } from "./dom.js";
import { form } from "./editing.js";
import { readable, shownValue, valuesOf } from "./facts.js";
import { show } from "./pictures.js";
import { nameOf, shownScore } from "./results.js";

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

/**
 * `code`: [[label, text]], or none where nothing was searched for. `onSimilar`, `onPart`, `onDelete` and – where there is something to
 * compare with – `onCompare` are called with the document, `onSaved(document, undo)` after its metadata was changed.
 */
export function open(document, fields, { code, onSimilar, onPart, onCompare, onDelete, onSaved }) {
  const name = nameOf(document, fields);
  const path = imagePath(document.collection, document.document_id);
  const picture = el("img", { class: "details-picture", alt: name });
  show(picture, path);
  const title = el("h2", { id: "details-title" }, name);
  const body = el("div", { class: "details-body" });
  const edit = () => body.replaceChildren(form(document, fields, {
    onCancel: () => { view(); body.querySelector(".edit-begin").focus(); },
    onSaved: (metadata, undo) => {
      document.metadata = metadata;
      title.textContent = nameOf(document, fields);
      view();
      body.querySelector(".edit-begin").focus();
      onSaved(document, undo);
    },
  }));
  const action = (label, call, kind = "ghost") => el("button", { type: "button", class: kind, onclick: () => call(document) }, label);
  const view = () => body.replaceChildren(...[facts(document),
    el("div", { class: "actions" },
      action("More like this", onSimilar, "primary"),
      action("Search by a part", onPart),
      onCompare ? action("Compare", onCompare) : null,
      action("Edit", () => { edit(); body.querySelector("input, select, textarea")?.focus(); }, "ghost edit-begin"),
      action("Delete", onDelete),
      apiKey() ? null : el("a", { class: "ghost", href: address(path), target: "_blank", rel: "noopener" }, "Open the image")),
    code ? snippets(code) : null].filter(Boolean));
  view();
  dialog.replaceChildren(el("div", { class: "details-inside" },
    el("div", { class: "details-stage" }, picture),
    el("div", { class: "details-text" },
      el("header", {}, title,
        el("button", { type: "button", class: "icon-button", "aria-label": "Close", onclick: close }, icon(ICONS.close))),
      body)));
  dialog.showModal();
}

function facts(document) {
  const id = el("button", { type: "button", class: "text-button mono", title: "Copy the document id", onclick: () => copyFrom(id, document.document_id) }, document.document_id);
  return el("dl", { class: "facts" },
    fact("Document", id),
    typeof document.score === "number" ? fact("Score", shownScore(document.score)) : null,
    typeof document.distance === "number" ? fact("Distance", shownScore(document.distance)) : null,
    fact("Collection", document.collection),
    valuesOf(document.metadata).map(([key, value]) => fact(readable(key), shownValue(value))));
}

function fact(name, value) {
  return [el("dt", {}, name), el("dd", {}, value)];
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
