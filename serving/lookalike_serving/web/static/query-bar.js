// The bar: words, a picture, or both. A picture can be chosen, pasted, dropped – from a folder, from
// another page, or a result of this one.

import { documentAt, show, thumbnailPath } from "./api.js";
import { byId, el, icon, ICONS } from "./dom.js";
import { isUrl } from "./state.js";
import { fileOf, fromDataUrl, keep } from "./uploads.js";

const [form, text, chip, file, balance] = ["query", "text", "chip", "file", "balance"].map(byId);

/**
 * onSearch({text}) – submitted; onImage(image) – a picture came or went; onBalance(share);
 * onRefused(message) – what was given is no picture.
 */
export function start({ onSearch, onImage, onBalance, onRefused }) {
  const takeFile = (given) => {
    if (given.type && !given.type.startsWith("image/")) {
      onRefused(`${given.name || "That"} is ${given.type}, not a picture.`);
    } else if (given.size === 0) {
      onRefused(`${given.name || "That file"} is empty.`);
    } else {
      onImage(keep(given));
    }
  };
  const takeAddress = (address) => {
    const own = documentAt(address);
    const inline = fromDataUrl(address);
    if (own) onImage({ kind: "document", ...own });
    else if (inline) takeFile(inline);
    else if (isUrl(address)) onImage({ kind: "url", url: address });
    else return false;
    return true;
  };

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const typed = text.value.trim();
    if (/^(https?:|data:image\/)\S+$/.test(typed) && takeAddress(typed)) return;
    onSearch({ text: typed });
  });
  // The cross of a search field empties it; that is an answer too.
  text.addEventListener("search", () => { if (text.value === "") onSearch({ text: "" }); });
  byId("choose").addEventListener("click", () => file.click());
  file.addEventListener("change", () => {
    if (file.files.length) takeFile(file.files[0]);
    file.value = "";
  });
  balance.addEventListener("change", () => onBalance(Number(balance.value) / 100));

  document.addEventListener("paste", (event) => {
    const pasted = [...event.clipboardData.files][0];
    const words = event.clipboardData.getData("text/plain").trim();
    const elsewhere = event.target.closest?.("input, textarea, select, dialog") && event.target !== text;
    if (elsewhere) return;
    if (pasted) {
      event.preventDefault();
      takeFile(pasted);
    } else if (/^(https?:|data:image\/)\S+$/.test(words) && takeAddress(words)) {
      event.preventDefault();
    }
  });
  acceptDrops(takeFile, takeAddress, onRefused);

  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest?.("input, textarea, select, dialog");
    if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
      event.preventDefault();
      text.focus();
      text.select();
    }
  });
  chip.addEventListener("click", (event) => {
    if (!event.target.closest("button")) return;
    text.focus();
    onImage(null);
  });
}

function acceptDrops(takeFile, takeAddress, onRefused) {
  const veil = byId("drop");
  let depth = 0;
  const cover = (shown) => { veil.hidden = !shown; if (!shown) depth = 0; };
  document.addEventListener("dragenter", (event) => { event.preventDefault(); depth += 1; cover(true); });
  document.addEventListener("dragleave", () => { depth -= 1; if (depth <= 0) cover(false); });
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("dragend", () => cover(false));
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    cover(false);
    const [dropped] = event.dataTransfer.files;
    const address = event.dataTransfer.getData("text/uri-list").split(/\r?\n/).find((line) => line && !line.startsWith("#"));
    // A result dragged onto the bar comes as a file too; its address says which document it is.
    if (address && (documentAt(address) || !dropped) && takeAddress(address)) return;
    if (dropped) takeFile(dropped);
    else onRefused("What was dropped is not a picture.");
  });
}

/** Shows a state in the bar; `words`: whether the models searched know any. */
export function render(state, words) {
  if (document.activeElement !== text || text.value.trim() !== state.text.trim()) text.value = state.text;
  if (words) text.placeholder = state.image ? "Add words: in blue, striped …" : "Describe it, or drop a picture";
  else text.placeholder = state.image ? "Another picture’s address" : "Drop a picture, or paste one or its address";
  text.setAttribute("aria-label", words ? "What to look for, in words" : "Address of a picture to look for");
  balance.value = String(Math.round(state.balance * 100));
  byId("balance-row").hidden = !(words && state.image && state.text.trim());
  chip.hidden = !state.image;
  const shown = JSON.stringify(state.image);
  if (chip.dataset.shown === shown) return;
  chip.dataset.shown = shown;
  chip.replaceChildren();
  if (state.image) {
    const { label, picture } = described(state.image);
    const remove = el("button", { type: "button", class: "chip-remove", "aria-label": `Remove the picture ${label}`, title: "Remove the picture" }, icon(ICONS.close));
    chip.append(picture, el("span", { class: "chip-label", title: label }, label), remove);
  }
}

function described(image) {
  if (image.kind === "url") {
    return { label: image.url.replace(/^https?:\/\//, ""), picture: el("span", { class: "chip-picture" }, icon(...ICONS.link)) };
  }
  const picture = el("img", { class: "chip-picture", alt: "" });
  if (image.kind === "document") {
    if (image.collection) show(picture, thumbnailPath(image.collection, image.id, 128));
    return { label: image.id, picture };
  }
  const given = fileOf(image);
  if (given) {
    const url = URL.createObjectURL(given);
    picture.addEventListener("load", () => URL.revokeObjectURL(url), { once: true });
    picture.src = url;
  }
  return { label: image.name ?? "a picture", picture };
}
