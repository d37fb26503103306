// The page: address -> state -> request -> results, always in that direction. Whatever a person does
// makes a new state; `go` writes it into the address and shows it.

import * as api from "./api.js";
import * as bar from "./query-bar.js";
import * as details from "./details.js";
import * as filters from "./filters.js";
import * as results from "./results.js";
import { byId, copyFrom, el, icon, ICONS, settled } from "./dom.js";
import { asCurl, asPython } from "./snippets.js";
import { EMPTY, fromQuery, isSearch, isShareable, toFilters, toQuery, toRequest } from "./state.js";
import { fileOf } from "./uploads.js";

const BROWSED = 48;
const LARGEST = 1000;
const FACETS = 20;
const FRESH_MS = 10_000;

let state = EMPTY;
let retrievers = [];
let collections = new Map();
let fields = [];
let types = new Map();
let panel = null;
let counting = new AbortController();
let counts = { of: null, at: 0, total: null };
let running = new AbortController();
let shownDocuments = 0;
let shownEntry = null;
let nowReady = () => {};
const ready = new Promise((resolve) => { nowReady = resolve; });

/** What a person does before the page knows its retrievers is done as soon as it does. */
const whenReady = (act) => (...given) => ready.then(() => act(...given));

const place = byId("results");

// -- from one state to the next ------------------------------------------------------------------

function go(change, { replace = false } = {}) {
  const next = { ...state, ...change };
  const moved = next.retriever !== state.retriever;
  state = next;
  const query = toQuery(state, retrievers[0]?.name);
  const url = query ? `?${query}` : location.pathname;
  history[replace ? "replaceState" : "pushState"]({ upload: state.image?.kind === "upload" ? state.image : null }, "", url);
  shownEntry = entry();
  if (moved) prepare();
  render();
  run();
}

/** What tells one entry of the history from another; two uploads have the same address. */
const entry = () => location.search + (history.state?.upload?.id ?? "");

function restore() {
  shownEntry = entry();
  const next = fromQuery(location.search, history.state?.upload ?? null);
  const known = retrievers.some(({ name }) => name === next.retriever);
  const before = state;
  state = { ...next, retriever: known ? next.retriever : (retrievers[0]?.name ?? null) };
  if (state.image?.kind === "document" && !state.image.collection) {
    state.image.collection = collectionsOf(state.retriever)[0]?.name ?? null;
  }
  if (before.retriever !== state.retriever) prepare();
  render();
  run();
  if (next.retriever && !known) notice(`There is no retriever “${next.retriever}” here: this is ${state.retriever}.`);
}

const collectionsOf = (name) => {
  const retriever = retrievers.find((each) => each.name === name);
  return (retriever?.collections ?? []).map((each) => collections.get(each.name)).filter(Boolean);
};

/** What depends on the retriever: its fields. */
function prepare() {
  const searched = collectionsOf(state.retriever);
  const named = new Map(searched.flatMap((each) => each.fields ?? []).map((field) => [field.name, field]));
  fields = [...named.values()];
  types = new Map(fields.map((field) => [field.name, field.type]));
  panel = filters.build(byId("filters"), fields, { onChange: changeFilter, onAsk: countOne, onDone: () => openFilters(false) });
  byId("filters-toggle").hidden = fields.length === 0;
  document.body.classList.toggle("no-filters", fields.length === 0);
}

/** Asks for all counts under the filters; the total, or null where the service does not say. Counts just told are kept. */
function count() {
  const conditions = toFilters(state.filters, types);
  const of = JSON.stringify([state.retriever, conditions]);
  if (counts.of === of && Date.now() - counts.at < FRESH_MS) return counts.total;
  counting.abort();
  const { signal } = (counting = new AbortController());
  const asked = [...panel.asked().values()];
  const parts = asked.length ? [] : [[]];
  for (let at = 0; at < asked.length; at += FACETS) parts.push(asked.slice(at, at + FACETS));
  const total = Promise.all(parts.map((part) => askCounts(part, conditions, signal))).then(
    (answers) => answers[0].total,
    () => { counts.of = null; return null; },
  ).then((number) => { if (!signal.aborted) panel.total(number); return number; });
  counts = { of, at: Date.now(), total };
  return total;
}

