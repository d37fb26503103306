// Deleting documents: asked once, hidden at once, and deleted when the time for Undo is over – or when the page is
// left. Until then nothing has happened, so that Undo brings back all of it.

import { deleteDocument } from "./api.js";
import { confirmed } from "./confirm.js";
import { keyOf } from "./selection.js";
import { settle, toast } from "./toast.js";
import { explainShortly } from "./words.js";

const AT_ONCE = 4;

/** Deleted for the person, and perhaps not yet at the service. */
const hidden = new Map();
export const isGone = (document) => hidden.has(keyOf(document));

/** Ask, then delete. `onHidden()` when they are out of sight, `onBack()` when they are in it again, `onDeleted()` at the end. */
export async function remove(documents, { onHidden, onBack, onDeleted }) {
  const many = documents.length === 1 ? "this picture" : `these ${documents.length} pictures`;
  // Lists tell where a document came from; results do not.
  const uploaded = documents.every((each) => each.created_at !== undefined && each.source === undefined);
  const yes = await confirmed({
    title: `Delete ${many}?`,
    detail: [
      documents.length === 1 ? "It is found no more, and what is stored with it goes too." : "They are found no more, and what is stored with them goes too.",
      uploaded ? null : "What came from a source, such as a folder, comes back when the source is read again.",
    ].filter(Boolean),
    yes: "Delete",
  });
  if (!yes) return;
  settle();
  for (const each of documents) hidden.set(keyOf(each), each);
  onHidden();
  toast(documents.length === 1 ? "1 picture is deleted." : `${documents.length} pictures are deleted.`, {
    action: "Undo",
    onGone: async (undone) => {
      if (undone) {
        for (const each of documents) hidden.delete(keyOf(each));
        return onBack();
      }
      await deleteAll(documents);
      onDeleted();
    },
  });
}

async function deleteAll(documents) {
  const left = [...documents];
  const failures = [];
  const work = async () => {
    for (let each; (each = left.shift());) {
      try {
        await deleteDocument(each.collection, each.document_id);
      } catch (problem) {
        if (problem.status !== 404) failures.push([each, problem]);
      }
      hidden.delete(keyOf(each));
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  if (failures.length) {
    const [[first, problem]] = failures;
    const which = failures.length === 1 ? `${first.document_id} was not deleted` : `${failures.length} of ${documents.length} were not deleted, such as ${first.document_id}`;
    toast(`${which}. ${explainShortly(problem)}`);
  }
}

addEventListener("pagehide", () => {
  if (!hidden.size) return;
  for (const each of hidden.values()) deleteDocument(each.collection, each.document_id, { late: true }).catch(() => {});
  // A page that the browser kept as it was would still offer Undo.
  addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); }, { once: true });
});
