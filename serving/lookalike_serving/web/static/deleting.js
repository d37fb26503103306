// Deleting documents: asked once, hidden at once, and deleted when the time for Undo is over – or when the page is
// left. Until then nothing has happened, so that Undo brings back all of it.

import { deleteDocument } from "./api.js";
import { confirmed } from "./confirm.js";
import { keyOf } from "./selection.js";
import { settle, toast } from "./toast.js";
import { explainShortly } from "./words.js";

const AT_ONCE = 4;

const hidden = new Map();
let sending = false;
export const isGone = (document) => hidden.has(keyOf(document));

/** Ask, then delete. `onHidden()` when they are out of sight, `onBack()` when they are in it again, `onDeleted()` at the end. */
export async function remove(documents, { onHidden, onBack, onDeleted }) {
  const many = documents.length === 1 ? "this picture" : `these ${documents.length} pictures`;
  const sourced = documents.filter((each) => each.source ?? false).length;
  const yes = await confirmed({
    title: `Delete ${many}?`,
    detail: [
      documents.length === 1 ? "It is found no more, and what is stored with it goes too." : "They are found no more, and what is stored with them goes too.",
      sourced ? "What came from a source stays there: the next run that reads the source may bring it back." : null,
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
        if (problem.status === 404) continue;
        hidden.delete(keyOf(each));
        failures.push([each, problem]);
      }
    }
  };
  sending = true;
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  sending = false;
  if (failures.length) {
    const [[first, problem]] = failures;
    const which = failures.length === 1 ? `${first.document_id} was not deleted` : `${failures.length} of ${documents.length} were not deleted, such as ${first.document_id}`;
    toast(`${which}. ${explainShortly(problem)}`);
  }
}

addEventListener("pagehide", () => {
  if (sending) return;
  for (const each of hidden.values()) deleteDocument(each.collection, each.document_id, { late: true }).catch(() => {});
});
