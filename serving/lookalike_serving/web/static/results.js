// The grid, and what stands in its place: waiting, nothing found, an error.

import { el, icon, ICONS } from "./dom.js";
import { showNearby } from "./pictures.js";
import { isPicked, keyOf } from "./selection.js";

export const NAMES = ["title", "name", "label", "caption", "product"];
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

function card(document, fields, { onOpen, onSimilar, onNot, onPick }) {
  const name = nameOf(document, fields);
  const scored = typeof document.score === "number";
  const picture = el("img", { alt: "", draggable: true, decoding: "async" });
  const open = el("button", {
    type: "button", class: "card-open", onclick: () => onOpen(document),
    "aria-label": scored ? `${name}, score ${shownScore(document.score)}: details` : `${name}: details`,
  },
  el("span", { class: "card-picture" }, picture, scored ? el("span", { class: "score" }, shownScore(document.score)) : null),
  el("span", { class: "card-name" }, name),
  name === document.document_id ? null : el("span", { class: "card-id" }, document.document_id));
  const tool = (label, told, call, shape) => el("button", { type: "button", class: "card-tool", title: label, "aria-label": told, onclick: call }, icon(...[shape].flat()), el("span", {}, label));
  const tick = el("input", { type: "checkbox", "aria-label": `Select ${name}`, checked: isPicked(document), onclick: (event) => onPick(document, event.target.checked, event.shiftKey) });
  const item = el("li", { class: "card" }, open,
    el("label", { class: "card-pick", title: "Select" }, tick),
    el("div", { class: "card-tools" },
      tool("More like this", `More like ${name}`, () => onSimilar(document), ICONS.similar),
      scored ? tool("Not this", `Not like ${name}`, () => onNot(document), ICONS.not) : null));
  item.dataset.documentId = document.document_id;
  return { item, picture, tick };
}

/** The cards on the screen, by what they show: what is shown again keeps its place, its picture and the focus. */
let standing = new Map();

/** Shows documents; `onMore` where there may be more of them. */
export function showDocuments(place, documents, fields, { onMore, ...acts }) {
  const before = standing;
  const kept = place.querySelector(".grid:not([aria-hidden])");
  standing = new Map(documents.map((document) => {
    const shown = JSON.stringify(document);
    return [shown, before.get(shown) ?? { ...card(document, fields, acts), document, acts, isNew: true }];
  }));
  const grid = kept ?? el("ul", { class: "grid", role: "list", onkeydown: walk });
  let fresh = 0;
  let at = grid.firstElementChild;
  for (const each of standing.values()) {
    if (each.item === at) at = at.nextElementSibling;
    else grid.insertBefore(each.item, at);
    if (!each.isNew) continue;
    each.item.style.setProperty("--delay", `${Math.min((fresh += 1), 14) * 18}ms`);
  }
  while (at) {
    const next = at.nextElementSibling;
    at.remove();
    at = next;
  }
  const more = onMore ? el("button", { type: "button", class: "ghost more", onclick: onMore }, "Show more") : null;
  if (kept) grid.nextElementSibling?.remove();
  if (!kept) place.replaceChildren(grid);
  if (more) grid.after(more);
  // Not before they stand: the size of a picture is the size of its place.
  for (const each of standing.values()) {
    if (each.isNew) showNearby(each.picture, each.document.collection, each.document.document_id);
    each.isNew = false;
  }
}

/** A document that was changed while it is shown. */
export function refresh(document, fields) {
  const [key, old] = [...standing].find(([, each]) => each.document === document) ?? [];
  if (old) {
    const made = { ...card(document, fields, old.acts), document, acts: old.acts };
    old.item.replaceWith(made.item);
    showNearby(made.picture, document.collection, document.document_id);
    standing = new Map([...standing].map(([each, value]) => (each === key ? [JSON.stringify(document), made] : [each, value])));
  }
}

export const shownDocuments = () => [...standing.values()].map(({ document }) => document);

/** The ticks as they are now. */
export function showPicked() {
  for (const { document, tick } of standing.values()) tick.checked = isPicked(document);
}

/** Where a card stands on the screen, or will when it has come to rest. */
const topOf = (item) => item.parentElement.getBoundingClientRect().top + item.offsetTop - item.parentElement.offsetTop;

/** Where the page is scrolled to, as a document and its distance from the top; null at the top. */
export function anchor() {
  if (scrollY < 40) return null;
  for (const { document, item } of standing.values()) {
    const top = topOf(item);
    if (top + item.offsetHeight > 0) return { key: keyOf(document), top };
  }
  return null;
}

/** Scrolls to where it was. Cards that were never drawn have a guessed height, hence more than once. */
export function scrollToAnchor({ key, top }) {
  const found = [...standing.values()].find(({ document }) => keyOf(document) === key);
  if (!found) return;
  let turns = 4;
  const step = () => {
    scrollBy({ top: topOf(found.item) - top, behavior: "instant" });
    if ((turns -= 1)) requestAnimationFrame(step);
  };
  step();
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
  standing = new Map();
  place.replaceChildren(el("ul", { class: "grid", "aria-hidden": "true" }, cards));
}

/** A message in the place of results. `errors`: sentences; `command`: what can be typed instead; `actions`: [[label, call]]. */
export function showMessage(place, { title, detail, errors = [], command = null, foot = null, kind = "empty", actions = [] }) {
  standing = new Map();
  place.replaceChildren(el("div", { class: `message ${kind}`, role: kind === "error" ? "alert" : null },
    el("h2", {}, title),
    detail ? el("p", {}, detail) : null,
    errors.length ? el("ul", {}, errors.map((error) => el("li", {}, error))) : null,
    actions.length ? el("p", { class: "actions" }, actions.map(([label, call]) => el("button", { type: "button", class: "ghost", onclick: call }, label))) : null,
    command ? el("p", { class: "quiet small" }, command[0], " ", el("code", {}, command[1])) : null,
    foot ? el("p", { class: "quiet small" }, foot) : null));
}

export function showWarnings(place, warnings) {
  place.replaceChildren(...warnings.map((warning) => el("p", { class: "warning", role: "status" }, warning)));
}
