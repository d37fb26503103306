// Adding pictures to a collection: a tray at the edge of the page with every file, how far it is, and why it failed.

import { Problem, store } from "./api.js";
import { byId, el, icon, ICONS } from "./dom.js";
import { NAMES } from "./results.js";
import { explainShortly, warningInWords } from "./words.js";

const AT_ONCE = 3;
const ROWS = 30;
const TRIES = 6;
const JUNK = /^(\.|Thumbs\.db$|desktop\.ini$)/;
/** What stops all the rest, too. */
const HOPELESS = new Set(["storage-full", "unauthorized", "no-answer", "offline", "not-found"]);

let files = [];
let stopping = new AbortController();
let running = false;
let collection = null;
let choices = [];
let onAdded = () => {};
let open = () => {};

/** `added(collection)` after files were stored, `show(document)` when one in the list is chosen. */
export function start({ added, show }) {
  onAdded = added;
  open = show;
  addEventListener("beforeunload", (event) => { if (running) event.preventDefault(); });
}

/** Takes files for one of these collections ({name, fields}); begins at once where there is only one. */
export function add(given, collections) {
  const kept = given.filter((file) => !JUNK.test(file.name)).map((file) => ({ file, state: "waiting", share: 0, told: "" }));
  if (!kept.length) return;
  if (!running) files = files.filter((each) => each.state === "failed" || each.state === "waiting");
  files.push(...kept);
  if (!running) {
    choices = collections;
    collection = collections.find(({ name }) => name === collection?.name) ?? collections[0];
  }
  if (choices.length === 1 || running) run();
  else draw();
}

async function run() {
  draw();
  if (running) return;
  running = true;
  stopping = new AbortController();
  const { signal } = stopping;
  await Promise.all(Array.from({ length: AT_ONCE }, async () => {
    for (let next; !signal.aborted && (next = files.find((each) => each.state === "waiting"));) await put(next, signal);
  }));
  running = false;
  draw();
  if (files.some((each) => each.state === "added")) onAdded(collection.name);
}

async function put(each, signal) {
  const type = each.file.type;
  if (type && !type.startsWith("image/")) return fail(each, `Is ${type}, not a picture.`);
  if (each.file.size === 0) return fail(each, "Is empty.");
  each.state = "sending";
  draw();
  for (let tries = 1; ; tries += 1) {
    try {
      const { document, created } = await store(collection.name, each.file, metadataOf(each.file), {
        signal, onProgress: (share) => { each.share = share; progress(each); },
      });
      each.state = "added";
      each.document = document;
      each.told = document === null ? "Is there already." : [created ? "Added." : "Stored anew.", ...(document.warnings ?? []).map(warningInWords)].join(" ");
      return draw();
    } catch (problem) {
      if (problem.name === "AbortError") { each.state = "waiting"; return draw(); }
      if (problem.status === 429 && tries < TRIES) {
        await new Promise((resolve) => { setTimeout(resolve, (problem.wait ?? 1) * 1000); });
        if (!signal.aborted) continue;
      }
      if (HOPELESS.has(problem.code)) stopping.abort();
      return fail(each, problem instanceof Problem ? explainShortly(problem) : String(problem));
    }
  }
}

function fail(each, told) {
  Object.assign(each, { state: "failed", told });
  draw();
}

/** The file's name, under a key that the page shows as a name and that may hold words. */
function metadataOf(file) {
  const types = new Map((collection.fields ?? []).map((field) => [field.name, field.type]));
  const wordy = (key) => ["Keyword", "Text"].includes(types.get(key));
  const key = NAMES.find(wordy) ?? (types.has("name") ? null : "name");
  return key ? { [key]: file.name.replace(/\.[A-Za-z0-9]{1,5}$/, "") || file.name } : {};
}

// -- the tray ------------------------------------------------------------------------------------

const count = (state) => files.filter((each) => each.state === state).length;
const pictures = (number) => (number === 1 ? "1 picture" : `${number.toLocaleString()} pictures`);

function summary() {
  const [waiting, added, failed] = ["waiting", "added", "failed"].map(count);
  const done = added + failed;
  if (running) return `Adding to ${collection.name}: ${done.toLocaleString()} of ${files.length.toLocaleString()}`;
  if (waiting && !done) return `Add ${pictures(waiting)}`;
  return [added ? `${pictures(added)} in ${collection.name}` : null, failed ? `${failed.toLocaleString()} failed` : null, waiting ? `${waiting.toLocaleString()} not sent` : null].filter(Boolean).join(", ");
}

let drawing = 0;