/** A field's list was opened, or is searched. */
function countOne(name) {
  askCounts([panel.asked().get(name)], toFilters(state.filters, types), counting.signal).catch(() => {});
}

async function askCounts(asked, conditions, signal) {
  const request = { ...(conditions ? { filters: conditions } : {}), fields: asked };
  const answer = await api.facets(state.retriever, request, signal);
  if (signal.aborted) return answer;
  const now = panel.asked();
  // What has been asked differently since has its answer on the way.
  answer.facets.forEach((facet, place) => { if (JSON.stringify(now.get(facet.field)) === JSON.stringify(asked[place])) panel.count(facet); });
  return answer;
}

function changeFilter(field, value) {
  if (field === null) return go({ filters: {} });
  const { [field]: _, ...rest } = state.filters;
  return go({ filters: value ? { ...rest, [field]: value } : rest, ...resetLength() });
}

/** On a narrow screen the filters are a sheet over the results. */
function openFilters(shown) {
  const was = document.body.classList.contains("filters-open");
  document.body.classList.toggle("filters-open", shown);
  byId("filters-toggle").setAttribute("aria-expanded", String(shown));
  if (shown) byId("filters").querySelector("input, button")?.focus({ preventScroll: true });
  else if (was) byId("filters-toggle").focus({ preventScroll: true });
}

const resetLength = () => ({ topK: Number(byId("top-k").value) || EMPTY.topK });

// -- showing a state -----------------------------------------------------------------------------

function render() {
  bar.render(state, knowsWords());
  showAbility();
  panel?.show(state.filters);
  byId("retriever").value = state.retriever ?? "";
  byId("min-score").value = String(state.minScore ?? byId("min-score").min);
  byId("min-score-value").textContent = state.minScore === null ? "any" : state.minScore.toFixed(2);
  byId("min-score-tool").hidden = !isSearch(state);
  document.body.classList.toggle("searching", isSearch(state));
  const topK = byId("top-k");
  if (![...topK.options].some((option) => option.value === String(state.topK))) topK.append(el("option", {}, String(state.topK)));
  topK.value = String(state.topK);
  byId("top-k").closest("label").hidden = !isSearch(state);
  const active = Object.entries(state.filters);
  byId("chips").hidden = active.length === 0;
  byId("chips").replaceChildren(...active.map(([field, value]) => el("li", {},
    el("button", { type: "button", class: "chip", "aria-label": `Remove the filter ${filters.told(field, value)}`, onclick: () => changeFilter(field, null) }, el("span", {}, filters.told(field, value)), icon(ICONS.close)))));
  byId("filters-toggle").textContent = active.length ? `Filters (${active.length})` : "Filters";
  document.title = state.text.trim() ? `${state.text.trim()} – Lookalike` : state.image ? "More like this – Lookalike" : "Lookalike";
  notice(state.image?.kind === "upload" && fileOf(state.image) ? "Your picture stays in this tab: the page’s address cannot carry it." : null);
}

const knowsWords = () => collectionsOf(state.retriever).every((each) => each.supports_text !== false);

/** Before a search: what the models of the collections can do, once for each. */
function showAbility() {
  const known = collectionsOf(state.retriever).filter((each) => each.model_ability);
  const told = new Set(known.map((each) => `The model ${each.model} ${each.model_ability}.`));
  byId("ability").textContent = [...told].join(" ");
  byId("ability").hidden = told.size === 0 || isSearch(state);
}

/** Words are not asked of models that know none. */
function searchFor(change) {
  if (change.text && !knowsWords()) notice("No words are known here: drop a picture, choose one, or paste its address.");
  else go({ ...change, ...resetLength() });
}

function notice(message) {
  byId("notice").textContent = message ?? "";
  byId("notice").hidden = !message;
}

/** Announced to screen readers, shown above the results. */
function say(message) {
  byId("status").textContent = message;
}

// -- asking the service --------------------------------------------------------------------------

