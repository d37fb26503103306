// What is being looked for, and its two forms: the page's address, and the request to the service.
//
//   minScore: a number, "auto" for the threshold that was measured (see cut-off.js), null for the retriever's own
//   {retriever, text, image, nots, balance, filters, minScore, topK}
//   image:   null | {kind: "url", url} | {kind: "document", id, collection, crop} | {kind: "upload", id, name, crop}
//            crop: null | {x, y, width, height}, shares of the whole, 0–1: search by this part
//   nots:    [{id, collection}]: documents that are not what is looked for
//   balance: share of the words where both are given, 0.05–0.95
//   filters: {field: {in: [..]} | {gte, lte} | {eq: bool} | {text} | {near: {lat, lon, km}}}
//
// An uploaded image is not in the address: the address says `upload`, the page says so to the person.

/** A key of metadata, or a path of keys. */
const KEY = /^[^.[\]"'\\\p{Cc}]+(\.[^.[\]"'\\\p{Cc}]+)*$/u;
/** The queries weigh 1 together. What one "not this" takes away from them, and what all of them may. */
const NOT_WEIGHT = 0.4;
const NOTS_WEIGHT = 0.8;
const MAX_NOTS = 12;
export const TOP_K = 24;
const MAX_TOP_K = 1000;

export const EMPTY = Object.freeze({
  retriever: null, text: "", image: null, nots: Object.freeze([]), balance: 0.5, filters: Object.freeze({}), minScore: null, topK: TOP_K,
});

export const isSearch = (state) => Boolean(state.text.trim() || state.image);

/** Whether an address can bring all of it back. */
export const isShareable = (state) => state.image?.kind !== "upload";

export function toQuery(state, defaultRetriever) {
  const query = new URLSearchParams();
  if (state.retriever && state.retriever !== defaultRetriever) query.set("in", state.retriever);
  if (state.text.trim()) query.set("q", state.text.trim());
  if (state.image?.kind === "url") query.set("image", state.image.url);
  if (state.image?.kind === "upload") query.set("image", "upload");
  if (state.image?.kind === "document") {
    query.set("like", state.image.id);
    if (state.image.collection) query.set("of", state.image.collection);
  }
  if (state.image?.crop) query.set("crop", ["x", "y", "width", "height"].map((name) => String(Math.round(state.image.crop[name] * 1e4) / 1e4)).join(","));
  for (const each of state.nots) query.append("not", `${each.collection}/${each.id}`);
  if (state.image && state.text.trim() && state.balance !== EMPTY.balance) query.set("words", String(state.balance));
  if (Object.keys(state.filters).length) query.set("filters", JSON.stringify(state.filters));
  if (state.minScore !== null) query.set("min", String(state.minScore));
  if (state.topK !== TOP_K) query.set("k", String(state.topK));
  return query.toString();
}

/** The state an address means; anything that makes no sense is left out. `upload` is the history entry's. */
export function fromQuery(search, upload = null) {
  const query = new URLSearchParams(search);
  const image = query.get("image");
  const like = query.get("like");
  let found = null;
  const crop = readCrop(query.get("crop"));
  if (like) found = { kind: "document", id: like, collection: query.get("of"), crop };
  else if (image === "upload") found = { ...(upload ?? { kind: "upload", id: null, name: null }), crop };
  else if (image && isUrl(image)) found = { kind: "url", url: image };
  return {
    retriever: query.get("in"),
    text: query.get("q") ?? "",
    image: found,
    nots: query.getAll("not").map(readNot).filter(Boolean).slice(0, MAX_NOTS),
    balance: within(query.get("words"), 0.05, 0.95) ?? EMPTY.balance,
    filters: readFilters(query.get("filters")),
    minScore: query.get("min") === "auto" ? "auto" : within(query.get("min"), -1e9, 1e9),
    topK: Math.round(within(query.get("k"), 1, MAX_TOP_K) ?? TOP_K),
  };
}

export function isUrl(text) {
  try { return ["http:", "https:"].includes(new URL(text).protocol); } catch { return false; }
}

function within(text, low, high) {
  const value = text === null || text.trim() === "" ? NaN : Number(text);
  return value >= low && value <= high ? value : null;
}

function readNot(text) {
  const [, collection, id] = /^([^/]+)\/(.+)$/s.exec(text) ?? [];
  return id ? { id, collection } : null;
}

function readCrop(text) {
  const [x, y, width, height, more] = (text ?? "").split(",").map(Number);
  const fits = more === undefined && x >= 0 && y >= 0 && width > 0.005 && height > 0.005 && x + width <= 1.001 && y + height <= 1.001;
  return fits ? { x, y, width, height } : null;
}

/** With one more document that is not meant; the oldest goes where there are too many. */
export const withNot = (nots, { document_id: id, collection }) =>
  [...nots.filter((each) => each.id !== id || each.collection !== collection), { id, collection }].slice(-MAX_NOTS);

/** What changes where some documents are searched with no more; they come as the queries of a request. */
export function withoutDocuments({ image, nots }, queries) {
  const gone = ({ id, collection }) => queries.some((each) => each.value === id && (each.collection ?? collection) === collection);
  return { image: image?.kind === "document" && gone(image) ? null : image, nots: nots.filter((each) => !gone(each)) };
}

function readFilters(text) {
  let given;
  try { given = JSON.parse(text ?? "{}"); } catch { return {}; }
  if (given === null || typeof given !== "object" || Array.isArray(given)) return {};
  const kept = Object.entries(given).map(([field, value]) => [field, readFilter(value)])
    .filter(([field, value]) => value && field.length <= 256 && KEY.test(field) && field !== "__proto__");
  return Object.fromEntries(kept);
}

function readFilter(value) {
  if (value === null || typeof value !== "object") return null;
  if (Array.isArray(value.in)) {
    const values = value.in.filter((each) => typeof each === "string");
    return values.length ? { in: values } : null;
  }
  if (typeof value.eq === "boolean") return { eq: value.eq };
  if (typeof value.text === "string" && value.text) return { text: value.text };
  if (value.near && ["lat", "lon", "km"].every((name) => Number.isFinite(value.near[name]))) return { near: value.near };
  const bounds = {};
  for (const name of ["gte", "lte"]) {
    if (Number.isFinite(value[name]) || (typeof value[name] === "string" && value[name])) bounds[name] = value[name];
  }
  return Object.keys(bounds).length ? bounds : null;
}

/** The API's `filters` of the chosen ones; null where there are none. */
export function toFilters(filters, types) {
  const conditions = Object.entries(filters).flatMap(([key, value]) => conditionsOf(key, value, types.get(key)));
  return conditions.length ? { AND: conditions } : null;
}

function conditionsOf(key, value, type) {
  if (value.in) return [{ key, operator: "in", value: value.in }];
  if (value.eq !== undefined) return [{ key, operator: "eq", value: value.eq }];
  if (value.text) return [{ key, operator: "text", value: value.text }];
  if (value.near) return [{ key, operator: "geo_radius", value: { lat: value.near.lat, lon: value.near.lon, radius_m: value.near.km * 1000 } }];
  // A day is meant with all its hours.
  const edge = { gte: "T00:00:00Z", lte: "T23:59:59.999Z" };
  return ["gte", "lte"].filter((name) => value[name] !== undefined).map((operator) => ({
    key, operator, value: type === "Datetime" && String(value[operator]).length === 10 ? value[operator] + edge[operator] : value[operator],
  }));
}

/** The body of a search request. */
export function toRequest(state, types) {
  const text = state.text.trim();
  const both = text && state.image;
  const queries = [];
  if (state.image) queries.push({ ...imageQuery(state.image), ...(both ? { weight: rounded(1 - state.balance) } : {}) });
  if (text) queries.push({ type: "text", value: text, ...(both ? { weight: rounded(state.balance) } : {}) });
  for (const { id, collection } of state.nots) queries.push({ type: "document", value: id, collection, weight: -rounded(Math.min(NOT_WEIGHT, NOTS_WEIGHT / state.nots.length)) });
  const filters = toFilters(state.filters, types);
  return {
    queries,
    ...(filters ? { filters } : {}),
    top_k: state.topK,
    ...(state.minScore !== null ? { min_score: state.minScore } : {}),
  };
}

function imageQuery(image) {
  if (image.kind === "url") return { type: "image", value: image.url };
  if (image.kind === "upload" || image.crop) return { type: "image", value: "part:image" };
  return { type: "document", value: image.id, ...(image.collection ? { collection: image.collection } : {}) };
}

const rounded = (number) => Math.round(number * 100) / 100;
