// What the service says, in people's words. Its answers are for programs: they name codes, and places in a
// request such as `queries[0].value`. This is the one room that knows them; everything that is shown comes
// through here.

import { readable } from "./filters.js";

/** By the problem's code: what happened, and – where the service's own sentence is of no use to a person – what to do. */
const KNOWN = {
  "no-answer": ["The service does not answer", "It may have been stopped, or is just starting. Check that it runs, then try again."],
  "not-calibrated": ["No threshold has been measured for this search", "It may have been removed, or the model has changed. Load the page again, or set “Score from” yourself."],
  offline: ["This computer is offline", "The search goes on as soon as it is connected again."],
  "body-refused": ["The picture could not be sent", "The service answers, but not to a file of this size: make the picture smaller, then try again."],
  unauthorized: ["This service needs an API key", "Without one it shows nothing."],
  "foreign-page": ["This page may not ask for data"],
  "wrong-host": ["The service is not known under this address"],
  "not-found": ["That is not here"],
  "body-too-large": ["The picture is too large to send", "Make it smaller – 4,000 pixels a side are plenty – then try again."],
  "body-too-slow": ["The connection is too slow", "The picture did not arrive in time. Try a smaller one."],
  "image-too-large": ["The picture’s file is too large"],
  "image-too-many-pixels": ["The picture has too many pixels"],
  "image-too-costly": ["The picture takes too much work to read"],
  "image-empty": ["The file is empty", "Nothing is in it. Perhaps it was not copied or downloaded whole."],
  "image-not-an-image": ["That is not a picture"],
  "image-unsupported-format": ["Pictures of this kind cannot be read here"],
  "image-truncated": ["The picture is not whole"],
  "image-corrupt": ["The picture is damaged"],
  "image-bad-reference": ["That is not the address of a picture"],
  "image-forbidden-scheme": ["Pictures are not fetched from such an address"],
  "image-forbidden-address": ["Pictures are not fetched from that address"],
  "image-not-found": ["There is no picture at that address"],
  "image-unreachable": ["No picture came from that address"],
  "image-timeout": ["No picture came from that address in time"],
  "image-http-status": ["No picture came from that address"],
  "image-too-many-redirects": ["No picture came from that address"],
  "too-many-requests": ["The service is busy", "It answers as many requests as it can. Try again in a few seconds."],
  "index-unavailable": ["The pictures cannot be searched just now", "The service waits for its index. Try again in a moment."],
  "index-lost": ["The pictures cannot be searched just now", "The service’s index is gone. Whoever runs it has to fill it again."],
  "index-mismatch": ["The pictures cannot be searched", "The index was made for another model or other settings. Whoever runs the service has to mend that."],
  "index-failed": ["The pictures cannot be searched", "The index cannot be used. Whoever runs the service has to mend that."],
  "image-lost": ["The picture is no longer here"],
  "image-unavailable": ["The picture cannot be fetched from where it is kept"],
  "model-unavailable": ["The model does not answer just now", "Try again in a moment."],
  "not-ready": ["The service is not ready yet", "Try again in a moment."],
  draining: ["The service is about to stop", "Try again in a moment."],
  "storage-full": ["The service’s disk is full"],
  internal: ["Something failed in the service", "It is not your doing. Whoever runs the service finds the cause in its log, under the number below."],
};

/** What a failure's code means, for a picture that was to be read in. */
export const titleOf = (code) => (KNOWN[code] ?? ENTRIES[code] ?? [code])[0];

const ENTRIES = {
  "entry-unreadable": ["A row or a file cannot be read"],
  "entry-without-image": ["A row names no picture"],
  "entry-bad-id": ["The name or id cannot be used"],
  "entry-id-taken": ["Another picture has the same id"],
  "entry-bad-metadata": ["What is said of the picture does not fit"],
  "worker-died": ["Reading the picture took too much memory"],
};

const QUERIES = { image: "The picture", document: "The picture", text: "The words", vector: "The vector" };

/**
 * A problem (see api.js) as {title, detail, errors: [sentence], fields: [name], missing: [{value, collection}]}: `fields` are
 * filters that the service does not understand, `missing` the queries by documents that it refuses. `request` is what was asked.
 */
