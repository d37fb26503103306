// Pictures that are read in while the page is open: a bar with count, rate and the time that is left. It asks
// the service while something is under way, and while there is nothing yet to look at.

import { collection } from "./api.js";
import { byId, el } from "./dom.js";

const EVERY_MS = 2000;
const IDLE_MS = 5000;

let timer = null;
let turn = 0;

/**
 * Watches these collections until it is called again. `isEmpty()`: whether nothing is shown yet; `onNews(now)`: one
 * has other documents than before, or a run has ended.
 */
export function watch(known, { isEmpty, onNews }) {
  clearTimeout(timer);
  const mine = (turn += 1);
  let before = known;
  draw(before);
  const later = () => {
    const busy = before.some((each) => each.ingestion);
    if (busy || isEmpty()) timer = setTimeout(look, busy ? EVERY_MS : IDLE_MS);
  };
  const look = async () => {
    if (document.visibilityState === "hidden") return later();
    const now = await Promise.all(before.map((each) => collection(each.name).catch(() => each)));
    if (mine !== turn) return;
    const sum = (all) => all.reduce((total, each) => total + (each.documents ?? 0), 0);
    const ended = before.some((each, place) => each.ingestion && !now[place].ingestion);
    const news = ended || sum(now) !== sum(before);
    before = now;
    draw(now);
    if (news) onNews(now);
    later();
  };
  later();
}

const shown = (number) => number.toLocaleString();

function draw(collections) {
  const running = collections.filter((each) => each.ingestion);
  const place = byId("ingesting");
  const wasShown = !place.hidden;
  place.hidden = running.length === 0;
  if (!running.length) {
    if (wasShown) byId("news").textContent = "All pictures have been read in.";
    return place.replaceChildren();
  }
  if (!wasShown) byId("news").textContent = `Pictures are being read into ${running.map(({ name }) => name).join(", ")}.`;
  place.replaceChildren(...running.map(({ name, ingestion }) => {
    const bar = el("progress", { "aria-label": `Pictures read into ${name}` });
    if (ingestion.listed_all && ingestion.listed) Object.assign(bar, { max: ingestion.listed, value: ingestion.done });
    return el("div", { class: "ingestion" }, el("p", {}, el("strong", {}, `Reading pictures into ${name}`), el("span", {}, told(ingestion))), bar);
  }));
}

function told({ listed, listed_all: listedAll, done, failed, images_per_second: rate, eta_seconds: left }) {
  return [
    listedAll ? `${shown(done)} of ${shown(listed)}` : `${shown(done)} read, ${shown(listed)} found so far`,
    rate ? `${shown(Math.round(rate * 10) / 10)} a second` : null,
    left ? `about ${duration(left)} left` : null,
    failed ? `${shown(failed)} could not be read` : null,
  ].filter(Boolean).join(" · ");
}

function duration(seconds) {
  if (seconds < 90) return `${Math.max(1, Math.round(seconds))} s`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3600)} h`;
}
