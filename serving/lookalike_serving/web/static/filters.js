// Filters built from the collections' typed fields. Values to choose from come from a sample of
// documents; any other can be typed.

import { el } from "./dom.js";

const SHOWN = 8;
const MOST = 100;

/** "added_at" -> "Added at" */
export const readable = (name) => {
  const words = name.replaceAll("_", " ").replace(/([a-z])([A-Z])/g, "$1 $2");
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

/** Field -> value -> how often it occurs among documents. */
export function countValues(fields, documents) {
  const counts = new Map(fields.map((field) => [field.name, new Map()]));
  for (const { metadata } of documents) {
    for (const [name, values] of counts) {
      for (const value of [metadata?.[name]].flat()) {
        if (value !== null && value !== undefined) values.set(value, (values.get(value) ?? 0) + 1);
      }
    }
  }
  return counts;
}

/** Acts at once, or when the person has left the field they are typing in: building anew would cut them off. */
export function whenNotTyping(panel, act) {
  const typing = document.activeElement?.matches("input:not([type=checkbox], [type=radio])") && panel.contains(document.activeElement);
  if (typing) document.activeElement.addEventListener("blur", () => setTimeout(() => whenNotTyping(panel, act)), { once: true });
  else act();
}

/**
 * Fills the panel; `sample` says of how many documents `counts` are where there are more, else null. Returns the function that shows a state's filters in it. `onChange(field, filter)`,
 * `onChange(null, null)` for all; `onDone` closes the panel where it covers the results.
 */
export function build(panel, fields, counts, sample, { onChange, onDone }) {
  const groups = fields.map((field) => {
    const set = (value) => onChange(field.name, value);
    const make = MAKERS[field.type] ?? MAKERS.Keyword;
    const { body, show } = make(field, counts.get(field.name) ?? new Map(), set);
    const group = el("fieldset", { class: "group", "data-field": field.name }, el("legend", {}, readable(field.name)), body);
    return { name: field.name, group, show };
  });
  const clear = el("button", { type: "button", class: "text-button", onclick: () => onChange(null, null) }, "Clear all");
  const head = el("div", { class: "filters-head" }, el("h2", {}, "Filters"), clear,
    el("button", { type: "button", class: "primary only-narrow", onclick: onDone }, "Done"));
  const note = sample === null ? [] : [el("p", { class: "filters-note" }, `Values and counts of the first ${sample} documents.`)];
  panel.replaceChildren(...(fields.length ? [head, ...note, ...groups.map(({ group }) => group)] : []));
  return (filters) => {
    clear.hidden = Object.keys(filters).length === 0;
    for (const { name, show } of groups) show(filters[name] ?? null);
  };
}

function keyword(field, counts, set) {
  const known = [...counts].filter(([value]) => typeof value === "string").sort((a, b) => b[1] - a[1] || a[0].localeCompare(b[0])).slice(0, MOST);
  const list = el("div", { class: "options" });
  const more = el("button", { type: "button", class: "text-button" });
  const other = el("input", { type: "text", class: "field", placeholder: known.length ? "Another value" : "Value, then Enter", "aria-label": `${readable(field.name)}: another value`, maxlength: "256" });
  let chosen = [];
  let open = false;

  const toggle = (value, on) => {
    const next = on ? [...chosen, value] : chosen.filter((each) => each !== value);
    set(next.length ? { in: next } : null);
  };
  const option = (value, count) => {
    const box = el("input", { type: "checkbox", checked: chosen.includes(value), onchange: (event) => toggle(value, event.target.checked) });
    box.dataset.value = value;
    return el("label", { class: "option" }, box, el("span", { class: "option-name" }, value), count ? el("span", { class: "option-count" }, String(count)) : null);
  };
  const draw = () => {
    const focused = list.contains(document.activeElement) ? document.activeElement.dataset.value : null;
    const typed = chosen.filter((value) => !counts.has(value)).map((value) => [value, 0]);
    const visible = known.filter(([value], place) => open || place < SHOWN || chosen.includes(value));
    list.replaceChildren(...[...typed, ...visible].map(([value, count]) => option(value, count)));
    if (focused !== null) [...list.querySelectorAll("input")].find((box) => box.dataset.value === focused)?.focus();
    more.hidden = known.length <= SHOWN;
    more.textContent = open ? "Show fewer" : `Show all ${known.length}`;
    more.setAttribute("aria-expanded", String(open));
    other.hidden = known.length > 0 && !open;
  };
  more.addEventListener("click", () => { open = !open; draw(); });
  const add = () => {
    const value = other.value.trim();
    other.value = "";
    if (value && !chosen.includes(value)) toggle(value, true);
  };
  other.addEventListener("change", add);
  return {
    body: el("div", {}, list, more, other),
    show: (value) => { chosen = value?.in ?? []; draw(); },
  };
}

function range(type, read) {
  return (field, counts, set) => {
    const values = [...counts.keys()].map(read.sample).filter((value) => value !== null).sort((a, b) => (a < b ? -1 : 1));
    const input = (bound, name, placeholder) => el("input", { type, class: "field", step: "any", placeholder: String(placeholder ?? ""), "aria-label": `${readable(field.name)} ${name}`, "data-bound": bound, onchange: () => changed() });
    const low = input("gte", "from", values[0]);
    const high = input("lte", "up to", values.at(-1));
    const changed = () => {
      const bounds = {};
      if (low.value !== "" && read.input(low.value) !== null) bounds.gte = read.input(low.value);
      if (high.value !== "" && read.input(high.value) !== null) bounds.lte = read.input(high.value);
      set(Object.keys(bounds).length ? bounds : null);
    };
    return {
      body: el("div", { class: "range" }, low, el("span", { "aria-hidden": "true" }, "–"), high),
      show: (value) => { low.value = value?.gte ?? ""; high.value = value?.lte ?? ""; },
    };
  };
}

function bool(field, counts, set) {
  const choices = [["Any", null], ["Yes", true], ["No", false]];
  const name = `filter-${field.name}`;
  const radios = choices.map(([label, value]) => [value, el("input", { type: "radio", name, onchange: () => set(value === null ? null : { eq: value }) }), label]);
  return {
    body: el("div", { class: "segments" }, radios.map(([, radio, label]) => el("label", {}, radio, el("span", {}, label)))),
    show: (value) => { for (const [each, radio] of radios) radio.checked = each === (value?.eq ?? null); },
  };
}

function words(field, counts, set) {
  const input = el("input", { type: "search", class: "field", placeholder: "Contains the words", maxlength: "256", "aria-label": readable(field.name), onchange: () => set(input.value.trim() ? { text: input.value.trim() } : null) });
  return { body: input, show: (value) => { input.value = value?.text ?? ""; } };
}

function geo(field, counts, set) {
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

const number = {
  sample: (value) => (typeof value === "number" ? value : null),
  input: (text) => (Number.isFinite(Number(text)) ? Number(text) : null),
};
const day = { sample: (value) => (typeof value === "string" ? value.slice(0, 10) : null), input: (text) => text };

const MAKERS = {
  Keyword: keyword, Integer: range("number", number), Float: range("number", number),
  Bool: bool, Datetime: range("date", day), Text: words, Geo: geo,
};
