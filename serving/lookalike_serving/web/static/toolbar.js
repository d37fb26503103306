// What stands above the results: filters and documents that are left out, as chips; the lowest score; how many.

import { copyFrom, byId, el, icon, ICONS, settled } from "./dom.js";
import { thumbnailPath } from "./api.js";
import { anyScore, isOn, measuredFor, outdated, outdatedFor, promise } from "./cut-off.js";
import { told } from "./filters.js";
import { show } from "./pictures.js";
import { isSearch, isShareable } from "./state.js";

/** onMinScore(score | "auto" | null), onTopK(count); onShare() gives the state that is shared, retriever() the one that is searched. */
export function start({ onMinScore, onTopK, onShare, retriever }) {
  const slide = settled(onMinScore, 160);
  byId("min-score").addEventListener("input", ({ target }) => {
    const value = target.value === target.min ? anyScore(retriever()) : Number(target.value);
    byId("min-score-value").textContent = scoreTold(value);
    byId("auto-score").checked = false;
    slide(value);
  });
  byId("auto-score").addEventListener("change", ({ target }) => onMinScore(target.checked ? "auto" : anyScore(retriever())));
  byId("top-k").addEventListener("change", (event) => onTopK(Number(event.target.value)));
  byId("share").addEventListener("click", ({ currentTarget }) => copyFrom(currentTarget, location.href, isShareable(onShare()) ? "Copied" : "Copied, without your picture"));
}

const scoreTold = (score) => (score ? score.toFixed(2) : "any");

/** `onFilter(field, null)` removes a filter, `onNot(document)` takes one back that was left out. */
export function render(state, retriever, { onFilter, onNot }) {
  const measured = measuredFor(state, retriever);
  const on = isOn(state, retriever);
  const score = on ? measured.min_score : state.minScore === "auto" ? null : state.minScore;
  byId("min-score").value = String(score ?? byId("min-score").min);
  byId("min-score-value").textContent = scoreTold(score);
  byId("min-score-tool").hidden = !isSearch(state);
  byId("auto-score").checked = on;
  const former = outdatedFor(state, retriever);
  byId("auto-score").disabled = former !== null;
  byId("auto-score-outdated").hidden = former === null;
  byId("auto-score-tool").hidden = measured === null && former === null;
  byId("auto-score-tool").title = measured !== null ? promise(measured) : former !== null ? outdated(former) : "";
  const topK = byId("top-k");
  if (![...topK.options].some((option) => option.value === String(state.topK))) topK.append(el("option", {}, String(state.topK)));
  topK.value = String(state.topK);
  topK.closest("label").hidden = !isSearch(state);
  const active = Object.entries(state.filters);
  byId("filters-toggle").textContent = active.length ? `Filters (${active.length})` : "Filters";
  chips(byId("chips"), active.map(([field, value]) => chip(`Remove the filter ${told(field, value)}`, told(field, value), () => onFilter(field, null))));
  chips(byId("nots"), state.nots.map((each) => {
    const picture = el("img", { class: "chip-not", alt: "" });
    show(picture, thumbnailPath(each.collection, each.id, 96));
    return chip(`Allow pictures like ${each.id} again`, ["Not ", picture, each.id], () => onNot(each));
  }));
}

const chip = (label, inside, remove) => el("li", {},
  el("button", { type: "button", class: "chip", "aria-label": label, title: label, onclick: remove }, el("span", {}, inside), icon(ICONS.close)));

/** In place of those that were there; the focus stays in the list, or goes to the results with the last of them. */
function chips(list, made) {
  const focused = list.contains(document.activeElement) ? [...list.children].indexOf(document.activeElement.closest("li")) : -1;
  list.hidden = made.length === 0;
  list.replaceChildren(...made);
  if (focused >= 0) (list.querySelectorAll("button")[Math.min(focused, made.length - 1)] ?? byId("results")).focus({ preventScroll: true });
}
