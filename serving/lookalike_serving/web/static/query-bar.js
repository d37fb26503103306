// The bar: words, a picture, or both. A picture can be chosen, pasted, dropped – from a folder, from
// another page, or a result of this one.

import { filesOf, isMany } from "./adding.js";
import { documentAt, thumbnailPath } from "./api.js";
import { byId, el, icon, ICONS } from "./dom.js";
import { partOf } from "./parts.js";
import { show } from "./pictures.js";
import { isUrl } from "./state.js";
import { fileOf, fromDataUrl, keep } from "./uploads.js";

const [form, text, chip, file, balance] = ["query", "text", "chip", "file", "balance"].map(byId);

/**
 * onSearch({text}) – submitted; onImage(image) – a picture came or went; onBalance(share);
 * onRefused(message) – what was given is no picture; onPart() – a part of the picture is to be chosen;
 * onAdd(files) – pictures for a collection; adds() – the names of those that take some, and whether nothing is there to search.
 */
export function start({ onSearch, onImage, onBalance, onRefused, onPart, onAdd, adds }) {
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
  const more = byId("add-files");
  byId("add").addEventListener("click", () => more.click());
  more.addEventListener("change", () => {
    if (more.files.length) onAdd([...more.files]);
    more.value = "";
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
  acceptDrops({ takeFile, takeAddress, onRefused, onAdd, adds });

  chip.addEventListener("click", (event) => {
    if (event.target.closest(".chip-part")) return onPart();
    if (!event.target.closest(".chip-remove")) return;
    text.focus();
    onImage(null);
  });
}

/** Files dropped on one half of the veil are searched with, on the other they are added; many can only be added. */
function acceptDrops({ takeFile, takeAddress, onRefused, onAdd, adds }) {
  const [veil, search, add] = ["drop", "drop-search", "drop-add"].map(byId);
  let depth = 0;
  const cover = (event) => {
    const { names, only } = adds();
    const files = event.dataTransfer.types.includes("Files");
    const many = event.dataTransfer.items.length > 1 && [...event.dataTransfer.items].every((item) => item.kind === "file");
    add.hidden = !files || !names.length;
    search.hidden = !add.hidden && (only || many);
    byId("drop-where").textContent = names.length === 1 ? `to add it to ${names[0]}` : "to add it to a collection";
    veil.hidden = false;
  };
  const uncover = () => { veil.hidden = true; depth = 0; };
  const isOnAdd = ({ clientX: x, clientY: y }) => {
    if (add.hidden) return false;
    if (search.hidden) return true;
    const box = add.getBoundingClientRect();
    return box.width > 0 && x >= box.left && x <= box.right && y >= box.top && y <= box.bottom;
  };
  document.addEventListener("dragenter", (event) => { event.preventDefault(); depth += 1; cover(event); });
  document.addEventListener("dragleave", () => { depth -= 1; if (depth <= 0) uncover(); });
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    add.classList.toggle("over", isOnAdd(event));
    search.classList.toggle("over", !isOnAdd(event));
  });
  document.addEventListener("dragend", uncover);
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    const transfer = event.dataTransfer;
    const [dropped] = transfer.files;
    const address = transfer.getData("text/uri-list").split(/\r?\n/).find((line) => line && !line.startsWith("#"));
    const own = address && documentAt(address);
    const toAdd = !own && adds().names.length > 0 && (isMany(transfer) || (transfer.files.length > 0 && isOnAdd(event)));
    uncover();
    if (toAdd) return void filesOf(transfer).then(onAdd, () => onRefused("What was dropped cannot be read."));
    // A result dragged onto the bar comes as a file too; its address says which document it is.
    if (address && (own || !dropped) && takeAddress(address)) return;
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
    const part = state.image.kind === "url" ? null : el("button", { type: "button", class: "chip-part", "aria-label": "Search by a part of the picture", title: "Search by a part of the picture" }, icon(ICONS.crop));
    chip.append(...[picture, el("span", { class: "chip-label", title: label }, state.image.crop ? `part of ${label}` : label), part, remove].filter(Boolean));
  }
}

function described(image) {
  if (image.kind === "url") {
    return { label: image.url.replace(/^https?:\/\//, ""), picture: el("span", { class: "chip-picture" }, icon(...ICONS.link)) };
  }
  const picture = el("img", { class: "chip-picture", alt: "" });
  const label = image.kind === "document" ? image.id : (image.name ?? "a picture");
  if (image.crop && (image.kind === "document" || fileOf(image))) {
    partOf(image).then((file) => showFile(picture, file), () => {});
    return { label, picture };
  }
  if (image.kind === "document") {
    if (image.collection) show(picture, thumbnailPath(image.collection, image.id, 128));
    return { label, picture };
  }
  const given = fileOf(image);
  if (given) showFile(picture, given);
  return { label, picture };
}

function showFile(picture, file) {
  const url = URL.createObjectURL(file);
  for (const end of ["load", "error"]) picture.addEventListener(end, () => URL.revokeObjectURL(url), { once: true });
  // Of a kind that the service may read, and this browser does not.
  picture.addEventListener("error", () => picture.classList.add("broken"));
  picture.src = url;
}
