// What stands in the place of results where there are none: {title, detail, actions, command}, see results.js.

import { readable } from "./filters.js";

/** A range that ends before it begins. */
export const turned = (field, { gte, lte }, { onTurn, onRemove }) => ({
  title: `The range of ${readable(field)} is upside down`,
  detail: `Nothing lies between ${gte} and ${lte}: it begins above its end.`,
  actions: [["Turn it round", () => onTurn({ gte: lte, lte: gte })], ["Remove it", onRemove]],
});

/** An address that somebody was given does not carry the picture. */
export const withoutPicture = ({ onChoose, onDrop }) => ({
  title: "This search was made with an uploaded picture",
  detail: "Pictures are not part of a page’s address: it stayed with whoever made the search. Choose the picture again to repeat it.",
  actions: [["Choose the picture", onChoose], ["Search without it", onDrop]],
});

/**
 * Where collections hold documents but none is a result; `warned`: the reason has been told; `automatic`: with the threshold that was
 * measured. null: nothing explains it.
 */
export function nothingFound(asked, { warned, automatic }, { onClear, onAnyScore, onAllowAll }) {
  const filtered = Object.keys(asked.filters).length > 0;
  const scored = automatic || asked.minScore !== null;
  const actions = [
    filtered ? ["Clear the filters", onClear] : null, scored ? ["Any score", onAnyScore] : null,
    asked.nots.length ? ["Allow what was left out", onAllowAll] : null,
  ].filter(Boolean);
  if (!actions.length && !warned) return null;
  const why = automatic ? `No picture${filtered ? " under these filters" : ""} is a confident match. ${warned ? "The reason stands above." : ""}`.trim()
    : filtered && scored ? "No picture under these filters scores as high as that."
    : filtered ? "No picture is left under these filters." : scored ? "No picture scores as high as that." : "No picture is left.";
  return { title: "Nothing found", detail: warned && !filtered && !scored ? "The reason stands above." : why, actions };
}

/** Where there is nothing yet, and how to change that. */
export function empty(collections, { onAdd }) {
  if (collections.some((each) => each.ingestion)) return { title: "The first pictures are on their way", detail: "They appear here as soon as they can be searched." };
  return {
    title: "No pictures here yet",
    detail: `There is nothing in ${collections.map((each) => `“${each.name}”`).join(", ") || "this retriever’s collections"}. Drag pictures or a folder onto this page to add them.`,
    actions: [["Choose pictures", onAdd]],
    command: ["A folder that is named as a source in the YAML file is read with", "lookalike ingest"],
  };
}
