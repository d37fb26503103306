// Talks to the service. Errors are `Problem`s that carry what the server said (RFC 9457).

const KEY = "lookalike.api-key";
const base = new URL(".", globalThis.document.baseURI);

export class Problem extends Error {
  constructor(title, detail, { code = null, status = 0, errors = [], requestId = null, wait = null } = {}) {
    super(detail);
    Object.assign(this, { title, detail, code, status, errors, requestId, wait });
  }
}

/** Called on 401 with the problem: resolves when there is a key to try, or rejects. And when a key was good. */
let askForKey = (problem) => Promise.reject(problem);
let keyWorked = () => {};
export const onKey = ({ needed, worked }) => { askForKey = needed; keyWorked = worked; };
/** Of several requests that are refused together one asks. */
let asking = null;
const newKey = (problem) => (asking ??= askForKey(problem).finally(() => { asking = null; }));

export const apiKey = () => sessionStorage.getItem(KEY);
export const setApiKey = (key) => sessionStorage.setItem(KEY, key);

export const address = (path) => new URL(path, base).href;
export const serviceAddress = () => base.href.replace(/\/$/, "");

const LARGE_BYTES = 8e6;

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
      throw await noAnswer(options.body);
    }
    if (response.ok) {
      keyWorked();
      return response;
    }
    const problem = problemOf(response.status, await response.text().catch(() => ""), (name) => response.headers.get(name));
    if (response.status !== 401) throw problem;
    if (apiKey() === key) await newKey(problem);
  }
}

/** Why there was no answer. A body that the service does not want ends the connection while it is sent. */
export async function noAnswer(body) {
  if (!navigator.onLine) return new Problem("Offline", "", { code: "offline" });
  const size = body instanceof FormData ? [...body.values()].reduce((sum, part) => sum + (part.size ?? 0), 0) : 0;
  const alive = size > LARGE_BYTES && await fetch(address("healthz")).then((answer) => answer.ok, () => false);
  return new Problem("No answer", "", { code: alive ? "body-refused" : "no-answer" });
}

export function problemOf(status, text, header) {
  let told = {};
  try { told = JSON.parse(text) ?? {}; } catch { /* A proxy's page. */ }
  return new Problem(told.title ?? `HTTP ${status}`, told.detail ?? "The service gave no reason.", {
    status, code: told.code ?? null,
    errors: Array.isArray(told.errors) ? told.errors : [],
    requestId: told.request_id ?? header("x-request-id"),
    wait: Number(header("retry-after")) || null,
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

export const collection = async (name) => (await send(`v1/collections/${encodeURIComponent(name)}`)).json();

/** What could not be ingested: {items, by_code: [{code, count, remedy}]}. */
export const failures = async (name, limit) => (await send(`v1/collections/${encodeURIComponent(name)}/failures?limit=${limit}`)).json();

/** One page of a collection's documents. */
export async function documents(collection, { filters, limit, cursor, signal }) {
  const query = new URLSearchParams({ limit: String(limit) });
  if (filters) query.set("filters", JSON.stringify(filters));
  if (cursor) query.set("cursor", cursor);
  return (await send(`${documentsPath(collection)}?${query}`, { signal })).json();
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

const documentsPath = (collection) => `v1/collections/${encodeURIComponent(collection)}/documents`;
const documentPath = (collection, id) => `${documentsPath(collection)}/${encodeURIComponent(id)}`;
export const thumbnailSizes = [128, 256, 384, 512];
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

const json = (method, body) => ({ method, headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });

export const document = async (collection, id) => (await send(documentPath(collection, id))).json();
/** Sets metadata keys; null removes one. The document as it is then. */
export const changeDocument = async (collection, id, metadata) => (await send(documentPath(collection, id), json("PATCH", { metadata }))).json();
/** `late`: sent although the page is being left. */
export const deleteDocument = (collection, id, { late = false } = {}) => send(documentPath(collection, id), { method: "DELETE", keepalive: late });

/**
 * Stores a picture: {document, created}, or document null where the very picture is there already. `onProgress(share)` tells how much of it has been sent.
 * Rejects with Problem, or with AbortError.
 */
export async function store(collection, file, metadata, { onProgress, signal }) {
  for (;;) {
    const key = apiKey();
    const body = new FormData();
    body.set("metadata", JSON.stringify(metadata));
    body.set("image", file, file.name || "image");
    const answer = await sent(documentsPath(collection), body, key, onProgress, signal);
    if (answer === null) throw await noAnswer(body);
    if (answer.status < 300) {
      keyWorked();
      return { document: JSON.parse(answer.responseText), created: answer.status === 201 };
    }
    const problem = problemOf(answer.status, answer.responseText, (name) => answer.getResponseHeader(name));
    if (problem.code === "already-there") return { document: null, created: false };
    if (problem.status !== 401) throw problem;
    if (apiKey() === key) await newKey(problem);
  }
}

/** Only XMLHttpRequest tells how much of a body has been sent. Resolves with it, or with null where no answer came. */
function sent(path, body, key, onProgress, signal) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    const abort = () => request.abort();
    request.open("POST", address(path));
    request.setRequestHeader("If-None-Match", "*");
    if (key) request.setRequestHeader("Authorization", `Bearer ${key}`);
    request.upload.addEventListener("progress", ({ loaded, total }) => onProgress(total ? loaded / total : 0));
    request.addEventListener("load", () => resolve(request));
    request.addEventListener("error", () => resolve(null));
    request.addEventListener("abort", () => reject(new DOMException("stopped", "AbortError")));
    request.addEventListener("loadend", () => signal.removeEventListener("abort", abort));
    signal.addEventListener("abort", abort);
    if (signal.aborted) abort();
    request.send(body);
    if (signal.aborted) abort();
  });
}
