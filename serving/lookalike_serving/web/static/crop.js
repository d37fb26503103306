// A part of a picture to search by: a frame that is dragged with the mouse or a finger, or moved with the arrow keys.

import { byId, el, icon, ICONS } from "./dom.js";
import { sourceOf } from "./parts.js";

const SMALLEST = 0.04;
const STEP = 0.02;
const WHOLE = { x: 0, y: 0, width: 1, height: 1 };
const CORNERS = { nw: [0, 0], ne: [1, 0], sw: [0, 1], se: [1, 1] };

const dialog = byId("crop");
const within = (value, low, high) => Math.min(Math.max(value, low), high);

dialog.addEventListener("close", () => dialog.replaceChildren());
dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });

/** `onChosen(crop)`: the part, or null for the whole picture; `onFailed(message)` where the browser cannot show it. */
export async function open(image, { onChosen, onFailed }) {
  const picture = el("img", { alt: "The picture to choose a part of", draggable: false });
  const frame = el("div", { class: "crop-frame", tabindex: "0", role: "group", "aria-label": "Part to search by", "aria-describedby": "crop-help crop-told" },
    Object.keys(CORNERS).map((corner) => el("span", { class: `crop-corner ${corner}`, "data-corner": corner })));
  const told = el("p", { class: "quiet small", id: "crop-told", role: "status" });
  const stage = el("div", { class: "crop-stage" }, picture, frame);
  let crop = image.crop ?? { x: 0.2, y: 0.2, width: 0.6, height: 0.6 };
  const set = (next) => {
    const width = within(next.width, SMALLEST, 1);
    const height = within(next.height, SMALLEST, 1);
    crop = { width, height, x: within(next.x, 0, 1 - width), y: within(next.y, 0, 1 - height) };
    for (const [name, value] of [["left", crop.x], ["top", crop.y], ["width", width], ["height", height]]) frame.style.setProperty(name, `${value * 100}%`);
    const percent = (value) => Math.round(value * 100);
    told.textContent = `${percent(width)} % wide, ${percent(height)} % high, ${percent(crop.x)} % from the left, ${percent(crop.y)} % from the top.`;
  };
  frame.addEventListener("keydown", (event) => {
    const [dx, dy] = { ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP] }[event.key] ?? [0, 0];
    if (event.key === "Enter") choose();
    if (!dx && !dy) return;
    event.preventDefault();
    set(event.shiftKey ? { ...crop, width: crop.width + dx, height: crop.height + dy } : { ...crop, x: crop.x + dx, y: crop.y + dy });
  });
  stage.addEventListener("pointerdown", (event) => drag(event, stage, () => crop, set));
  const choose = () => {
    const whole = crop.width > 0.995 && crop.height > 0.995;
    dialog.close();
    onChosen(whole ? null : crop);
  };
  dialog.replaceChildren(el("div", { class: "crop-inside" },
    el("header", {},
      el("h2", { id: "crop-title" }, "Search by a part"),
      el("button", { type: "button", class: "icon-button", "aria-label": "Close", onclick: () => dialog.close() }, icon(ICONS.close))),
    el("p", { class: "quiet small", id: "crop-help" }, "Drag a frame. Arrow keys move it, with Shift they change its size."),
    stage, told,
    el("p", { class: "actions" },
      el("button", { type: "button", class: "primary", onclick: choose }, "Search by this part"),
      el("button", { type: "button", class: "ghost", onclick: () => { set(WHOLE); choose(); } }, "Whole picture"))));
  set(crop);
  dialog.showModal();
  frame.focus();
  try {
    const url = URL.createObjectURL(await sourceOf(image));
    picture.src = url;
    await picture.decode().finally(() => URL.revokeObjectURL(url));
  } catch (failure) {
    if (dialog.open) dialog.close();
    onFailed(failure);
  }
}

/** Begins where the pointer is: on a corner it sizes, within the frame it moves, elsewhere it draws a new frame. */
function drag(event, stage, now, set) {
  if (event.button !== 0) return;
  event.preventDefault();
  const box = stage.getBoundingClientRect();
  const at = ({ clientX, clientY }) => [within((clientX - box.left) / box.width, 0, 1), within((clientY - box.top) / box.height, 0, 1)];
  const [x0, y0] = at(event);
  const begun = now();
  const corner = CORNERS[event.target.dataset.corner];
  // The corner that stays where it is.
  const fixed = corner ? [begun.x + (1 - corner[0]) * begun.width, begun.y + (1 - corner[1]) * begun.height] : [x0, y0];
  const moves = !corner && event.target.closest(".crop-frame") !== null && begun.width * begun.height < 0.98;
  const move = (moved) => {
    const [x, y] = at(moved);
    if (moves) set({ ...begun, x: begun.x + x - x0, y: begun.y + y - y0 });
    else set({ x: Math.min(x, fixed[0]), y: Math.min(y, fixed[1]), width: Math.abs(x - fixed[0]), height: Math.abs(y - fixed[1]) });
  };
  const end = () => {
    stage.removeEventListener("pointermove", move);
    for (const name of ["pointerup", "pointercancel"]) stage.removeEventListener(name, end);
    stage.querySelector(".crop-frame").focus();
  };
  stage.setPointerCapture(event.pointerId);
  stage.addEventListener("pointermove", move);
  for (const name of ["pointerup", "pointercancel"]) stage.addEventListener(name, end);
}
