// Usage of each image filesystem, now and over time: a bar with both marks, and a chart on which
// every removal is a line.

import { byId, el, shown, size, svg } from "./dom.js";

const charts = new Map(); // mountpoint -> {box, bar, text, chart}
const ink = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

export function drawDisks(filesystems) {
  for (const fs of filesystems) {
    const disk = charts.get(fs.mountpoint) ?? addDisk(fs.mountpoint);
    disk.box.classList.toggle("reclaiming", fs.pressure === "reclaiming");
    const inodes = fs.inodesUsedPercent === null ? "" : `, ${fs.inodesUsedPercent.toFixed(1)}% of the inodes`;
    disk.text.textContent =
      `${shown(fs.mountpoint)}: ${fs.usedPercent.toFixed(1)}%${asDf(fs)} of ${size(fs.capacityBytes)} used, ` +
      `${fs.pressure}${inodes}`;
    disk.from.textContent = `high mark ${fs.highFrom}`;
    disk.bar.replaceChildren(bar(fs));
    disk.bar.setAttribute("aria-label", disk.text.textContent);
  }
  const listed = new Set(filesystems.map((fs) => fs.mountpoint));
  for (const [mountpoint, disk] of charts) {
    if (!listed.has(mountpoint)) { disk.box.remove(); charts.delete(mountpoint); }
  }
}

// What `df` says, if that differs: it leaves root's reserve out.
function asDf(fs) {
  const other = Math.abs(fs.usedPercent - fs.dfPercent) >= 0.5;
  return other ? ` (df: ${fs.dfPercent.toFixed(0)}%, which leaves root's reserve out)` : "";
}

function addDisk(mountpoint) {
  const text = el("div");
  const from = el("div", { class: "dim" });
  const line = el("div", { class: "bar", role: "img" });
  const chart = el("div", { class: "chart" });
  const box = el("div", { class: "disk" }, text, from, line, chart);
  byId("disks").append(box);
  const disk = { box, text, from, bar: line, place: chart, chart: null, removals: [] };
  charts.set(mountpoint, disk);
  return disk;
}

function bar(fs) {
  const percent = (bytes) => `${Math.min(100, (100 * bytes) / Math.max(1, fs.capacityBytes))}%`;
  const mark = (bytes, text, y, end) => [
    svg("line", { class: "mark", x1: percent(bytes), x2: percent(bytes), y1: 0, y2: "100%" }),
    svg("text", { class: "label", x: percent(bytes), y, "text-anchor": end }, text),
  ];
  return svg("svg", {},
    svg("rect", { class: "used", width: percent(fs.usedBytes), height: "100%", rx: 4 }),
    ...mark(fs.lowBytes, `low ${size(fs.lowBytes)} `, 36, "end"),
    ...mark(fs.highBytes, ` high ${size(fs.highBytes)}`, 36, "start"));
}

export function drawUsage(series, removals) {
  for (const [mountpoint, points] of Object.entries(series)) {
    const disk = charts.get(mountpoint);
    if (!disk || points.length < 2) continue;
    disk.removals = removals
      .filter((one) => one.mountpoint === mountpoint && one.outcome === "removed")
      .map((one) => Date.parse(one.at) / 1000);
    const column = (n) => points.map((point) => point[n]);
    const data = [column(0), column(1), column(2), column(3)];
    if (disk.chart) disk.chart.setData(data);
    else disk.chart = new uPlot(options(disk), data, disk.place);
  }
}

function options(disk) {
  const bytes = (_, values) => values.map((value) => (value === null ? "" : size(value)));
  const axis = () => ({ stroke: () => ink("--dim"), grid: { stroke: () => ink("--line") } });
  const line = (label, colour, dash) => ({
    label, stroke: () => ink(colour), dash, width: 1.5, points: { show: false },
    value: (_, value) => (value === null ? "" : size(value)),
  });
  return {
    width: disk.place.clientWidth || 300, height: 180,
    axes: [axis(), { ...axis(), values: bytes, size: 80 }],
    series: [{}, { ...line("used", "--good"), fill: () => `${ink("--good")}22` },
      line("high", "--bad", [6, 4]), line("low", "--dim", [6, 4])],
    legend: { live: false },
    hooks: { draw: [(chart) => removalLines(chart, disk.removals)] },
  };
}

function removalLines(chart, removals) {
  const { ctx, bbox } = chart;
  ctx.save();
  ctx.strokeStyle = ink("--warn");
  ctx.globalAlpha = 0.6;
  for (const at of removals) {
    const x = chart.valToPos(at, "x", true);
    if (x < bbox.left || x > bbox.left + bbox.width) continue;
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height / 5);
    ctx.stroke();
  }
  ctx.restore();
}

addEventListener("resize", () => {
  for (const disk of charts.values()) {
    disk.chart?.setSize({ width: disk.place.clientWidth, height: 180 });
  }
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  for (const disk of charts.values()) disk.chart?.redraw();
});
