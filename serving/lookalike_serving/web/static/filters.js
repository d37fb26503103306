// Filters built from the collections' typed fields, with counts that the service's facets tell: of all documents
// that match the other fields' filters.

import { el, settled, shape } from "./dom.js";

const SHOWN = 8;
const MOST = 200;
const BARS = 24;

/** "added_at" -> "Added at", "camera.make" -> "Camera make" */
export const readable = (name) => {
  const words = name.replace(/[_.]/g, " ").replace(/([a-z])([A-Z])/g, "$1 $2");
  return words[0].toUpperCase() + words.slice(1);
};

/** What a filter says, in words; for the chips above the results. */
export function told(field, value) {
  const name = readable(field);
  if (value.in) return `${name}: ${value.in.join(", ")}`;
  if (value.eq !== undefined) return `${name}: ${value.eq ? "yes" : "no"}`;
  if (value.text) return `${name}: “${value.text}”`;
  if (value.near) return `${name}: within ${value.near.km} km`;
  if (value.lte === undefined) return `${name} from ${value.gte}`;
  return value.gte === undefined ? `${name} up to ${value.lte}` : `${name} ${value.gte} – ${value.lte}`;
}

/** The first field whose range ends before it begins, so that nothing can lie in it; null where there is none. */
export const upsideDown = (filters) => Object.keys(filters).find((field) => filters[field].lte < filters[field].gte) ?? null;

const written = (value, hours = false) => (typeof value === "number" ? value.toLocaleString(undefined, { maximumFractionDigits: 6 }) : String(value).slice(0, hours ? 16 : 10).replace("T", " "));
const toldCount = (count, exact) => (exact ? "" : "≈ ") + count.toLocaleString();
export const documentsTold = (total) => (total === 1 ? "1 document" : `${total.toLocaleString()} documents`);

/**
 * Fills the panel once for a retriever's fields. `onChange(field, filter)`, `onChange(null, null)` for all; `onAsk(field)` when a
 * field wants other counts than it has; `onDone` closes the panel where it covers the results. Returns
 *
 *   show(filters)         what is chosen
 *   asked()               field -> what to ask the service to count
 *   count(facet)          the answer to one of these
 *   total(number | null)  documents that match everything; null: the service does not say
 */
export function build(panel, fields, { onChange, onAsk, onDone }) {
  const groups = new Map(fields.map((field) => {
    const make = MAKERS[field.type] ?? MAKERS.Keyword;
    const made = make(field, (value) => onChange(field.name, value), () => onAsk(field.name));
    const group = el("fieldset", { class: "group", "data-field": field.name }, el("legend", {}, readable(field.name)), made.body);
    return [field.name, { group, ...made }];
  }));
  const clear = el("button", { type: "button", class: "text-button", onclick: () => onChange(null, null) }, "Clear all");
  const total = el("span", { class: "filters-total" });
  const head = el("div", { class: "filters-head" }, el("h2", {}, "Filters"), total, clear,
    el("button", { type: "button", class: "primary only-narrow", onclick: onDone }, "Done"));
  const note = el("p", { class: "filters-note", hidden: true }, "The service does not tell counts at present.");
  panel.replaceChildren(...(fields.length ? [head, note, ...[...groups.values()].map(({ group }) => group)] : []));
  return {
    show: (filters) => {
      clear.hidden = Object.keys(filters).length === 0;
      for (const [name, { show }] of groups) show(filters[name] ?? null);
    },
    asked: () => new Map([...groups].filter(([, { asked }]) => asked).map(([name, { asked }]) => [name, { field: name, ...asked() }])),
    count: (facet) => groups.get(facet.field)?.count(facet),
    total: (number) => {
      total.textContent = number === null ? "" : documentsTold(number);
      note.hidden = number !== null;
    },
  };
}

