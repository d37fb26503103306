// Values of documents as people read them.

import { el } from "./dom.js";
import { readable } from "./filters.js";
import { isUrl } from "./state.js";

export { readable };

export function shownValue(value) {
  if (value === null) return el("span", { class: "quiet" }, "none");
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (typeof value === "string") {
    const time = /^\d{4}-\d\d-\d\dT[\d:.]+(Z|[+-]\d\d:\d\d)$/.test(value) ? new Date(value) : null;
    if (time && !Number.isNaN(time.getTime())) return el("time", { datetime: value, title: value }, time.toLocaleString(undefined, { dateStyle: "medium" }));
    return isUrl(value) && /^https?:/.test(value) ? el("a", { href: value, target: "_blank", rel: "noopener noreferrer" }, value) : value;
  }
  if (Array.isArray(value) && value.every((each) => typeof each !== "object")) return value.join(", ");
  return typeof value === "object" ? el("code", {}, JSON.stringify(value)) : String(value);
}
