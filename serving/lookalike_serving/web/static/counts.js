// How many documents match, and how many of each value: asked of the service, told to the filters' panel.

import { facets } from "./api.js";

const FACETS = 20;
const FRESH_MS = 10_000;

let counting = new AbortController();
let latest = { of: null, at: 0, total: null };

/** What was counted is no longer so: documents came or went. */
export const forget = () => { latest = { of: null, at: 0, total: null }; };

/** Asks for all counts under the conditions; the total, or null where the service does not say. Counts just told are kept. */
export function count(panel, retriever, conditions) {
  const of = JSON.stringify([retriever, conditions]);
  if (latest.of === of && Date.now() - latest.at < FRESH_MS) return latest.total;
  counting.abort();
  const { signal } = (counting = new AbortController());
  const asked = [...panel.asked().values()];
  const parts = asked.length ? [] : [[]];
  for (let at = 0; at < asked.length; at += FACETS) parts.push(asked.slice(at, at + FACETS));
  const total = Promise.all(parts.map((part) => ask(panel, retriever, part, conditions, signal))).then(
    (answers) => answers[0].total,
    () => { latest.of = null; return null; },
  ).then((number) => { if (!signal.aborted) panel.total(number); return number; });
  latest = { of, at: Date.now(), total };
  return total;
}

/** A field's list was opened, or is searched. */
export function countOne(panel, retriever, conditions, field) {
  ask(panel, retriever, [panel.asked().get(field)], conditions, counting.signal).catch(() => {});
}

async function ask(panel, retriever, asked, conditions, signal) {
  const answer = await facets(retriever, { ...(conditions ? { filters: conditions } : {}), fields: asked }, signal);
  if (signal.aborted) return answer;
  const now = panel.asked();
  // What has been asked differently since has its answer on the way.
  answer.facets.forEach((facet, place) => { if (JSON.stringify(now.get(facet.field)) === JSON.stringify(asked[place])) panel.count(facet); });
  return answer;
}
