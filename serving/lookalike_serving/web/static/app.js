// The page: address -> state -> request -> results, always in that direction. Whatever a person does
// makes a new state; `go` writes it into the address and shows it.

import * as adding from "./adding.js";
import * as api from "./api.js";
import * as bar from "./query-bar.js";
import * as counts from "./counts.js";
import * as cutOff from "./cut-off.js";
import * as deleting from "./deleting.js";
import * as details from "./details.js";
import * as documents from "./documents.js";
import * as filters from "./filters.js";
import * as failures from "./failures.js";
import * as ingestion from "./ingestion.js";
import * as keyboard from "./keyboard.js";
import * as messages from "./messages.js";
import * as places from "./places.js";
import * as results from "./results.js";
import * as selection from "./selection.js";
import * as toolbar from "./toolbar.js";
import { byId, el } from "./dom.js";
import { askForKey, keyWorked } from "./key.js";
import { partOf } from "./parts.js";
import { asCurl, asPython } from "./snippets.js";
import { EMPTY, fromQuery, isSearch, toFilters, toQuery, toRequest, withoutDocuments } from "./state.js";
import { fileOf } from "./uploads.js";
import { explain, sentence, warningInWords } from "./words.js";

const BROWSED = 48;
const LARGEST = 1000;

let state = EMPTY;
let retrievers = [];
let collections = new Map();
let fields = [];
let types = new Map();
let panel = null;
let running = new AbortController();
let shownEntry = null;
let nowReady = () => {};
const ready = new Promise((resolve) => { nowReady = resolve; });

/** What a person does before the page knows its retrievers is done as soon as it does. */
const whenReady = (act) => (...given) => ready.then(() => act(...given));

const place = byId("results");

// -- from one state to the next ------------------------------------------------------------------

function go(change, { replace = false } = {}) {
  const next = { ...state, ...change };
  if (!isSearch(next)) next.nots = EMPTY.nots;
  const moved = next.retriever !== state.retriever;
  state = next;
  if (!replace) places.remember();
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
  if (!isSearch(state)) state.nots = EMPTY.nots;
  places.recall();
  if (before.retriever !== state.retriever) prepare();
  render();
  run();
  if (next.retriever && !known) notice(`There is no retriever “${next.retriever}” here: this is ${state.retriever}.`);
}

const retrieverNow = () => retrievers.find((each) => each.name === state.retriever);

const collectionsOf = (name) => {
  const retriever = retrievers.find((each) => each.name === name);
  return (retriever?.collections ?? []).map((each) => collections.get(each.name)).filter(Boolean);
};

/** What depends on the retriever: its fields, and whether pictures are being read into it. */
function prepare() {
  const searched = collectionsOf(state.retriever);
  const named = new Map(searched.flatMap((each) => each.fields ?? []).map((field) => [field.name, field]));
  fields = [...named.values()];
  types = new Map(fields.map((field) => [field.name, field.type]));
  panel = filters.build(byId("filters"), fields, {
    onChange: changeFilter, onDone: () => openFilters(false),
    onAsk: (field) => counts.countOne(panel, state.retriever, conditions(), field),
  });
  byId("filters-toggle").hidden = fields.length === 0;
  document.body.classList.toggle("no-filters", fields.length === 0);
  byId("add").hidden = open_().length === 0;
  selection.clear();
  watch();
}

/** The collections that take pictures. */
const open_ = () => collectionsOf(state.retriever).filter((each) => each.state !== "Unavailable");

/** Pictures that are read in meanwhile come into view at the beginning of all there is; what is looked for or scrolled to stays. */
function watch() {
  failures.show(collectionsOf(state.retriever));
  ingestion.watch(collectionsOf(state.retriever), {
    isEmpty: () => !isSearch(state) && !place.querySelector(".grid"),
    onNews: (known) => {
      for (const each of known) collections.set(each.name, each);
      counts.forget();
      failures.show(known);
      const atTheBeginning = results.shownDocuments().length <= BROWSED && scrollY < 200;
      if (!isSearch(state) && atTheBeginning) run();
      else count().then((total) => { if (!isSearch(state) && total !== null) say(filters.documentsTold(total)); });
    },
  });
}

