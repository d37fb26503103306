// Pictures that could not be read in: how many, why, and what to do about it. They stay listed until they are in, or gone.

import { failures } from "./api.js";
import { byId, el } from "./dom.js";
import { titleOf } from "./words.js";

const MOST_NAMES = 5;

let turn = 0;

/** Shows what failed of these collections; nothing where that cannot be had. */
export async function show(collections) {
  const mine = (turn += 1);
  const told = await Promise.all(collections.map(({ name }) => failures(name, MOST_NAMES).catch(() => null)));
  if (mine !== turn) return;
  const counted = new Map();
  for (const { by_code: codes } of told.filter(Boolean)) {
    for (const { code, count, remedy } of codes ?? []) {
      counted.set(code, { count: (counted.get(code)?.count ?? 0) + count, remedy });
    }
  }
  const total = [...counted.values()].reduce((sum, { count }) => sum + count, 0);
  const names = told.filter(Boolean).flatMap(({ items }) => items.map(({ key }) => key)).slice(0, MOST_NAMES);
  const place = byId("failed");
  place.hidden = total === 0;
  if (!total) return place.replaceChildren();
  place.replaceChildren(
    el("summary", {}, total === 1 ? "1 picture could not be read in" : `${total.toLocaleString()} pictures could not be read in`),
    el("ul", {}, ...[...counted].map(([code, { count, remedy }]) => el("li", {},
      el("strong", {}, `${count.toLocaleString()} × ${titleOf(code)}`), remedy ? ` ${remedy}` : ""))),
    el("p", {}, `${total > names.length ? "Such as" : "That is"} ${names.join(", ")}.`),
  );
}
