// The threshold that was measured for a retriever: results below it are more often wrong than was wanted.
// It is offered only if there is one for this kind of search, and it still holds.

import { isSearch } from "./state.js";

/** The API's kinds of queries: documents count as pictures. */
function kindOf(state) {
  const words = Boolean(state.text.trim());
  const pictures = Boolean(state.image || state.nots.length);
  return words && pictures ? "both" : words ? "text" : "image";
}

/** What was measured for this kind of search, as the API has it; null if there is nothing that holds. */
export function measuredFor(state, retriever) {
  const calibration = retriever?.calibration;
  return isSearch(state) && calibration?.holds ? (calibration.thresholds[kindOf(state)] ?? null) : null;
}

/** What was measured for this kind of search and does not hold any more: the calibration; null if there is none. */
export function outdatedFor(state, retriever) {
  const calibration = retriever?.calibration;
  return isSearch(state) && calibration && !calibration.holds && calibration.thresholds[kindOf(state)] ? calibration : null;
}

const isDefault = (retriever) => retriever?.search?.min_score === "auto";

/** Whether it is used: it was chosen, or the retriever says so and nothing else was chosen. */
export const isOn = (state, retriever) =>
  measuredFor(state, retriever) !== null && (state.minScore === "auto" || (state.minScore === null && isDefault(retriever)));

/** What leaves out nothing: for a retriever that leaves out by itself that has to be said. */
export const anyScore = (retriever) => (isDefault(retriever) ? 0 : null);

/** The state that can be asked for: an address may ask for a threshold that is not there. */
export const withoutMissing = (state, retriever) =>
  (state.minScore === "auto" && measuredFor(state, retriever) === null ? { ...state, minScore: null } : state);

const percent = (share) => `${Math.round(share * 100)} %`;

/** What it promises, in a sentence. */
export const promise = ({ precision, low, high, count, min_score }) =>
  `Shows results with a score of at least ${min_score.toFixed(2)}: ${percent(precision)} of them were right in ${count} measured searches (95 % confidence: ${percent(low)} to ${percent(high)}).`;

/** Why a threshold that was measured is not used, in a sentence. */
export const outdated = ({ made_at, changed }) =>
  `The threshold for confident matches is not used: since it was measured on ${new Date(made_at).toLocaleDateString()}, this has changed: ${changed.join(", ")}. “lookalike calibrate --save” measures it again.`;

/** Why nothing is left out, although the address or the retriever asks for it. */
export function whyNothing(state, retriever) {
  const calibration = outdatedFor(state, retriever);
  return calibration === null ? "Nothing is left out: no threshold has been measured for this kind of search." : `Nothing is left out. ${outdated(calibration)}`;
}
