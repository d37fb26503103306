// Talks to the service. Errors are `Problem`s that carry what the server said (RFC 9457).

const KEY = "lookalike.api-key";
const base = new URL(".", document.baseURI);

export class Problem extends Error {
  constructor(title, detail, { status = 0, errors = [], requestId = null } = {}) {
    super(detail);
    Object.assign(this, { title, detail, status, errors, requestId });
  }
}

/** Called on 401 with the problem; resolves when there is a key to try, or rejects. */
let askForKey = (problem) => Promise.reject(problem);
export const onKeyNeeded = (ask) => { askForKey = ask; };

export const apiKey = () => sessionStorage.getItem(KEY);
export const setApiKey = (key) => sessionStorage.setItem(KEY, key);

export const address = (path) => new URL(path, base).href;
export const serviceAddress = () => base.href.replace(/\/$/, "");

/** A response that is ok. Rejects with Problem; an abort rejects as it is. */
export async function send(path, options = {}) {
  for (;;) {
    const key = apiKey();
    const headers = { ...options.headers, ...(key ? { Authorization: `Bearer ${key}` } : {}) };
    let response;
    try {
      response = await fetch(address(path), { ...options, headers });
    } catch (failure) {
      if (failure.name === "AbortError") throw failure;
      throw new Problem("The service does not answer", "Check that it runs and that this computer is online, then try again.");
    }
    if (response.ok) return response;
    const problem = await problemOf(response);
    if (response.status !== 401) throw problem;
    if (apiKey() === key) await askForKey(problem);
  }
}

async function problemOf(response) {
  const told = await response.json().catch(() => ({}));
  return new Problem(told.title ?? `HTTP ${response.status}`, told.detail ?? "The service gave no reason.", {
    status: response.status,
    errors: Array.isArray(told.errors) ? told.errors : [],
    requestId: told.request_id ?? response.headers.get("x-request-id"),
  });
}

async function allPages(path) {
  const items = [];
  for (let cursor = null; ;) {
    const query = new URLSearchParams({ limit: "1000", ...(cursor ? { cursor } : {}) });
    const page = await (await send(`${path}?${query}`)).json();
    items.push(...page.items);
    if (!(cursor = page.next_cursor)) return items;
  }
}

export const retrievers = () => allPages("v1/retrievers");
export const collections = () => allPages("v1/collections");

/** One page of a collection's documents. */
export async function documents(collection, { filters, limit, cursor, signal }) {
  const query = new URLSearchParams({ limit: String(limit) });
  if (filters) query.set("filters", JSON.stringify(filters));
  if (cursor) query.set("cursor", cursor);
  return (await send(`v1/collections/${encodeURIComponent(collection)}/documents?${query}`, { signal })).json();
}

/** How many documents match, and how many of each value. */
export async function facets(retriever, request, signal) {
  const headers = { "Content-Type": "application/json" };
  const path = `v1/retrievers/${encodeURIComponent(retriever)}/facets`;
  return (await send(path, { method: "POST", headers, body: JSON.stringify(request), signal })).json();
}

export const searchPath = (retriever) => `v1/retrievers/${encodeURIComponent(retriever)}/search`;

/** Runs a search; `file` goes with it where a query's value is `part:image`. */
export async function search(retriever, request, file, signal) {
  if (!file) {
    const headers = { "Content-Type": "application/json" };
    return (await send(searchPath(retriever), { method: "POST", headers, body: JSON.stringify(request), signal })).json();
  }
  const body = new FormData();
  body.set("request", JSON.stringify(request));
  body.set("image", file, file.name || "image");
  return (await send(searchPath(retriever), { method: "POST", body, signal })).json();
}

const documentPath = (collection, id) => `v1/collections/${encodeURIComponent(collection)}/documents/${encodeURIComponent(id)}`;
export const imagePath = (collection, id) => `${documentPath(collection, id)}/image`;
export const thumbnailPath = (collection, id, size) => `${documentPath(collection, id)}/thumbnail?size=${size}`;

/** {collection, id} where an address is of a document's image at this service, else null. */
export function documentAt(url) {
  let found;
  try { found = new URL(url, base); } catch { return null; }
  if (found.origin !== base.origin) return null;
  const match = /\/v1\/collections\/([^/]+)\/documents\/([^/]+)\/(image|thumbnail)$/.exec(found.pathname);
  return match && { collection: decodeURIComponent(match[1]), id: decodeURIComponent(match[2]) };
}

/** Shows an image of the service. With an API key the image itself must be asked for with it. */
export async function show(img, path) {
  img.addEventListener("error", () => img.classList.add("broken"));
  img.addEventListener("load", () => img.classList.add("loaded"));
  if (!apiKey()) {
    img.src = address(path);
    return;
  }
  try {
    const url = URL.createObjectURL(await (await send(path)).blob());
    img.addEventListener("load", () => URL.revokeObjectURL(url), { once: true });
    img.src = url;
  } catch {
    img.classList.add("broken");
  }
}
