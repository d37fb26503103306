// The API key: asked for when the service wants one, and kept in this tab alone.

import { apiKey, setApiKey } from "./api.js";
import { byId } from "./dom.js";

/** Whether the key of this tab was good once: what is refused later has expired, or was withdrawn. */
let accepted = false;
export const keyWorked = () => { accepted = apiKey() !== null; };

function told() {
  if (apiKey() === null) return ["This service needs an API key", "Whoever runs the service has keys to give: lines of its keys file."];
  if (accepted) return ["The API key is no longer accepted", "It has expired or was withdrawn. What you were looking at goes on with a new one."];
  return ["That API key is not accepted", "Check that it was copied whole, or ask whoever runs the service for another."];
}

/** Resolves when there is a key to try; rejects with the problem where the person gives none. */
export function askForKey(problem) {
  const dialog = byId("key");
  const [title, detail] = told();
  byId("key-title").textContent = title;
  byId("key-detail").textContent = detail;
  byId("key-value").value = "";
  if (!dialog.open) dialog.showModal();
  return new Promise((resolve, reject) => {
    let given = false;
    const submitted = () => {
      given = true;
      accepted = false;
      setApiKey(byId("key-value").value.trim());
    };
    byId("key-form").addEventListener("submit", submitted, { once: true });
    dialog.addEventListener("close", () => {
      byId("key-form").removeEventListener("submit", submitted);
      if (given) resolve();
      else reject(problem);
    }, { once: true });
  });
}
