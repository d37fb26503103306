// What is done with one document or with some: looked at, searched with, left out, compared, changed, deleted.
//
// `page` is how they reach the rest: now() -> {state, fields, code}; go(change, how), see app.js; run(), renew() after
// documents changed, recount() after values did; notice(message).

import * as api from "./api.js";
import * as compare from "./compare.js";
import * as crop from "./crop.js";
import * as deleting from "./deleting.js";
import * as details from "./details.js";
import * as results from "./results.js";
import * as selection from "./selection.js";
import { EMPTY, withNot } from "./state.js";
import { toast } from "./toast.js";
import { explainShortly } from "./words.js";

let page = {};

export function start(given) {
  page = given;
  details.start(() => { if (history.state?.details) history.back(); });
  selection.start({
    onChange: results.showPicked, all: () => selection.pickAll(results.shownDocuments()),
    compare: ([one, other]) => compare.open(one, other, page.now().fields), remove,
  });
}

/** The panel has an entry of its own in the history, so that Back closes it. */
export function open(document) {
  history.pushState({ ...history.state, details: true }, "");
  const { state: { image }, fields, code } = page.now();
  const comparable = image && image.kind !== "url" && !(image.kind === "document" && image.id === document.document_id);
  details.open(document, fields, {
    code: typeof document.score === "number" ? code : null,
    onSimilar: similar, onDelete: (each) => leaveDetails(() => remove([each])), onSaved: saved,
    onPart: (each) => leaveDetails(() => cropOf({ kind: "document", id: each.document_id, collection: each.collection })),
    onCompare: comparable ? (each) => leaveDetails(() => compareWithQuery(each)) : null,
  });
}

/** Closes the panel, with its entry in the history, and then goes on. */
function leaveDetails(then) {
  addEventListener("popstate", () => setTimeout(then), { once: true });
  details.close();
}

export function similar(document) {
  const change = { text: "", minScore: null, nots: EMPTY.nots, image: { kind: "document", id: document.document_id, collection: document.collection } };
  const replace = history.state?.details === true;
  if (details.isOpen()) {
    history.replaceState({ ...history.state, details: false }, "");
    details.close();
  }
  page.go(change, { replace });
  toTop();
}

const toTop = () => scrollTo({ top: 0, behavior: "instant" });

export const not = (document) => page.go({ nots: withNot(page.now().state.nots, document) });

export function cropOf(image) {
  crop.open(image, {
    onChosen: (part) => { page.go({ image: { ...image, crop: part }, ...(image === page.now().state.image ? {} : { text: "", nots: EMPTY.nots }) }); toTop(); },
    onFailed: (failure) => page.notice(failure instanceof api.Problem ? explainShortly(failure) : "The browser cannot show this picture, so no part of it can be chosen."),
  });
}

async function compareWithQuery(document) {
  const { state: { image }, fields } = page.now();
  if (image.kind === "upload") return compare.open(image, document, fields);
  try {
    compare.open(await api.document(image.collection, image.id), document, fields);
  } catch (problem) {
    page.notice(explainShortly(problem));
  }
}

export function pick(document, on, range) {
  selection.pick(document, on, { shown: results.shownDocuments(), range });
}

function remove(documents) {
  deleting.remove(documents, {
    onHidden: () => { selection.forget(documents); page.run(); },
    onBack: () => page.run(),
    onDeleted: () => page.renew(),
  });
}

/** Metadata was changed: the card says so at once, and it can be taken back. */
function saved(document, undo) {
  results.refresh(document, page.now().fields);
  page.recount();
  toast("Saved.", {
    action: "Undo",
    onGone: async (undone) => {
      if (!undone) return;
      try {
        document.metadata = (await api.changeDocument(document.collection, document.document_id, undo)).metadata;
      } catch (problem) {
        return toast(explainShortly(problem));
      }
      if (details.isOpen()) details.close();
      page.renew();
    },
  });
}
