// A question before something is lost.

import { byId, el } from "./dom.js";

/** Resolves with whether the person said yes. Enter says no: it is focused first. */
export function confirmed({ title, detail, yes }) {
  const dialog = byId("confirm");
  let answer = false;
  const close = (value) => { answer = value; dialog.close(); };
  const no = el("button", { type: "button", class: "ghost", onclick: () => close(false) }, "Keep");
  dialog.replaceChildren(el("div", { class: "confirm-inside" },
    el("h2", { id: "confirm-title" }, title),
    detail.map((sentence) => el("p", { class: "quiet" }, sentence)),
    el("p", { class: "actions" }, no, el("button", { type: "button", class: "primary", onclick: () => close(true) }, yes))));
  dialog.showModal();
  no.focus();
  return new Promise((resolve) => { dialog.addEventListener("close", () => resolve(answer), { once: true }); });
}
