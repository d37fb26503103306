// Values of documents as people read them.

import { el } from "./dom.js";
import { readable } from "./filters.js";
import { isUrl } from "./state.js";

export { readable };

const isPlace = (value) => Object.keys(value).sort().join() === "lat,lon";

/** [[key, value]] of metadata: of a group of values each on its own, as `camera.make`. */
export const valuesOf = (metadata, group = "") => Object.entries(metadata ?? {}).flatMap(([key, value]) => {
  const grouped = value !== null && typeof value === "object" && !Array.isArray(value) && Object.keys(value).length > 0 && !isPlace(value);
  return grouped ? valuesOf(value, `${group}${key}.`) : [[group + key, value]];
});

export function shownValue(value) {
  if (value === null) return el("span", { class: "quiet" }, "none");
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (typeof value === "string") {
    const time = /^\d{4}-\d\d-\d\dT[\d:.]+(Z|[+-]\d\d:\d\d)$/.test(value) ? new Date(value) : null;
    if (time && !Number.isNaN(time.getTime())) return el("time", { datetime: value, title: value }, time.toLocaleString(undefined, { dateStyle: "medium" }));
    return isUrl(value) && /^https?:/.test(value) ? el("a", { href: value, target: "_blank", rel: "noopener noreferrer" }, value) : value;
  }
  if (Array.isArray(value) && value.every((each) => typeof each !== "object")) return value.join(", ");
  if (typeof value === "object" && isPlace(value)) return `${value.lat}, ${value.lon}`;
  return typeof value === "object" ? el("code", {}, JSON.stringify(value)) : String(value);
}
