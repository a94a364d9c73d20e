// Helpers for every part of the page. Names are untrusted: they reach the page as text only, with
// whatever could reorder or hide text shown as an escape.

const HOSTILE = /[\u0000-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g;
const LONGEST = 240; // characters of a name
export const SENTENCE = 1200; // and of a sentence with names in it

export const byId = (id) => document.getElementById(id);

export function shown(text, longest = LONGEST) {
  const escaped = String(text).replace(
    HOSTILE, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`);
  return escaped.length > longest ? `${escaped.slice(0, longest)}… (${escaped.length} characters)` : escaped;
}

// An element: el("td", {class: "number"}, "text", other). Text is text, never markup.
export function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value !== null && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

export function svg(tag, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

export const name = (image) => el("bdi", {}, shown(image.names[0] ?? `sha256:${image.id.replace("sha256:", "").slice(0, 12)}`));

export const counted = (number, one) => `${number} ${one}${number === 1 ? "" : "s"}`;
const short = (value) => value.toFixed(1).replace(".0", "");

export function size(bytes) {
  if (bytes === null) return "unknown";
  let value = bytes;
  for (const unit of ["B", "KiB", "MiB", "GiB"]) {
    if (Math.abs(value) < 1024) return `${short(value)} ${unit}`;
    value /= 1024;
  }
  return `${short(value)} TiB`;
}

export function ago(time, now) {
  if (time === null) return "never";
  const seconds = Math.max(0, (now - Date.parse(time)) / 1000);
  if (seconds < 60) return `${Math.floor(seconds)}s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)}m ago`;
  if (seconds < 172800) return `${Math.floor(seconds / 3600)}h ago`;
  return `${Math.floor(seconds / 86400)}d ago`;
}

export async function fetched(path, options = {}) {
  const answer = await fetch(`api/v1/${path}`, options);
  const document = await answer.json();
  if (!answer.ok) throw new Error(document.error ?? answer.statusText);
  return document;
}
