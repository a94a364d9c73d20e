// The page: receives the daemon's status every second and every log line, and fetches the bigger
// documents when something happened, at most every few seconds and only while the page is visible.

import { SENTENCE, ago, byId, counted, el, fetched, name, shown, size } from "./dom.js";
import { drawDisks, drawUsage } from "./disks.js";
import { begin, setImages } from "./images.js";

const SPACING = 2000; // milliseconds between fetches after something happened
const IDLE_SPACING = 15000; // and when nothing did
const LINES = 200; // log lines kept on the page

let due = 0; // when to fetch next
let fetching = false;

function status(current) {
  byId("live").textContent = `live, ${new Date(current.at).toLocaleTimeString()}`;
  byId("node").textContent = current.node ? shown(current.node) : "";
  document.title = `${current.node ? `${shown(current.node)} ` : ""}reconciler`;
  const { counts, pods, runtime } = current;
  byId("facts").textContent =
    `mode ${current.mode ?? "unknown"}, ${current.pressure}; ${counted(counts.images, "image")}, ` +
    `${counted(counts.containers, "container")}; ${shown(runtime.name ?? "no runtime yet")} ${shown(runtime.version ?? "")}, ` +
    `${runtime.events === "open" ? "events open" : "no events, listings only"}; ` +
    `${pods.source ? `${counted(pods.count, "pod")} reported by ${pods.source}` : "pods known from the runtime alone"}; ` +
    `version ${current.version}`;
  const trouble = [
    ...current.notReady.map((reason) => `Not ready: ${reason}`),
    ...(current.hold ? [`Nothing is removed (${current.hold.reason}): ${current.hold.detail}`] : []),
    ...current.policy.problems.map((problem) => `Policy refused: ${problem}`),
    ...current.pods.missing,
    ...current.requiredMissing.map((one) => `Required and missing: ${one.pattern} (${one.place})`),
  ].map((text) => shown(text, SENTENCE)).join("\n");
  if (byId("hold").textContent !== trouble) byId("hold").textContent = trouble;
  byId("hold").hidden = !trouble;
  byId("control").hidden = !current.control;
  byId("pause").textContent = current.paused ? "Resume removal" : "Pause removal";
  byId("pause").dataset.ask = current.paused ? "resume" : "pause";
  drawDisks(current.filesystems);
  byId("next").replaceChildren(...current.next.map((one) => el("li", {}, name(one),
    ` ${shown(one.why, SENTENCE)}${one.goes ? `; goes now (${one.cause})` : ""}`)));
  if (!current.next.length) byId("next").replaceChildren(el("li", {}, "nothing: every image is protected"));
}

// A value that cannot be mistaken for another one.
const quoted = (text) => (/^[^\s"=]+$/.test(text) ? text : JSON.stringify(text));

function line(entry) {
  const { number, event, level, timestamp, ...fields } = entry;
  const words = Object.entries(fields)
    .map(([key, value]) => `${key}=${quoted(Array.isArray(value) ? value.join(",") : `${value}`)}`).join(" ");
  const time = new Date(timestamp).toLocaleTimeString();
  byId("lines").prepend(el("li", { class: level }, `${time} ${event} ${shown(words)}`));
  while (byId("lines").children.length > LINES) byId("lines").lastChild.remove();
  due = Math.min(due, Date.now() + SPACING);
}

function gone(items) {
  byId("gone").replaceChildren(...items.slice(0, 12).map((one) =>
    el("li", { class: one.outcome }, name(one),
      one.outcome === "removed"
        ? ` ${ago(one.at, Date.now())}, freed ${size(one.freedBytes)}: ${shown(one.why, SENTENCE)}`
        : ` ${ago(one.at, Date.now())}, NOT removed: ${shown(one.error ?? "still listed")}`)));
  if (!items.length) byId("gone").replaceChildren(el("li", {}, "nothing was removed here yet"));
}

async function refresh() {
  if (fetching || document.hidden || Date.now() < due) return;
  fetching = true;
  try {
    const [images, history, usage] =
      await Promise.all([fetched("images"), fetched("history?count=200"), fetched("usage")]);
    setImages(images.items);
    gone(history.items);
    drawUsage(usage.filesystems, history.items);
    due = Date.now() + IDLE_SPACING;
  } catch (error) {
    due = Date.now() + SPACING;
    byId("live").textContent = `not answered: ${error.message}`;
  } finally {
    fetching = false;
  }
}

async function ask(what) {
  const headers = { Authorization: `Bearer ${byId("token").value}` };
  try {
    await fetched(what, { method: "POST", headers });
    byId("answer").textContent = `${what}: done`;
  } catch (error) {
    byId("answer").textContent = error.message;
  }
}

begin();
byId("pause").addEventListener("click", () => ask(byId("pause").dataset.ask));
byId("reclaim").addEventListener("click", () => ask("reclaim"));
const stream = new EventSource("api/v1/stream");
stream.addEventListener("status", (event) => status(JSON.parse(event.data)));
stream.addEventListener("line", (event) => line(JSON.parse(event.data)));
stream.addEventListener("error", () => {
  byId("live").textContent = "the daemon does not answer; trying again …";
});
setInterval(refresh, 500);
