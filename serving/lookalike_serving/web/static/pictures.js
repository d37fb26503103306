// Pictures of the service on the page: loaded when they come near the screen, as large as they are shown.

import { apiKey, address, send, thumbnailPath, thumbnailSizes } from "./api.js";

const waiting = new WeakMap();
const nearby = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (!isIntersecting) continue;
    nearby.unobserve(target);
    load(target, waiting.get(target)(target));
  }
}, { rootMargin: "800px 0px" });

/** Shows an image of the service. With an API key the image itself must be asked for with it. */
export function show(img, path) {
  watch(img);
  load(img, path);
}

/** Shows a document's thumbnail in the size of its place, once that is near the screen. */
export function showNearby(img, collection, id) {
  watch(img);
  waiting.set(img, () => thumbnailPath(collection, id, sizeFor(img.clientWidth || 240)));
  nearby.observe(img);
}

/** The smallest that has a pixel for each of the screen's. */
const sizeFor = (width) => thumbnailSizes.find((size) => size >= width * devicePixelRatio) ?? thumbnailSizes.at(-1);

function watch(img) {
  img.addEventListener("error", () => img.classList.add("broken"));
  img.addEventListener("load", () => img.classList.add("loaded"));
}

async function load(img, path) {
  if (!apiKey()) {
    img.src = address(path);
    return;
  }
  try {
    const url = URL.createObjectURL(await (await send(path)).blob());
    for (const end of ["load", "error"]) img.addEventListener(end, () => URL.revokeObjectURL(url), { once: true });
    img.src = url;
  } catch {
    img.classList.add("broken");
  }
}
