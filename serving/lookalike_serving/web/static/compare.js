// Two pictures side by side, and what is said of each; what differs stands out.

import { byId, el, icon, ICONS } from "./dom.js";
import { readable, shownValue, valuesOf } from "./facts.js";
import { imagePath } from "./api.js";
import { show } from "./pictures.js";
import { question } from "./copies.js";
import { nameOf, shownScore } from "./results.js";
import { fileOf } from "./uploads.js";

const dialog = byId("compare");

/** One side: a document, or the picture that was searched with ({kind: "upload" | "url"}, see state.js). */
export function open(left, right, fields) {
  const sides = [left, right].map((given) => {
    const side = asSide(given, fields);
    return { ...side, given, stage: el("div", { class: "compare-stage" }, side.picture) };
  });
  const keys = [...new Set(sides.flatMap(({ values }) => [...values.keys()]))];
  dialog.replaceChildren(el("div", { class: "compare-inside" },
    el("header", {},
      el("h2", { id: "compare-title" }, "Side by side"),
      el("button", { type: "button", class: "icon-button", "aria-label": "Close", onclick: () => dialog.close() }, icon(ICONS.close))),
    el("div", { class: "compare-pictures" }, sides.map(({ name, stage }) => el("figure", {}, stage, el("figcaption", {}, name)))),
    right.document_id === undefined || (left.document_id === undefined && !fileOf(left)) ? null : question(...sides),
    keys.length ? el("div", { class: "compare-facts", tabindex: "0", role: "region", "aria-label": "What is said of them" }, el("table", {},
      el("thead", { class: "hidden" }, el("tr", {}, el("th", {}, "Value"), sides.map(({ name }) => el("th", { scope: "col" }, name)))),
      el("tbody", {}, keys.map((key) => {
        const [one, other] = sides.map(({ values }) => values.get(key));
        const differs = JSON.stringify(one) !== JSON.stringify(other);
        return el("tr", { class: differs ? "differs" : null }, el("th", { scope: "row" }, key, differs ? el("span", { class: "hidden" }, " (differs)") : null),
          [one, other].map((value) => el("td", {}, value === undefined ? el("span", { class: "quiet" }, "–") : shownValue(value))));
      })))) : null));
  dialog.showModal();
}

function asSide(side, fields) {
  const picture = el("img", {});
  if (side.document_id === undefined) {
    const given = fileOf(side);
    if (given) {
      picture.src = URL.createObjectURL(given);
      picture.addEventListener("load", () => URL.revokeObjectURL(picture.src), { once: true });
    }
    picture.alt = "The picture that was searched with";
    return { name: side.name ?? "Your picture", picture, values: new Map() };
  }
  const name = nameOf(side, fields);
  picture.alt = name;
  show(picture, imagePath(side.collection, side.document_id));
  const values = new Map(valuesOf(side.metadata).map(([key, value]) => [readable(key), value]));
  if (typeof side.score === "number") values.set("Score", shownScore(side.score));
  return { name, picture, values };
}

dialog.addEventListener("close", () => dialog.replaceChildren());
dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
