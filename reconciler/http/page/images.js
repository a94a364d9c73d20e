// The table of images with what keeps each: searched, sorted, a page at a time; and one in detail.

import { SENTENCE, ago, byId, counted, el, fetched, name, shown, size } from "./dom.js";
import { drawGraph } from "./graph.js";

const PAGE = 100; // rows shown at once
const COLUMNS = [
  ["image", (image) => image.names[0] ?? image.id],
  ["size", (image) => -image.sizeBytes],
  ["used by", (image) => -image.users],
  ["last used", (image) => image.lastUsed ?? ""],
  ["why it is here", (image) => (image.protections[0]?.kind ?? "")],
];

let all = [];
let sorted = 0; // which column
let down = false;
let most = PAGE;
let drawn = ""; // what the table shows, so that it is not drawn again while nothing changed

export function begin() {
  COLUMNS.forEach(([title], column) => {
    const button = el("button", { type: "button", onclick: () => sort(column) }, title);
    byId("heads").append(el("th", { scope: "col" }, button));
  });
  byId("search").addEventListener("submit", (event) => event.preventDefault());
  for (const id of ["text", "kind"]) {
    byId(id).addEventListener("input", () => { most = PAGE; draw(); });
  }
  byId("more").addEventListener("click", () => { most += PAGE; draw(); });
}

export function setImages(images) {
  all = images;
  drawKinds();
  draw();
}

function sort(column) {
  down = column === sorted && !down;
  sorted = column;
  draw();
}

function chosen() {
  const text = byId("text").value.trim();
  const kind = byId("kind").value;
  const plain = text.replace(/^sha256:/, "");
  const found = all.filter((image) =>
    (!text || image.names.some((one) => one.includes(text)) || image.id.replace(/^sha256:/, "").startsWith(plain)) &&
    (!kind || (kind === "unprotected" ? !image.protections.length : image.protections.some((one) => one.kind === kind))));
  const key = COLUMNS[sorted][1];
  const order = found.map((image) => [key(image), image.id, image]);
  order.sort(([a, x], [b, y]) => (a < b ? -1 : a > b ? 1 : x < y ? -1 : 1) * (down ? -1 : 1));
  return order.map(([, , image]) => image);
}

function draw() {
  const found = chosen();
  const now = Date.now();
  const rows = found.slice(0, most);
  const content = JSON.stringify([rows, sorted, down, found.length, Math.floor(now / 60000)]);
  if (content === drawn) return;
  drawn = content;
  byId("count").textContent = `${found.length} of ${counted(all.length, "image")}, ` +
    size(found.reduce((sum, image) => sum + image.sizeBytes, 0));
  [...byId("heads").children].forEach((head, column) =>
    head.setAttribute("aria-sort", column !== sorted ? "none" : down ? "descending" : "ascending"));
  const focused = document.activeElement?.dataset?.id;
  byId("rows").replaceChildren(...rows.map((image) => row(image, now)));
  if (focused) document.querySelector(`[data-id="${CSS.escape(focused)}"]`)?.focus();
  byId("more").hidden = found.length <= most;
  byId("more").textContent = `Show more (${found.length - most} left)`;
  drawGraph(found, all.length, open);
}

function row(image, now) {
  const first = image.protections[0];
  const why = first ? `${first.kind}: ${shown(first.detail, SENTENCE)}` : "nothing keeps it: it may go";
  const cell = (column, attributes, ...children) =>
    el("td", { "data-head": COLUMNS[column][0], ...attributes }, ...children);
  const button = el("button", {
    class: "link", type: "button", "data-id": image.id, onclick: () => open(image.id),
  }, name(image));
  return el("tr", {},
    cell(0, {}, button),
    cell(1, { class: "number" }, size(image.sizeBytes)),
    cell(2, { class: "number" }, String(image.users)),
    cell(3, { class: "number" }, ago(image.lastUsed, now)),
    cell(4, { class: image.verdict }, why));
}

function drawKinds() {
  const counts = new Map();
  for (const image of all) {
    const kinds = image.protections.length ? image.protections.map((one) => one.kind) : ["unprotected"];
    for (const kind of kinds) counts.set(kind, (counts.get(kind) ?? 0) + 1);
  }
  const ordered = [...counts].sort(([, a], [, b]) => b - a);
  const select = byId("kind");
  const kept = select.value;
  select.replaceChildren(el("option", { value: "" }, "anything"),
    ...ordered.map(([kind]) => el("option", { value: kind }, kind)));
  select.value = counts.has(kept) ? kept : "";
  byId("kinds").replaceChildren(...ordered.map(([kind, count]) => kindLine(kind, count)));
}

function kindLine(kind, count) {
  const picture = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const filled = document.createElementNS("http://www.w3.org/2000/svg", "rect");
  filled.setAttribute("width", `${(100 * count) / Math.max(1, all.length)}%`);
  filled.setAttribute("height", "100%");
  picture.append(filled);
  picture.setAttribute("aria-hidden", "true");
  const choose = () => { byId("kind").value = kind; most = PAGE; draw(); byId("images").scrollIntoView(); };
  return el("button", { type: "button", onclick: choose, title: `show ${counted(count, "image")}` },
    el("span", {}, kind), picture, el("span", { class: "count" }, String(count)));
}

export async function open(id) {
  const { image, usedBy } = await fetched(`images/${encodeURIComponent(id)}`);
  const entry = (term, ...values) => [el("dt", {}, term), ...values.map((value) => el("dd", {}, shown(value)))];
  byId("detail-title").replaceChildren(name(image));
  byId("detail-body").replaceChildren(el("dl", {},
    ...entry("Id", image.id),
    ...entry("Names", ...image.names),
    ...entry("Size as listed", size(image.sizeBytes)),
    ...entry("Uses counted", String(image.uses)),
    ...entry("Used by", ...(usedBy.length ? usedBy.map(user) : ["nobody"])),
    ...image.protections.flatMap((one) => [
      el("dt", {}, `${one.kind}${one.holds ? ": holds" : ""}`),
      el("dd", { class: one.holds ? "holds" : "" }, shown(one.detail, SENTENCE)),
    ])));
  if (!byId("detail").open) byId("detail").showModal();
}

const user = (one) =>
  `${one.kind} ${[one.sandbox, one.name].filter(Boolean).join(" ")} ${one.state ?? ""} (${one.id.slice(0, 13)})`;
