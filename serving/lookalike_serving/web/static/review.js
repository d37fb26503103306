// The duplicates of a collection, one group at a time: what is kept beside each of the others. A person decides about each; only
// what was decided is deleted, after the service has told what that would be.

import * as api from "./api.js";
import { byId, el } from "./dom.js";
import { confirmed } from "./confirm.js";
import { draw, words } from "./copies.js";
import { takesText } from "./keyboard.js";
import { askForKey, keyWorked } from "./key.js";
import { show, showNearby } from "./pictures.js";
import { showMessage } from "./results.js";
import { explainShortly } from "./words.js";

const PAGE = 50;
const POLL_MS = 1500;
const AT_ONCE = 1000;
const ACTS = [
  ["delete", "Delete", "d"],
  ["keep", "Keep both", "k"],
  ["dismissed", "Not a duplicate", "n"],
];
const TOLD = { delete: "is to be deleted", keep: "is kept", dismissed: "is not a duplicate" };

let collection = null;
let scan = null;
let groups = [];
let cursor = null;
let at = 0;
let member = 0;
/** document id -> one of ACTS */
let decided = new Map();

const place = byId("review");
const say = (message) => { byId("status").textContent = message; };
const scans = () => `v1/collections/${encodeURIComponent(collection)}/duplicate-scans`;
const json = (body, method = "POST") => ({ method, headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
const ask = async (path, options) => (await api.send(path, options)).json();
const counted = (count, one) => `${count.toLocaleString()} ${one}${count === 1 ? "" : "s"}`;

function size(bytes) {
  const units = ["bytes", "kB", "MB", "GB", "TB"];
  let power = 0;
  for (; bytes >= 1000 && power < units.length - 1; power += 1) bytes /= 1000;
  return `${power ? bytes.toFixed(1) : bytes} ${units[power]}`;
}

// -- which scan ----------------------------------------------------------------------------------

async function choose(name) {
  collection = name;
  history.replaceState(null, "", `?collection=${encodeURIComponent(name)}`);
  byId("foot").hidden = true;
  place.replaceChildren();
  const { items } = await ask(scans());
  if (!items.length) {
    say("");
    return showMessage(place, { title: "No scan yet", detail: "A scan compares all pictures of the collection. It deletes nothing.", actions: [["Scan for duplicates", begin]] });
  }
  [scan] = items;
  await follow();
}

async function begin() {
  try {
    scan = await ask(scans(), json({ sensitivity: "strict" }));
    await follow();
  } catch (problem) { fail(problem); }
}

/** Waits until the scan has ended, and shows what it found. */
async function follow() {
  const watched = collection;
  while (["QUEUED", "RUNNING", "CANCELLING"].includes(scan.state)) {
    const known = scan.candidates !== undefined;
    say(known ? `${scan.compared.toLocaleString()} of ${counted(scan.candidates, "pair")} compared` : `${scan.done.toLocaleString()} of ${counted(scan.documents, "picture")} read`);
    place.replaceChildren(el("progress", { "aria-label": "Progress of the scan", max: Math.max(1, known ? scan.candidates : scan.documents), value: known ? scan.compared : scan.done }));
    await new Promise((resolve) => { setTimeout(resolve, POLL_MS); });
    if (collection !== watched) return;
    scan = await ask(`${scans()}/${scan.scan_id}`);
  }
  if (scan.state !== "COMPLETED") {
    say("");
    return showMessage(place, { title: `The scan ${scan.state === "FAILED" ? "failed" : "was cancelled"}`, detail: scan.failure ?? "It has no report.", actions: [["Scan again", begin]] });
  }
  [groups, cursor, at, member, decided] = [[], null, 0, 0, new Map()];
  await more();
  if (!groups.length) {
    say(`${counted(scan.documents, "picture")}, scanned ${new Date(scan.finished_at).toLocaleString()}`);
    return showMessage(place, { title: "No duplicates", detail: "No two pictures of the collection are the same.", actions: [["Scan again", begin]] });
  }
  render();
}

async function more() {
  const query = new URLSearchParams({ limit: String(PAGE), ...(cursor ? { cursor } : {}) });
  const page = await ask(`${scans()}/${scan.scan_id}/groups?${query}`);
  groups.push(...page.items);
  for (const each of page.items.flatMap((group) => group.members)) if (each.decision) decided.set(each.document_id, each.decision);
  cursor = page.next_cursor;
}

// -- one group -----------------------------------------------------------------------------------

function render() {
  const group = groups[at];
  const other = group.members[member];
  say(`Group ${(at + 1).toLocaleString()} of ${scan.groups.toLocaleString()}, picture ${member + 1} of ${group.members.length}`);
  const kept = side("Kept", group.keeper, [group.why]);
  const shown = side(decided.has(other.document_id) ? `This one ${TOLD[decided.get(other.document_id)]}` : "The other", other, [size(other.bytes)]);
  place.replaceChildren(el("section", { class: "review-group", "aria-label": `Group ${at + 1}` },
    el("div", { class: "review-acts" },
      ACTS.map(([act, label, key]) => el("button", { type: "button", class: "ghost", "aria-pressed": String(decided.get(other.document_id) === act), onclick: () => decide(act) }, label, " ", el("kbd", { "aria-hidden": "true" }, key))),
      el("button", { type: "button", class: "ghost", onclick: () => step(-1) }, "Back ", el("kbd", { "aria-hidden": "true" }, "←")),
      el("button", { type: "button", class: "ghost", onclick: () => step(1) }, "Next ", el("kbd", { "aria-hidden": "true" }, "→"))),
    el("div", { class: "review-pictures" }, kept.figure, shown.figure),
    el("p", { class: "review-verdict" }, words({ verdict: other.verdict, evidence: other.evidence })),
    group.members.length > 1 ? el("div", { class: "review-strip", role: "group", "aria-label": "Pictures of this group" }, group.members.map(thumbnail)) : null,
    el("p", { class: "review-keys" }, el("kbd", {}, "a"), " deletes all that are left in this group. Only what you decide about is deleted.")));
  const region = other.evidence.region;
  if (region && other.verdict !== "exact") {
    draw(kept, region[other.keeper_is]);
    draw(shown, region[other.keeper_is === "query" ? "document" : "query"]);
  }
  sum();
  const [next] = groups[at + 1]?.members ?? [];
  if (next) new Image().src = api.apiKey() ? "" : api.address(api.imagePath(collection, next.document_id));
}

function side(title, document, more) {
  const picture = el("img", { alt: document.document_id });
  const stage = el("div", { class: "review-stage" }, picture);
  show(picture, api.imagePath(collection, document.document_id));
  const facts = [`${document.width} × ${document.height} pixels`, ...more].filter(Boolean).join(" · ");
  const figure = el("figure", {}, stage, el("figcaption", {}, el("span", { class: "quiet small" }, title), el("strong", {}, document.document_id), el("span", { class: "quiet small" }, facts)));
  return { figure, stage, picture };
}

function thumbnail(each, index) {
  const picture = el("img", { alt: each.document_id });
  showNearby(picture, collection, each.document_id);
  return el("button", { type: "button", class: decided.get(each.document_id) ?? "", "aria-current": String(index === member), onclick: () => { member = index; render(); } }, picture);
}

async function decide(act) {
  const group = groups[at];
  const { document_id: id } = group.members[member];
  try {
    await store(group, { [id]: act });
  } catch (problem) { return say(inWords(problem)); }
  decided.set(id, act);
  await step(1);
}

/** To the next picture, or the one before; through all groups. */
async function step(by) {
  member += by;
  if (member >= groups[at].members.length) {
    if (at + 1 >= groups.length && cursor) await more();
    if (at + 1 < groups.length) [at, member] = [at + 1, 0];
    else member = groups[at].members.length - 1;
  } else if (member < 0) {
    at = Math.max(0, at - 1);
    member = by < 0 && at + 1 < groups.length ? groups[at].members.length - 1 : 0;
  }
  render();
  place.focus({ preventScroll: true });
}

/** What was decided is kept with the scan: whoever opens the page again goes on from there. */
const store = (group, decisions) => api.send(`${scans()}/${scan.scan_id}/groups/${group.group}/decisions`, json({ decisions }, "PUT"));

async function deleteRest() {
  const rest = groups[at].members.map((each) => each.document_id).filter((id) => !decided.has(id));
  try { await store(groups[at], Object.fromEntries(rest.map((id) => [id, "delete"]))); } catch (problem) { return say(inWords(problem)); }
  for (const id of rest) decided.set(id, "delete");
  member = groups[at].members.length - 1;
  await step(1);
}

// -- deleting ------------------------------------------------------------------------------------

const chosen = () => [...decided].filter(([, act]) => act === "delete").map(([id]) => id);

function sum() {
  const bytes = new Map(groups.flatMap((group) => group.members.map((each) => [each.document_id, each.bytes])));
  const ids = chosen();
  const saved = ids.reduce((total, id) => total + (bytes.get(id) ?? 0), 0);
  byId("sum").textContent = `${counted(decided.size, "picture")} of ${scan.duplicates.toLocaleString()} decided; ${ids.length.toLocaleString()} to delete, which saves ${size(saved)}`;
  byId("apply").textContent = ids.length ? `Delete ${counted(ids.length, "picture")} …` : "Delete …";
  byId("apply").disabled = ids.length === 0;
  byId("foot").hidden = false;
}

async function applied(ids, dry) {
  const done = { deleted: 0, bytes: 0, told: [] };
  for (let first = 0; first < ids.length; first += AT_ONCE) {
    const answer = await ask(`${scans()}/${scan.scan_id}/apply`, json({ report_id: scan.report_id, dry_run: dry, only: ids.slice(first, first + AT_ONCE) }));
    done.deleted += answer.deleted;
    done.bytes += answer.bytes;
    done.told.push(...answer.told);
  }
  return done;
}

async function apply() {
  const ids = chosen();
  byId("apply").disabled = true;
  try {
    const would = await applied(ids, true);
    const left = would.told.slice(0, 3).map(({ document_id, why }) => `${document_id} stays: ${why}.`);
    const detail = ["What is kept of each group stays. A deleted picture does not come back with its source until its file changes.", ...left];
    if (!would.deleted) return say(`Nothing is left to delete. ${left.join(" ")}`);
    if (!await confirmed({ title: `Delete ${counted(would.deleted, "picture")} of ${size(would.bytes)}?`, detail, yes: "Delete" })) return sum();
    const done = await applied(ids, false);
    const before = groups.length;
    for (const id of ids) decided.delete(id);
    groups = groups.map((group) => ({ ...group, members: group.members.filter((each) => !ids.includes(each.document_id)) })).filter((group) => group.members.length);
    scan.groups -= before - groups.length;
    scan.duplicates = Math.max(0, scan.duplicates - done.deleted);
    [at, member] = [Math.min(at, Math.max(0, groups.length - 1)), 0];
    const told = `${counted(done.deleted, "picture")} deleted, ${size(done.bytes)} saved.`;
    if (!groups.length) {
      byId("foot").hidden = true;
      say(told);
      return showMessage(place, { title: "All done", detail: told, actions: [["Scan again", begin]] });
    }
    render();
    say(told);
  } catch (problem) { say(inWords(problem)); } finally { byId("apply").disabled = chosen().length === 0; }
}

// -- starting ------------------------------------------------------------------------------------

const inWords = (problem) => (problem instanceof api.Problem ? explainShortly(problem) : String(problem.message ?? problem));

function fail(problem) {
  say("");
  byId("foot").hidden = true;
  showMessage(place, { kind: "error", title: "That did not work", detail: inWords(problem), actions: [["Try again", () => start()]] });
}

const KEYS = { ArrowRight: () => step(1), ArrowLeft: () => step(-1), a: deleteRest, ...Object.fromEntries(ACTS.map(([act, , key]) => [key, () => decide(act)])) };

document.addEventListener("keydown", (event) => {
  const act = KEYS[event.key];
  if (!act || !groups.length || byId("foot").hidden || event.ctrlKey || event.metaKey || event.altKey || takesText(event.target) || event.target instanceof HTMLSelectElement || document.querySelector("dialog:modal")) return;
  event.preventDefault();
  act();
});
byId("apply").addEventListener("click", apply);
byId("collection").addEventListener("change", (event) => choose(event.target.value).catch(fail));

async function start() {
  api.onKey({ needed: askForKey, worked: keyWorked });
  try {
    const known = (await api.collections()).map(({ name }) => name);
    byId("collection").replaceChildren(...known.map((name) => el("option", { value: name }, name)));
    byId("collection-label").hidden = known.length < 2;
    const asked = new URLSearchParams(location.search).get("collection");
    const name = known.includes(asked) ? asked : known[0];
    if (!name) return showMessage(place, { title: "There is no collection yet", detail: "Add one to the YAML file of this service and apply it." });
    byId("collection").value = name;
    await choose(name);
  } catch (problem) { fail(problem); }
}

start();