/** Documents came, went or changed: the counts are not what they were, nor perhaps the results. */
function renew() {
  counts.forget();
  run();
}

const conditions = () => toFilters(state.filters, types);
const count = () => counts.count(panel, state.retriever, conditions());

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
  document.body.classList.toggle("searching", isSearch(state));
  toolbar.render(state, retrieverNow(), { onFilter: changeFilter, onNot: (not) => go({ nots: state.nots.filter((each) => each !== not) }) });
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

/** A message in the place of results; what was said of those before is gone. */
function showInstead(message, { warnings = [], said = "" } = {}) {
  byId("total").hidden = message.kind === "error";
  say(said);
  results.showWarnings(byId("warnings"), warnings);
  results.showMessage(place, message);
}

// -- asking the service --------------------------------------------------------------------------

async function run() {
  running.abort();
  const { signal } = (running = new AbortController());
  byId("total").textContent = "";
  byId("total").hidden = false;
  document.body.classList.remove("busy");
  if (!state.retriever) return;
  if (state.image?.kind === "upload" && !fileOf(state.image)) {
    return showInstead(messages.withoutPicture({ onChoose: () => byId("file").click(), onDrop: () => go({ image: null }) }));
  }
  const wrong = filters.upsideDown(state.filters);
  if (wrong) {
    return showInstead(messages.turned(wrong, state.filters[wrong], { onTurn: (range) => changeFilter(wrong, range), onRemove: () => changeFilter(wrong, null) }));
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
  const asked = cutOff.withoutMissing(state, retrieverNow());
  count().then((total) => { if (!signal.aborted && total !== null) byId("total").textContent = `of ${filters.documentsTold(total)}`; });
  const request = toRequest(asked, types);
  const file = asked.image?.crop ? await partOf(asked.image) : fileOf(asked.image);
  const answer = await api.search(asked.retriever, request, file, signal).catch((failure) => { throw Object.assign(failure, { request }); });
  if (signal.aborted) return;
  const found = answer.results.filter((each) => !deleting.isGone(each));
  const warnings = [...(asked === state ? [] : [cutOff.whyNothing(state, retrieverNow())]), ...(answer.warnings ?? []).map(warningInWords)];
  const said = `${found.length === 1 ? "1 result" : `${found.length} results`} in ${Math.max(1, Math.round(answer.took_ms))} ms`;
  if (!found.length) {
    const none = messages.nothingFound(asked, { warned: warnings.length > 0, automatic: cutOff.isOn(asked, retrieverNow()) }, { onClear: () => go({ filters: {} }), onAnyScore: () => go({ minScore: cutOff.anyScore(retrieverNow()) }), onAllowAll: () => go({ nots: [] }) });
    return showInstead(none ?? nothingHere(), { warnings, said });
  }
  say(said);
  results.showWarnings(byId("warnings"), warnings);
  const name = file ? (asked.image.crop ? file.name : asked.image.name) : null;
  const code = [["curl", asCurl(asked.retriever, request, name)], ["Python", asPython(asked.retriever, request, name)]];
  const onMore = answer.results.length === asked.topK && asked.topK < LARGEST
    ? () => go({ topK: Math.min(LARGEST, asked.topK * 2) }, { replace: true }) : null;
  show(found, code, onMore);
}

const nothingHere = () => messages.empty(collectionsOf(state.retriever), { onAdd: () => byId("add-files").click() });

/** Without a query: what there is, collection by collection. */
async function browse(signal) {
  const searched = collectionsOf(state.retriever);
  const wanted = conditions();
  const counted = count();
  const closed = searched.filter((each) => each.state === "Unavailable");
  const available = open_();
  const warnings = closed.map((each) => `The collection ${each.name} cannot be searched just now. ${sentence(each.reason ?? "")}`);
  const found = [];
  let at = 0;
  let cursor = null;
  const next = async (limit) => {
    while (at < available.length) {
      const page = await api.documents(available[at].name, { filters: wanted, limit, cursor, signal });
      cursor = page.next_cursor;
      if (!cursor) at += 1;
      found.push(...page.items.filter((each) => !deleting.isGone(each)));
      if (page.items.length) break;
    }
    if (signal.aborted) return;
    const total = await counted;
    if (signal.aborted) return;
    if (!found.length) {
      const none = { title: "Nothing found", detail: "No picture is left under these filters.", actions: [["Clear the filters", () => go({ filters: {} })]] };
      return showInstead(wanted ? none : nothingHere(), { warnings, said: total === null ? "" : filters.documentsTold(total) });
    }
    say(total === null ? "" : filters.documentsTold(total));
    results.showWarnings(byId("warnings"), warnings);
    show(found, null, at < available.length ? () => next(BROWSED).catch(fail) : null);
  };
  await next(Math.min(LARGEST, Math.max(BROWSED, places.shownBefore())));
}

/** Cards are made for these; what they do is found when they are used. */
function show(found, code, onMore) {
  nowCode = code;
  results.showDocuments(place, found, fields, { onOpen: documents.open, onSimilar: documents.similar, onNot: documents.not, onPick: documents.pick, onMore });
  places.arrived();
}

let nowCode = null;

function fail(failure) {
  if (!(failure instanceof api.Problem)) {
    console.error(failure);
    failure = new api.Problem("Something failed on this page", String(failure.message ?? failure));
  }
  const { title, detail, errors, fields: wrong, missing } = explain(failure, failure.request ?? { filters: conditions() });
  const without = Object.fromEntries(Object.entries(state.filters).filter(([field]) => !wrong.includes(field)));
  const remove = [wrong.length === 1 ? "Remove the filter" : "Remove these filters", () => go({ filters: without })];
  showInstead({
    kind: "error", title, detail, errors,
    foot: failure.requestId ? `Request ${failure.requestId}` : null,
    actions: [wrong.length ? remove : missing.length ? ["Search without it", () => go(withoutDocuments(state, missing))] : ["Try again", run]],
  });
}

// -- starting ------------------------------------------------------------------------------------

function listen() {
  keyboard.start();
  bar.start({
    onSearch: whenReady(searchFor),
    onImage: whenReady((image) => go({ image, text: byId("text").value.trim().match(/^(https?:|data:)/) ? "" : byId("text").value.trim() })),
    onBalance: whenReady((balance) => go({ balance }, { replace: true })),
    onRefused: whenReady(notice),
    onPart: () => documents.cropOf(state.image),
    onAdd: whenReady((files) => adding.add(files, open_())),
    adds: () => ({ names: open_().map(({ name }) => name), only: place.querySelector(".message.empty") !== null && !isSearch(state) && !Object.keys(state.filters).length }),
  });
  documents.start({ now: () => ({ state, fields, code: nowCode }), go, run, renew, recount: () => { counts.forget(); count(); }, notice });
  toolbar.start({ onMinScore: (minScore) => go({ minScore }, { replace: true }), onTopK: (topK) => go({ topK }, { replace: true }), onShare: () => state, retriever: retrieverNow });
  adding.start({ added: () => renew(), show: documents.open });
  places.start(() => results.shownDocuments().length);
  byId("retriever").addEventListener("change", (event) => go({ retriever: event.target.value, filters: {}, nots: [], image: state.image?.kind === "document" ? null : state.image }));
  byId("filters-toggle").addEventListener("click", () => openFilters(!document.body.classList.contains("filters-open")));
  byId("filters").addEventListener("keydown", (event) => { if (event.key === "Escape") openFilters(false); });
  addEventListener("popstate", () => {
    if (details.isOpen()) details.close();
    if (entry() !== shownEntry) restore();
  });
}

async function begin() {
  api.onKey({ needed: askForKey, worked: keyWorked });
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
  if (!matchMedia("(pointer: coarse)").matches && !isSearch(state)) byId("text").focus({ preventScroll: true });
}

listen();
begin();