/** Once for all that changes until the next frame. */
function draw() {
  drawing ||= requestAnimationFrame(() => { drawing = 0; drawNow(); });
}

function drawNow() {
  const tray = byId("adding");
  const focused = tray.contains(document.activeElement) ? document.activeElement.dataset.act : null;
  tray.hidden = files.length === 0;
  if (!files.length) return tray.replaceChildren();
  const button = (name, label, call, kind = "ghost") => el("button", { type: "button", class: kind, "data-act": name, onclick: call }, label);
  const waiting = !running && count("waiting") > 0;
  const failed = !running && count("failed") > 0;
  const select = el("select", { "aria-label": "Collection to add to", "data-act": "collection", onchange: ({ target }) => { collection = choices[target.selectedIndex]; } },
    choices.map(({ name }) => el("option", { selected: name === collection.name }, name)));
  const bar = running ? el("progress", { id: "adding-progress", max: files.length, value: share(), "aria-label": "Pictures added" }) : null;
  tray.replaceChildren(
    el("header", {},
      el("h2", { id: "adding-title" }, summary()),
      el("button", { type: "button", class: "icon-button", "data-act": "close", "aria-label": running ? "Stop adding" : "Close", onclick: close }, icon(ICONS.close))),
    ...[bar,
      el("ul", { class: "adding-files", tabindex: "0", "aria-label": "Files" }, rows().map(row)),
      waiting || failed ? el("p", { class: "actions" },
        waiting && choices.length > 1 && !count("added") ? select : null,
        waiting ? button("add", `Add ${pictures(count("waiting"))}`, run, "primary") : null,
        failed ? button("again", "Try the failed again", again) : null) : null].filter(Boolean));
  byId("adding-news").textContent = running ? "" : summary();
  if (focused !== null) (tray.querySelector(`[data-act="${focused}"]`) ?? tray.querySelector("button")).focus({ preventScroll: true });
}

/** Those that failed, those on their way, and the last of the others: of a large folder not every file has a row. */
function rows() {
  const first = files.filter((each) => each.state === "failed");
  const active = files.filter((each) => each.state === "sending");
  const others = files.filter((each) => each.state === "added").slice(-ROWS).reverse();
  return [...active, ...first.slice(0, 500), ...others, ...files.filter((each) => each.state === "waiting").slice(0, ROWS)];
}

function row(each) {
  const name = each.file.webkitRelativePath || each.file.name || "picture";
  const told = { waiting: "Waits.", sending: each.share < 1 ? `${Math.round(each.share * 100)} %` : "Is being read …" }[each.state] ?? each.told;
  each.status = el("span", { class: "adding-told" }, told);
  return el("li", { class: each.state },
    each.document ? el("button", { type: "button", class: "text-button", onclick: () => open(each.document) }, name) : el("span", { class: "adding-name" }, name),
    each.status);
}

const share = () => files.reduce((sum, each) => sum + (["added", "failed"].includes(each.state) ? 1 : each.state === "sending" ? each.share * 0.9 : 0), 0);

/** Between two drawings: the numbers alone. */
function progress(each) {
  if (each.status) each.status.textContent = each.share < 1 ? `${Math.round(each.share * 100)} %` : "Is being read …";
  const bar = byId("adding-progress");
  if (bar) bar.value = share();
}

function again() {
  for (const each of files) if (each.state === "failed") Object.assign(each, { state: "waiting", share: 0, told: "" });
  run();
}

function close() {
  if (running) return stopping.abort();
  files = [];
  draw();
  byId("add").focus({ preventScroll: true });
}

// -- what was dropped ----------------------------------------------------------------------------

/** All files of a drop, those in folders too. To be called while the drop is handled. */
export function filesOf(transfer) {
  const entries = [...transfer.items].filter((item) => item.kind === "file").map((item) => item.webkitGetAsEntry?.() ?? item.getAsFile());
  return Promise.all(entries.map(filesIn)).then((found) => found.flat());
}

/** Whether more than one picture was dropped. */
export const isMany = (transfer) => {
  const items = [...transfer.items].filter((item) => item.kind === "file");
  return items.length > 1 || items.some((item) => item.webkitGetAsEntry?.()?.isDirectory);
};

async function filesIn(entry) {
  if (entry === null) return [];
  if (entry instanceof File) return [entry];
  if (entry.isFile) return [await new Promise((resolve, reject) => { entry.file(resolve, reject); })];
  const reader = entry.createReader();
  const found = [];
  for (;;) {
    const some = await new Promise((resolve, reject) => { reader.readEntries(resolve, reject); });
    if (!some.length) break;
    found.push(...some);
  }
  return (await Promise.all(found.map(filesIn))).flat();
}