async function run() {
  running.abort();
  const { signal } = (running = new AbortController());
  byId("total").textContent = "";
  if (!state.retriever) return;
  if (state.image?.kind === "upload" && !fileOf(state.image)) {
    say("");
    results.showWarnings(byId("warnings"), []);
    results.showMessage(place, {
      title: "This search was made with an uploaded picture",
      detail: "Pictures are not part of a page’s address. Choose the picture again to repeat the search.",
      actions: [["Choose the picture", () => byId("file").click()], ["Search without it", () => go({ image: null })]],
    });
    return;
  }
  document.body.classList.add("busy");
  const patience = setTimeout(() => { if (!place.querySelector(".grid:not([aria-hidden])")) results.showWaiting(place, 12); }, 120);
  try {
    await (isSearch(state) ? find(signal) : browse(signal));
  } catch (failure) {
    if (signal.aborted) return;
    fail(failure);
  } finally {
    clearTimeout(patience);
    if (!signal.aborted) document.body.classList.remove("busy");
  }
}

async function find(signal) {
  const asked = state;
  count().then((total) => { if (!signal.aborted && total !== null) byId("total").textContent = `of ${filters.documentsTold(total)}`; });
  const request = toRequest(asked, types);
  const upload = fileOf(asked.image);
  const answer = await api.search(asked.retriever, request, upload, signal);
  if (signal.aborted) return;
  const found = answer.results;
  results.showWarnings(byId("warnings"), answer.warnings ?? []);
  say(`${counted(found.length)} in ${Math.max(1, Math.round(answer.took_ms))} ms`);
  if (!found.length) {
    shownDocuments = 0;
    results.showMessage(place, nothingFound(asked, answer.warnings ?? []));
    return;
  }
  const name = upload ? asked.image.name : null;
  const code = [["curl", asCurl(asked.retriever, request, name)], ["Python", asPython(asked.retriever, request, name)]];
  const onMore = found.length === asked.topK && asked.topK < LARGEST
    ? () => go({ topK: Math.min(LARGEST, asked.topK * 2) }, { replace: true }) : null;
  results.showDocuments(place, found, fields, { onOpen: (each) => open(each, code), onSimilar: similar, onMore }, shownDocuments);
  shownDocuments = onMore ? found.length : 0;
}

const counted = (number) => (number === 1 ? "1 result" : `${number} results`);

function nothingFound(asked, warnings) {
  const actions = [];
  if (Object.keys(asked.filters).length) actions.push(["Clear the filters", () => go({ filters: {} })]);
  if (asked.minScore !== null) actions.push(["Any score", () => go({ minScore: null })]);
  return { title: "Nothing found", detail: actions.length ? "Nothing scores high enough with these settings." : warnings.length ? "The reason stands above." : "This retriever’s collections hold no documents yet.", actions };
}

/** Without a query: what there is, collection by collection. */
async function browse(signal) {
  const searched = collectionsOf(state.retriever);
  const conditions = toFilters(state.filters, types);
  const counted = count();
  const closed = searched.filter((each) => each.state === "Unavailable");
  const available = searched.filter((each) => each.state !== "Unavailable");
  results.showWarnings(byId("warnings"), closed.map((each) => `${each.name} is unavailable: ${each.reason ?? "no reason was given"}`));
  const documents = [];
  let at = 0;
  let cursor = null;
  const next = async () => {
    while (at < available.length) {
      const page = await api.documents(available[at].name, { filters: conditions, limit: BROWSED, cursor, signal });
      cursor = page.next_cursor;
      if (!cursor) at += 1;
      documents.push(...page.items);
      if (page.items.length) break;
    }
    if (signal.aborted) return;
    const total = await counted;
    if (signal.aborted) return;
    say(total === null ? "" : filters.documentsTold(total));
    if (!documents.length) {
      results.showMessage(place, conditions
        ? { title: "Nothing found", detail: "No document matches these filters.", actions: [["Clear the filters", () => go({ filters: {} })]] }
        : { title: "Nothing here yet", detail: `Documents appear here as soon as they are in ${available.map((each) => each.name).join(", ") || "a collection"}.` });
      return;
    }
    const onMore = at < available.length ? () => next().catch(fail) : null;
    results.showDocuments(place, documents, fields, { onOpen: (each) => open(each, null), onSimilar: similar, onMore }, shownDocuments);
    shownDocuments = documents.length;
  };
  shownDocuments = 0;
  await next();
}