export function explain(problem, request = null) {
  const [known, advice] = KNOWN[problem.code] ?? [];
  const parts = problem.errors.map((error) => ({ ...partOf(error.path, request), message: sentence(error.message) }));
  const fields = [...new Set(parts.map(({ field }) => field).filter(Boolean))];
  const [first] = parts;
  const title = known ?? (fields.length ? `The filter ${fields.map(readable).join(", ")} is not understood`
    : first?.query ? `${first.query} cannot be searched for`
    : problem.status >= 500 ? "The service failed" : problem.status ? "That is not possible" : problem.title);
  const detail = advice ?? (fields.length ? "Change it, or remove it." : first ? first.message : sentence(problem.detail));
  const told = parts.filter(({ field }) => !field).map(({ name, message }) => (name ? `${name}: ${message}` : message));
  const missing = parts.map(({ asked }) => asked).filter((asked) => asked?.type === "document");
  return { title, detail, errors: told.length > 1 ? told : [], fields, missing };
}

/** In one line, for lists of files and for notices. */
export function explainShortly(problem) {
  const { title, detail, errors } = explain(problem);
  return [`${title}.`, detail, ...errors].filter(Boolean).join(" ");
}

/** What a path into a request points at, for people. */
function partOf(path, request) {
  const query = /^queries\[(\d+)\]/.exec(path);
  if (query) {
    const asked = request?.queries?.[Number(query[1])];
    const name = asked?.weight < 0 ? "A picture that is left out" : (QUERIES[asked?.type] ?? "The search");
    return { query: name, name, asked };
  }
  if (/^filters\b/.test(path)) return { field: fieldAt(path, request?.filters) };
  const metadata = /^metadata\.(.+)$/.exec(path);
  if (metadata) return { name: readable(metadata[1]) };
  return { name: { top_k: "Number of results", min_score: "Lowest score", image: "Picture" }[path] ?? "" };
}

/** The field of the condition that a path such as `filters.AND[1].value` leads to. */
function fieldAt(path, filters) {
  let node = filters;
  let field = null;
  for (const step of path.replace(/^filters/, "").match(/[^.[\]]+/g) ?? []) {
    if (!["AND", "OR", "NOT", "value", "operator", "key"].includes(step) && !/^\d+$/.test(step)) field = step;
    node = node?.[step];
    if (typeof node?.key === "string") field = node.key;
  }
  return field;
}

/** A warning of a search or of an upload. */
export function warningInWords(warning) {
  const slow = /^filters: no index in .* serves '(.+?)' with this operator/.exec(warning);
  if (slow) return `Filtering by ${readable(slow[1])} is slow: every document is read. It is quick once the field “${slow[1]}” is listed in the collection’s fields.`;
  const unreached = /^no result reaches the calibrated min_score (\S+) for (text|image) queries: the best score was (\S+)$/.exec(warning);
  if (unreached) {
    const [, least, kind, best] = unreached;
    return `No result reaches the score ${least}, which was measured for searches by ${kind === "text" ? "words" : "picture"}: the best score was ${best}.`;
  }
  return sentence(warning);
}

const megabytes = (bytes) => `${(Number(bytes.replaceAll(",", "")) / 1e6).toLocaleString(undefined, { maximumFractionDigits: 1 })} MB`;

const PATH = /^(queries|filters|facets|metadata|request|rerank|include|image|document_id|top_k|min_score)([.[][^:\n]*?)?: /;

/** The service's sentence without the path before it, with the quotes, the capital and the full stop of people. */
export function sentence(text) {
  const plain = String(text ?? "").trim().replace(PATH, "").replace(/ \(and \d+ more: see errors\)$/, "")
    .replace(/(\d[\d,]{6,}) bytes, more than (\d[\d,]*)/, (_, has, most) => `${megabytes(has)}, more than ${megabytes(most)}`)
    .replace(/(^|[\s(])'([^'\n]*)'(?=[\s,.;:)]|$)/g, "$1“$2”").replaceAll("`", "");
  if (!plain) return "";
  if (/^(has|is|holds|does) /.test(plain)) return sentence(`it ${plain}`);
  return plain[0].toUpperCase() + plain.slice(1) + (/[.!?…]$/.test(plain) ? "" : ".");
}
