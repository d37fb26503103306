// The pixels of a part of a picture, cut in the browser at full resolution, from the person's file or from the
// document's own image.

import { imagePath, Problem, send, thumbnailPath } from "./api.js";
import { fileOf } from "./uploads.js";

/** The longest side that is sent: a part beyond that has more pixels than any model looks at. */
const LONGEST = 4096;

/** The file of a picture in the state: an upload, or a document. Where the browser cannot read a document's image, its thumbnail. */
export async function sourceOf(image) {
  const given = fileOf(image);
  if (given) return given;
  const whole = await (await send(imagePath(image.collection, image.id))).blob();
  const readable = await createImageBitmap(whole).then((bitmap) => { bitmap.close(); return true; }, () => false);
  return readable ? whole : (await send(thumbnailPath(image.collection, image.id, 512))).blob();
}

let latest = { of: null, file: null };

/** A File of the part that `image.crop` names. Rejects with Problem where the browser cannot read the picture. */
export function partOf(image) {
  const of = JSON.stringify(image);
  if (latest.of !== of) {
    latest = { of, file: cut(image) };
    latest.file.catch(() => { latest = { of: null, file: null }; });
  }
  return latest.file;
}

async function cut(image) {
  const source = await sourceOf(image);
  let bitmap;
  try {
    bitmap = await createImageBitmap(source);
  } catch {
    throw new Problem("The browser cannot show this picture", "So no part of it can be cut out here. Search by the whole picture, or convert it to JPEG.");
  }
  const [x, y] = [image.crop.x * bitmap.width, image.crop.y * bitmap.height].map(Math.round);
  const width = Math.max(1, Math.min(Math.round(image.crop.width * bitmap.width), bitmap.width - x));
  const height = Math.max(1, Math.min(Math.round(image.crop.height * bitmap.height), bitmap.height - y));
  const scale = Math.min(1, LONGEST / Math.max(width, height));
  const canvas = document.createElement("canvas");
  Object.assign(canvas, { width: Math.max(1, Math.round(width * scale)), height: Math.max(1, Math.round(height * scale)) });
  const context = canvas.getContext("2d");
  // As the service does it: what is transparent lies on white.
  context.fillStyle = "white";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(bitmap, x, y, width, height, 0, 0, canvas.width, canvas.height);
  bitmap.close();
  const blob = await new Promise((resolve) => { canvas.toBlob(resolve, "image/jpeg", 0.95); });
  return new File([blob], "part.jpg", { type: "image/jpeg" });
}
