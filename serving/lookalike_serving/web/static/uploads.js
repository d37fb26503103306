// Pictures the person gave, held in memory for as long as the tab shows this page: the address
// cannot carry them, but going back to a search made with one brings it back.

const files = new Map();
let count = 0;

export function keep(file) {
  const id = `${performance.timeOrigin}-${(count += 1)}`;
  files.set(id, file);
  return { kind: "upload", id, name: file.name || "picture" };
}

export const fileOf = (image) => (image?.kind === "upload" ? (files.get(image.id) ?? null) : null);

/** A file of a `data:` URL of an image; null for anything else. */
export function fromDataUrl(url) {
  const match = /^data:(image\/[\w.+-]+);base64,([A-Za-z0-9+/=\s]+)$/.exec(url);
  if (!match) return null;
  try {
    const bytes = Uint8Array.from(atob(match[2].replace(/\s/g, "")), (character) => character.charCodeAt(0));
    return new File([bytes], "picture", { type: match[1] });
  } catch {
    return null;
  }
}