function keyword(field, set, ask) {
  const list = el("div", { class: "options" });
  const more = el("button", { type: "button", class: "text-button", hidden: true });
  const note = el("p", { class: "filters-note", hidden: true });
  const find = el("input", { type: "search", class: "field", maxlength: "256", "aria-label": `${readable(field.name)}: find a value`, hidden: true });
  let values = [];
  let distinct = 0;
  let all = 0;
  let exact = true;
  let chosen = [];
  let open = false;

  const toggle = (value, on) => {
    const next = on ? [...chosen, value] : chosen.filter((each) => each !== value);
    set(next.length ? { in: next } : null);
  };
  const option = ({ value, count }) => {
    const box = el("input", { type: "checkbox", checked: chosen.includes(value), onchange: (event) => toggle(value, event.target.checked) });
    box.dataset.value = value;
    return el("label", { class: "option", title: value }, box, el("span", { class: "option-name" }, value === "" ? "(empty)" : value), count === null ? null : el("span", { class: "option-count" }, toldCount(count, exact)));
  };
  const draw = () => {
    const focused = list.contains(document.activeElement) ? document.activeElement.dataset.value : null;
    const known = new Set(values.map(({ value }) => value));
    const uncounted = chosen.filter((value) => !known.has(value)).map((value) => ({ value, count: null }));
    list.replaceChildren(...[...uncounted, ...values].map(option));
    if (focused !== null) [...list.querySelectorAll("input")].find((box) => box.dataset.value === focused)?.focus();
    const searched = find.value.trim();
    find.hidden = all !== null && all <= SHOWN && !searched;
    find.placeholder = all === null ? "Find a value" : `Find one of ${all.toLocaleString()}`;
    more.hidden = Boolean(searched) || (all !== null && all <= SHOWN);
    more.textContent = open ? "Show fewer" : all === null || all > MOST ? `Show ${MOST}` : `Show all ${all}`;
    more.setAttribute("aria-expanded", String(open));
    const told = values.length;
    const left = distinct === null ? told > 0 : told < distinct;
    note.textContent = searched && !told ? `No value contains “${searched}”.`
      : (open || searched) && left ? `The ${told} most frequent of ${distinct === null ? "very many" : distinct.toLocaleString()}: find others by name.` : "";
    note.hidden = !note.textContent;
  };
  more.addEventListener("click", () => { open = !open; draw(); ask(); });
  find.addEventListener("input", settled(ask, 180));
  return {
    body: el("div", {}, find, list, note, more),
    show: (value) => { chosen = value?.in ?? []; draw(); },
    asked: () => {
      const contains = find.value.trim();
      return { type: "terms", limit: open || contains ? MOST : SHOWN, ...(contains ? { contains } : {}), ...(chosen.length ? { include: chosen.slice(0, 100) } : {}) };
    },
    count: (facet) => {
      ({ values, distinct, exact } = facet);
      if (!find.value.trim()) all = distinct;
      draw();
    },
  };
}

/** How values are spread, as bars; those within the chosen bounds stand out. */
function bars(field, facet, bounds) {
  const most = Math.max(1, ...facet.buckets.map(({ count }) => count));
  const width = 100 / facet.buckets.length;
  const beyond = ({ from, to }) => (bounds.gte !== undefined && to !== null && to <= bounds.gte) || (bounds.lte !== undefined && from > bounds.lte);
  const drawn = facet.buckets.map((bucket, place) => {
    const height = bucket.count ? Math.max(1.5, (bucket.count / most) * 36) : 0;
    const hours = facet.interval === "hour";
    const told = `${written(bucket.from, hours)} – ${bucket.to === null ? "…" : written(bucket.to, hours)}: ${toldCount(bucket.count, facet.exact)}`;
    return shape("rect", { x: place * width, y: 36 - height, width: width * 0.86, height, class: beyond(bucket) ? "beyond" : "within" }, shape("title", {}, told));
  });
  const label = `${readable(field.name)}: from ${written(facet.min)} to ${written(facet.max)}`;
  return shape("svg", { class: "bars", viewBox: "0 0 100 36", preserveAspectRatio: "none", role: "img", "aria-label": label }, ...drawn);
}