function fail(failure) {
  if (!(failure instanceof api.Problem)) {
    console.error(failure);
    failure = new api.Problem("Something failed on this page", String(failure.message ?? failure));
  }
  say("");
  results.showWarnings(byId("warnings"), []);
  results.showMessage(place, {
    kind: "error", title: failure.title, detail: failure.detail, errors: failure.errors,
    foot: failure.requestId ? `Request ${failure.requestId}` : null, actions: [["Try again", run]],
  });
}

// -- one document --------------------------------------------------------------------------------

/** The panel has an entry of its own in the history, so that Back closes it. */
function open(document, code) {
  history.pushState({ ...history.state, details: true }, "");
  details.open(document, fields, { onSimilar: similar, code });
}

function similar(document) {
  const change = { text: "", minScore: null, image: { kind: "document", id: document.document_id, collection: document.collection } };
  const replace = history.state?.details === true;
  if (details.isOpen()) {
    history.replaceState({ ...history.state, details: false }, "");
    details.close();
  }
  go(change, { replace });
  scrollTo({ top: 0, behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
}

// -- starting ------------------------------------------------------------------------------------

function askForKey(problem) {
  const dialog = byId("key");
  byId("key-detail").textContent = problem.detail;
  byId("key-value").value = "";
  if (!dialog.open) dialog.showModal();
  return new Promise((resolve, reject) => {
    let given = false;
    const submitted = () => {
      given = true;
      api.setApiKey(byId("key-value").value.trim());
    };
    byId("key-form").addEventListener("submit", submitted, { once: true });
    dialog.addEventListener("close", () => {
      byId("key-form").removeEventListener("submit", submitted);
      if (given) resolve();
      else reject(problem);
    }, { once: true });
  });
}

function listen() {
  bar.start({
    onSearch: whenReady(searchFor),
    onImage: whenReady((image) => go({ image, text: byId("text").value.trim().match(/^(https?:|data:)/) ? "" : byId("text").value.trim() })),
    onBalance: whenReady((balance) => go({ balance }, { replace: true })),
    onRefused: whenReady(notice),
  });
  details.start(() => { if (history.state?.details) history.back(); });
  byId("retriever").addEventListener("change", (event) => go({ retriever: event.target.value, filters: {}, image: state.image?.kind === "document" ? null : state.image }));
  const slide = settled((value) => go({ minScore: value }, { replace: true }), 160);
  byId("min-score").addEventListener("input", ({ target }) => {
    const value = target.value === target.min ? null : Number(target.value);
    byId("min-score-value").textContent = value === null ? "any" : value.toFixed(2);
    slide(value);
  });
  byId("top-k").addEventListener("change", (event) => go({ topK: Number(event.target.value) }, { replace: true }));
  byId("share").addEventListener("click", ({ currentTarget }) => copyFrom(currentTarget, location.href, isShareable(state) ? "Copied" : "Copied, without your picture"));
  byId("filters-toggle").addEventListener("click", () => openFilters(!document.body.classList.contains("filters-open")));
  byId("filters").addEventListener("keydown", (event) => { if (event.key === "Escape") openFilters(false); });
  addEventListener("popstate", () => {
    if (details.isOpen()) details.close();
    if (entry() !== shownEntry) restore();
  });
}

async function begin() {
  api.onKeyNeeded(askForKey);
  results.showWaiting(place, 12);
  try {
    const [found, known] = await Promise.all([api.retrievers(), api.collections()]);
    retrievers = found;
    collections = new Map(known.map((each) => [each.name, each]));
  } catch (failure) {
    fail(failure);
    place.querySelector(".actions button").addEventListener("click", begin, { once: true });
    return;
  }
  byId("retriever").replaceChildren(...retrievers.map(({ name }) => el("option", { value: name }, name)));
  byId("retriever-label").hidden = retrievers.length < 2;
  if (!retrievers.length) {
    results.showMessage(place, { title: "There is nothing to search yet", detail: "This service serves no retriever: add one to its YAML file and apply it." });
    return;
  }
  restore();
  nowReady();
  if (!matchMedia("(pointer: coarse)").matches && !isSearch(state)) byId("text").focus();
}

listen();
begin();
