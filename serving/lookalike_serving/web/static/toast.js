// A sentence at the foot of the page that goes by itself, perhaps with something to do about it: Undo.

import { byId, el, icon, ICONS } from "./dom.js";

const SHOWN_MS = 8000;
const place = byId("toast");
let dismiss = () => {};

/** Shows it in place of an earlier one. `onGone(acted)`: it went, by its action or without. It stays while it is pointed at. */
export function toast(message, { action = null, onGone = () => {} } = {}) {
  dismiss();
  rise();
  let timer = null;
  const gone = (acted) => {
    clearTimeout(timer);
    dismiss = () => {};
    place.hidden = true;
    place.replaceChildren();
    onGone(acted);
  };
  const start = () => { clearTimeout(timer); timer = setTimeout(() => gone(false), SHOWN_MS); };
  const stay = () => clearTimeout(timer);
  dismiss = () => gone(false);
  place.replaceChildren(el("div", { class: "toast-inside", onpointerenter: stay, onpointerleave: start, onfocusin: stay, onfocusout: start },
    el("p", {}, message),
    action ? el("button", { type: "button", class: "text-button", onclick: () => gone(true) }, action) : null,
    el("button", { type: "button", class: "icon-button", "aria-label": "Close the message", onclick: () => gone(false) }, icon(ICONS.close))));
  place.hidden = false;
  start();
}

/** Outside of an open dialog nothing can be reached: the message lies within it for as long as it is open. */
function rise() {
  const dialog = document.querySelector("dialog:modal");
  (dialog ?? document.body).append(place);
  dialog?.addEventListener("close", () => document.body.append(place), { once: true });
}

/** What was waiting for its end has it now. */
export const settle = () => dismiss();