function range(type, facetType, read) {
  return (field, set) => {
    const input = (bound, name) => el("input", { type, class: "field", step: "any", "aria-label": `${readable(field.name)} ${name}`, "data-bound": bound, onchange: () => changed() });
    const low = input("gte", "from");
    const high = input("lte", "up to");
    const chart = el("div", { class: "chart" });
    let facet = null;
    let chosen = {};
    const changed = () => {
      const bounds = {};
      if (low.value !== "" && read(low.value) !== null) bounds.gte = read(low.value);
      if (high.value !== "" && read(high.value) !== null) bounds.lte = read(high.value);
      set(Object.keys(bounds).length ? bounds : null);
    };
    const draw = () => {
      const some = facet?.buckets.length > 0;
      low.placeholder = some ? written(facet.min) : "";
      high.placeholder = some ? written(facet.max) : "";
      chart.replaceChildren(...(some ? [bars(field, facet, chosen)] : []));
    };
    return {
      body: el("div", {}, chart, el("div", { class: "range" }, low, el("span", { "aria-hidden": "true" }, "–"), high)),
      show: (value) => { chosen = value ?? {}; low.value = chosen.gte ?? ""; high.value = chosen.lte ?? ""; draw(); },
      asked: () => ({ type: facetType, buckets: BARS }),
      count: (counted) => { facet = counted; draw(); },
    };
  };
}

function bool(field, set) {
  const choices = [["Any", null], ["Yes", true], ["No", false]];
  const name = `filter-${field.name}`;
  const radios = choices.map(([label, value]) => [value, el("input", { type: "radio", name, onchange: () => set(value === null ? null : { eq: value }) }), label, el("small", {})]);
  return {
    body: el("div", { class: "segments" }, radios.map(([, radio, label, count]) => el("label", {}, radio, el("span", {}, label, count)))),
    show: (value) => { for (const [each, radio] of radios) radio.checked = each === (value?.eq ?? null); },
    asked: () => ({ type: "terms" }),
    count: ({ values, exact }) => {
      for (const [each, , , count] of radios) {
        if (each !== null) count.textContent = ` ${toldCount(values.find(({ value }) => value === each)?.count ?? 0, exact)}`;
      }
    },
  };
}

function words(field, set) {
  const input = el("input", { type: "search", class: "field", placeholder: "Contains the words", maxlength: "256", "aria-label": readable(field.name), onchange: () => set(input.value.trim() ? { text: input.value.trim() } : null) });
  return { body: input, show: (value) => { input.value = value?.text ?? ""; } };
}

function geo(field, set) {
  const inputs = [["lat", "Latitude"], ["lon", "Longitude"], ["km", "km around"]].map(([key, label]) => [
    key, el("input", { type: "number", step: "any", class: "field", placeholder: label, "aria-label": `${readable(field.name)}: ${label}`, onchange: () => changed() }),
  ]);
  const changed = () => {
    if (inputs.every(([, input]) => input.value === "")) set(null);
    else if (inputs.every(([, input]) => input.value !== "")) set({ near: Object.fromEntries(inputs.map(([key, input]) => [key, Number(input.value)])) });
  };
  return {
    body: el("div", { class: "range" }, inputs.map(([, input]) => input)),
    show: (value) => { if (value?.near) for (const [key, input] of inputs) input.value = value.near[key]; else if (inputs.every(([, input]) => input.value !== "")) for (const [, input] of inputs) input.value = ""; },
  };
}

const number = (text) => (Number.isFinite(Number(text)) ? Number(text) : null);
const day = (text) => text;

const MAKERS = {
  Keyword: keyword, Integer: range("number", "histogram", number), Float: range("number", "histogram", number),
  Bool: bool, Datetime: range("date", "date_histogram", day), Text: words, Geo: geo,
};
