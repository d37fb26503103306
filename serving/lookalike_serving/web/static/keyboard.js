// Keys of the whole page.

import { byId } from "./dom.js";

const TEXT = new Set(["text", "search", "number", "date", "email", "password", "tel", "time", "url", "datetime-local"]);

/** Whether a key pressed there is meant for a text. A checkbox, a slider and a list of choices are no text. */
export const takesText = (node) =>
  (node instanceof HTMLInputElement && TEXT.has(node.type)) || node instanceof HTMLTextAreaElement || Boolean(node?.isContentEditable);

/** `/` goes to the search. In the empty box, where the page begins, it is not typed either: there is nothing to search for by it. */
export function start() {
  const box = byId("text");
  document.addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    const typing = event.target === box ? box.value !== "" : takesText(event.target);
    if (typing || document.querySelector("dialog:modal")) return;
    event.preventDefault();
    box.focus();
    box.select();
  });
}
