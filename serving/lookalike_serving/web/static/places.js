// Where a person was on a page of results: kept with the entry of the history, and gone to again when they come back.

import { anchor, scrollToAnchor } from "./results.js";
import { settled } from "./dom.js";

let wanted = null;
let before = 0;
let shown = () => 0;

/** `count()`: how many documents are shown. */
export function start(count) {
  shown = count;
  history.scrollRestoration = "manual";
  addEventListener("scroll", settled(remember, 200), { passive: true });
}

/** Into the entry that is left, or is scrolled. Not while results are still on their way to an earlier place. */
export function remember() {
  if (wanted === null) history.replaceState({ ...history.state, anchor: anchor(), shown: shown() }, "");
}

/** An entry was come back to. */
export function recall() {
  wanted = history.state?.anchor ?? null;
  before = history.state?.shown ?? 0;
  if (wanted === null) scrollTo({ top: 0, behavior: "instant" });
}

/** How many documents were shown there. Once: a later list begins at its beginning. */
export function shownBefore() {
  const number = before;
  before = 0;
  return number;
}

/** Results stand. */
export function arrived() {
  if (wanted) scrollToAnchor(wanted);
  wanted = null;
}
