// Draws the reference graph: users on the left, images in the middle, the protections that keep them
// on the right. On a big node only the first rows of the search are drawn.

import { byId, shown, svg } from "./dom.js";

const MOST = 40; // images drawn
const ROW = 20; // pixels
const [LEFT, MIDDLE, RIGHT, WIDTH] = [250, 320, 830, 960];
const NONE = "unprotected";

export function drawGraph(images, total, open) {
  const drawn = images.slice(0, MOST);
  byId("graph-note").textContent = drawn.length < total
    ? `${drawn.length} of ${total} images; search below to draw others` : "";
  const users = column(drawn.flatMap((image) => image.usedBy));
  const kinds = column(drawn.flatMap(kindsOf));
  const height = ROW * (2 + Math.max(users.size, drawn.length, kinds.size));
  const root = svg("svg", { viewBox: `0 0 ${WIDTH} ${height}`, role: "group", "aria-label": "Reference graph" });
  root.append(heading(0, "used by"), heading(MIDDLE, "image"), heading(RIGHT, "kept by"));
  const place = (n, of) => ROW * 1.5 + (n + 0.5) * ((height - ROW * 1.5) / Math.max(1, of));
  drawn.forEach((image, row) => {
    const y = place(row, drawn.length);
    for (const user of image.usedBy) root.append(curve(LEFT, place(users.get(user), users.size), MIDDLE - 6, y));
    for (const kind of kindsOf(image)) root.append(curve(RIGHT - 30, y, RIGHT - 6, place(kinds.get(kind), kinds.size)));
    root.append(link(image, y, open));
  });
  for (const [user, row] of users) root.append(text(LEFT - 6, place(row, users.size), cut(user, 36), "end"));
  for (const [kind, row] of kinds) root.append(text(RIGHT, place(row, kinds.size), kind, "start"));
  byId("graph").replaceChildren(root);
}

const kindsOf = (image) =>
  image.protections.length ? image.protections.map((one) => one.kind) : [NONE];

const column = (names) => new Map([...new Set(names)].sort().map((name, row) => [name, row]));

const heading = (x, words) => svg("text", { x, y: 12, class: "head" }, words);

const text = (x, y, words, anchor) =>
  svg("text", { x, y: y + 4, "text-anchor": anchor }, words);

const curve = (x1, y1, x2, y2) =>
  svg("path", { d: `M${x1},${y1} C${(x1 + x2) / 2},${y1} ${(x1 + x2) / 2},${y2} ${x2},${y2}` });

// The end of a name distinguishes images, so its beginning is cut.
function cut(words, most) {
  const whole = shown(words);
  return whole.length > most ? `…${whole.slice(1 - most)}` : whole;
}

function link(image, y, open) {
  const words = cut(image.names[0] ?? image.id, 66);
  const made = svg("a", { href: "#", "aria-label": shown(image.names[0] ?? image.id) },
    svg("text", { x: MIDDLE, y: y + 4 }, words));
  made.addEventListener("click", (event) => { event.preventDefault(); open(image.id); });
  return made;
}
