// The grid, and what stands in its place: waiting, nothing found, an error.

import { show, thumbnailPath } from "./api.js";
import { el, icon, ICONS } from "./dom.js";

const NAMES = ["title", "name", "label", "caption", "product"];
const SHOWN_VALUES = 3;

/** What to call a document: its own name, or the words its keyword fields make. */
export function nameOf(document, fields) {
  const metadata = document.metadata ?? {};
  const own = NAMES.map((key) => metadata[key]).find((value) => typeof value === "string" && value.trim());
  if (own) return own;
  const words = fields.filter((field) => field.type === "Keyword").map((field) => metadata[field.name]).filter((value) => typeof value === "string" && value);
  return words.length ? words.slice(0, SHOWN_VALUES).join(" · ") : document.document_id;
}

export const shownScore = (score) => (Math.abs(score) >= 100 ? score.toFixed(1) : score.toFixed(3));

function card(document, fields, { onOpen, onSimilar }) {
  const name = nameOf(document, fields);
  const scored = typeof document.score === "number";
  const picture = el("img", { alt: "", draggable: true, decoding: "async" });
  show(picture, thumbnailPath(document.collection, document.document_id, 384));
  const open = el("button", {
    type: "button", class: "card-open", onclick: () => onOpen(document),
    "aria-label": scored ? `${name}, score ${shownScore(document.score)}: details` : `${name}: details`,
  },
  el("span", { class: "card-picture" }, picture, scored ? el("span", { class: "score" }, shownScore(document.score)) : null),
  el("span", { class: "card-name" }, name),
  name === document.document_id ? null : el("span", { class: "card-id" }, document.document_id));
  const similar = el("button", { type: "button", class: "card-similar", title: "More like this", "aria-label": `More like ${name}`, onclick: () => onSimilar(document) }, icon(...ICONS.similar), el("span", {}, "More like this"));
  const item = el("li", { class: "card" }, open, similar);
  item.dataset.documentId = document.document_id;
  return item;
}

/** Shows documents; `onMore` where there may be more of them. `kept`: how many stood there already. */
export function showDocuments(place, documents, fields, { onOpen, onSimilar, onMore }, kept = 0) {
  const items = documents.map((document) => card(document, fields, { onOpen, onSimilar }));
  items.forEach((item, position) => item.style.setProperty("--delay", `${Math.min(Math.max(position - kept, 0), 14) * 18}ms`));
  const grid = el("ul", { class: "grid", role: "list" }, items);
  grid.addEventListener("keydown", walk);
  const more = onMore ? el("button", { type: "button", class: "ghost more", onclick: onMore }, "Show more") : null;
  place.replaceChildren(...[grid, more].filter(Boolean));
}

/** Arrow keys move between cards, by columns up and down. */
function walk(event) {
  const buttons = [...event.currentTarget.querySelectorAll(".card-open")];
  const here = buttons.indexOf(event.target.closest(".card")?.querySelector(".card-open"));
  if (here < 0) return;
  const columns = getComputedStyle(event.currentTarget).gridTemplateColumns.split(" ").length;
  const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns }[event.key];
  const next = event.key === "Home" ? 0 : event.key === "End" ? buttons.length - 1 : here + (step ?? 0);
  if (next === here || !buttons[next]) return;
  event.preventDefault();
  buttons[next].focus();
}

export function showWaiting(place, count) {
  const cards = Array.from({ length: count }, () => el("li", { class: "card waiting" }, el("span", { class: "card-picture" }), el("span", { class: "card-name" }, " ")));
  place.replaceChildren(el("ul", { class: "grid", "aria-hidden": "true" }, cards));
}

/** A message in the place of results. `actions`: [[label, call]]. */
export function showMessage(place, { title, detail, errors = [], foot = null, kind = "empty", actions = [] }) {
  place.replaceChildren(el("div", { class: `message ${kind}`, role: kind === "error" ? "alert" : null },
    el("h2", {}, title),
    detail ? el("p", {}, detail) : null,
    errors.length > 1 ? el("ul", {}, errors.map(({ path, message }) => el("li", {}, path ? el("code", {}, path) : null, ` ${message}`))) : null,
    actions.length ? el("p", { class: "actions" }, actions.map(([label, call]) => el("button", { type: "button", class: "ghost", onclick: call }, label))) : null,
    foot ? el("p", { class: "quiet small" }, foot) : null));
}

export function showWarnings(place, warnings) {
  place.replaceChildren(...warnings.map((warning) => el("p", { class: "warning", role: "status" }, warning)));
}
