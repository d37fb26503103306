// A document's metadata as a form: one row for each value, by the type of its field.

import { changeDocument } from "./api.js";
import { el } from "./dom.js";
import { readable } from "./filters.js";
import { explain } from "./words.js";

/** The form. `onSaved(metadata, undo)` with the metadata as it then is, and the changes that take it back; `onCancel()`. */
export function form(document, fields, { onSaved, onCancel }) {
  const before = document.metadata ?? {};
  const types = new Map(fields.map((field) => [field.name, field.type]));
  // A field within a group of values is changed with its group.
  const names = [...new Set([...fields.map(({ name }) => name).filter((name) => !name.includes(".")), ...Object.keys(before)])];
  const rows = names.map((name) => row(name, before[name] ?? null, types.get(name)));
  const list = el("div", { class: "edit-rows" }, rows.map(({ body }) => body));
  const failure = el("div", { class: "edit-failure", role: "alert" });
  const key = el("input", { class: "field", "aria-label": "Name of a new value", placeholder: "New value’s name", maxlength: "128" });
  const addRow = () => {
    const name = key.value.trim();
    const known = rows.find((each) => each.name === name);
    if (!name) return key.focus();
    if (!known) {
      rows.push(row(name, null, undefined));
      list.append(rows.at(-1).body);
    }
    key.value = "";
    (known ?? rows.at(-1)).focus();
  };
  const save = el("button", { type: "submit", class: "primary" }, "Save");
  key.addEventListener("keydown", (event) => { if (event.key === "Enter") { event.preventDefault(); addRow(); } });
  const made = el("form", { class: "edit", "aria-label": "Metadata", novalidate: true },
    list,
    el("div", { class: "edit-add" }, key, el("button", { type: "button", class: "ghost", onclick: addRow }, "Add")),
    failure,
    el("p", { class: "actions" }, save, el("button", { type: "button", class: "ghost", onclick: onCancel }, "Cancel")));
  made.addEventListener("submit", async (event) => {
    event.preventDefault();
    const changes = {};
    const wrong = rows.filter((each) => !each.read(changes));
    if (wrong.length) return wrong[0].focus();
    if (!Object.keys(changes).length) return onCancel();
    save.disabled = true;
    try {
      const { metadata } = await changeDocument(document.collection, document.document_id, changes);
      onSaved(metadata, Object.fromEntries(Object.keys(changes).map((name) => [name, before[name] ?? null])));
    } catch (problem) {
      save.disabled = false;
      const { title, detail, errors } = explain(problem);
      failure.replaceChildren(el("p", {}, el("strong", {}, title), ". ", errors.length ? "" : detail), ...errors.map((error) => el("p", {}, error)));
    }
  });
  return made;
}

let count = 0;

/** One value: {name, body, focus(), read(changes)}; `read` adds what was changed, and is false where it cannot be understood. */
function row(name, value, type) {
  const kind = kindOf(value, type);
  const { control, text } = CONTROLS[kind](value);
  const id = `edit-${(count += 1)}`;
  const note = el("p", { class: "edit-note", id: `${id}-note`, hidden: true });
  control.id = id;
  control.setAttribute("aria-describedby", note.id);
  const started = text();
  return {
    name,
    body: el("div", { class: "edit-row" }, el("label", { for: id }, readable(name)), control, note),
    focus: () => control.focus(),
    read: (changes) => {
      note.hidden = true;
      control.removeAttribute("aria-invalid");
      if (text() === started) return true;
      try {
        changes[name] = READERS[kind](text());
        return true;
      } catch (problem) {
        note.textContent = problem.message;
        note.hidden = false;
        control.setAttribute("aria-invalid", "true");
        return false;
      }
    },
  };
}

function kindOf(value, type) {
  if (Array.isArray(value) && value.every((each) => typeof each === "string")) return value.length ? "lines" : type === "Keyword" ? "line" : "json";
  if (value !== null && typeof value === "object") return type === "Geo" && "lat" in value && "lon" in value ? "place" : "json";
  if (type === "Integer" || type === "Float" || (type === undefined && typeof value === "number")) return type === "Integer" ? "whole" : "number";
  if (type === "Bool" || typeof value === "boolean") return "choice";
  return { Datetime: "moment", Geo: "place", Text: "words" }[type] ?? "line";
}

const input = (attributes) => (value) => {
  const control = el("input", { class: "field", type: "text", ...attributes, value: value === null ? "" : String(value) });
  return { control, text: () => control.value.trim() };
};
const area = (written) => (value) => {
  const control = el("textarea", { class: "field", rows: "3" });
  control.value = value === null ? "" : written(value);
  return { control, text: () => control.value.trim() };
};
const CONTROLS = {
  line: input({}), whole: input({ inputmode: "numeric" }), number: input({ inputmode: "decimal" }),
  moment: input({ placeholder: "2026-01-31T12:00:00Z" }),
  place: (value) => input({ placeholder: "48.2, 16.4" })(value === null ? null : `${value.lat}, ${value.lon}`),
  words: area(String), lines: area((value) => value.join("\n")), json: area((value) => JSON.stringify(value, null, 1)),
  choice: (value) => {
    const control = el("select", {}, [["", "–"], ["true", "yes"], ["false", "no"]].map(([each, label]) => el("option", { value: each }, label)));
    control.value = value === null ? "" : String(value);
    return { control, text: () => control.value };
  },
};

function number(text) {
  const read = Number(/^-?\d+,\d+$/.test(text) ? text.replace(",", ".") : text);
  if (!Number.isFinite(read)) throw new Error(`“${text}” is no number.`);
  return read;
}

/** What a text means; an empty one means that there is no value. */
const read = (meaning) => (text) => (text === "" ? null : meaning(text));
const READERS = {
  line: read((text) => text), words: read((text) => text), lines: read((text) => text.split("\n").map((line) => line.trim()).filter(Boolean)),
  choice: read((text) => text === "true"),
  number: read(number),
  whole: read((text) => {
    if (!Number.isSafeInteger(number(text))) throw new Error(`“${text}” is no whole number.`);
    return number(text);
  }),
  moment: read((text) => {
    if (Number.isNaN(Date.parse(text))) throw new Error(`“${text}” is no date. Write it as 2026-01-31, or with a time as 2026-01-31T12:00:00Z.`);
    return text;
  }),
  place: read((text) => {
    const [lat, lon, more] = text.split(",").map((part) => part.trim());
    if (lon === undefined || more !== undefined) throw new Error("Write latitude and longitude with a comma between: 48.2, 16.4.");
    if (Math.abs(number(lat)) > 90 || Math.abs(number(lon)) > 180) throw new Error("Latitudes go from −90 to 90, longitudes from −180 to 180.");
    return { lat: number(lat), lon: number(lon) };
  }),
  json: read((text) => {
    try { return JSON.parse(text); } catch { throw new Error("This is a list or a group of values, written as JSON; a bracket, a quote or a comma is missing."); }
  }),
};
