// Whether one picture is a copy of a document: the service's verdict in words, and the region that both show.

import * as api from "./api.js";
import { explainShortly } from "./words.js";
import { el, shape } from "./dom.js";
import { fileOf } from "./uploads.js";

const MOST = 100;
const EDITS = {
  crop: () => "cropped",
  embed: () => "placed in a larger picture",
  scale: () => "scaled",
  stretch: () => "stretched",
  mirror: () => "mirrored",
  rotate: ({ rotation }) => `turned by ${Math.round(Math.abs(rotation))}°`,
  perspective: () => "seen at an angle",
  grey: () => "without colour",
  recolour: () => "brighter or darker",
  cover: () => "partly covered",
};
const DIFFERENCES = {
  hue: "a part has another colour",
  place: "parts have moved",
  brightness: "parts are brighter or darker",
  pattern: "parts show something else",
  texture: "there is too little to compare",
};

/** The button that asks, and the line that says what came of it. Each side is {given, stage, picture}: what compare.js was given,
 * the image, and the element around it. */
export function question(query, document) {
  const told = el("p", { class: "verdict", role: "status" });
  const button = el("button", {
    type: "button", class: "text-button",
    onclick: async () => {
      button.disabled = true;
      told.textContent = "Comparing the pixels …";
      try {
        const match = await verdict(query.given, document.given);
        told.textContent = words(match);
        for (const [side, which] of [[query, "query"], [document, "document"]]) draw(side, match?.evidence.region?.[which]);
      } catch (problem) {
        told.textContent = problem instanceof api.Problem ? explainShortly(problem) : "The picture cannot be read, so it cannot be compared.";
      }
      button.disabled = false;
    },
  }, "Is it a copy?");
  return el("div", { class: "question" }, button, told);
}

/** The service's match for the document; null if it is not among them. */
async function verdict(query, document) {
  const body = new FormData();
  body.append("image", fileOf(query) ?? await (await api.send(api.imagePath(query.collection, query.document_id))).blob(), "picture");
  body.append("request", JSON.stringify({ top_k: MOST }));
  const answer = await api.send(`v1/collections/${encodeURIComponent(document.collection)}/duplicates`, { method: "POST", body });
  const { matches } = await answer.json();
  return matches.find(({ document_id }) => document_id === document.document_id) ?? null;
}

export function words(match) {
  if (match === null) return "Not a copy: the pictures do not show the same pixels.";
  const { verdict, evidence } = match;
  if (verdict === "exact") return "The same picture: all pixels are equal.";
  if (verdict === "similar") {
    const why = (evidence.differs ?? []).map((difference) => DIFFERENCES[difference] ?? difference);
    return `Not a copy, but another picture that looks alike${why.length ? `: ${why.join(", ")}` : ""}.`;
  }
  const edits = evidence.transform.edits.map((edit) => EDITS[edit]?.(evidence.transform) ?? edit);
  const how = edits.length ? `, ${edits.join(", ")}` : ", saved again";
  return `A copy${how}. In the marked region, ${Math.round(evidence.agreement * 100)} % of the blocks agree.`;
}

/** Mark a region, given by its corners in parts of the picture; none removes the mark. */
export function draw({ stage, picture }, corners) {
  stage.querySelector(".region")?.remove();
  if (!corners) return;
  const points = corners.map((corner) => corner.join(",")).join(" ");
  const svg = shape("svg", { class: "region", viewBox: "0 0 1 1", preserveAspectRatio: "none", "aria-hidden": "true" },
    shape("polygon", { points, "vector-effect": "non-scaling-stroke" }));
  const place = () => Object.assign(svg.style, {
    left: `${picture.offsetLeft}px`, top: `${picture.offsetTop}px`, width: `${picture.offsetWidth}px`, height: `${picture.offsetHeight}px`,
  });
  stage.append(svg);
  place();
  const sizes = new ResizeObserver(() => (svg.isConnected ? place() : sizes.disconnect()));
  for (const each of [picture, stage]) sizes.observe(each);
}
