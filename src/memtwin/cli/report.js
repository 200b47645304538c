"use strict";
// Draws the charts of a memtwin report from the JSON in the page. No library, no network.
const report = JSON.parse(document.getElementById("report").textContent);
const curve = report.kind === "verify" ? report.curve : report.kind === "sizing" ? report : null;
const results = curve ? curve.points : [report.result];
const verified = new Map((report.kind === "verify" ? report.points : []).map((p) => [p.limit_bytes, p]));
const MIB = 1048576, SVG = "http://www.w3.org/2000/svg";

/* ---- words ---- */
function bytes(n) {
  for (const [unit, letter] of [[2 ** 40, "T"], [2 ** 30, "G"], [MIB, "M"], [1024, "K"]])
    if (n >= unit) return trim(n / unit) + letter;
  return String(Math.round(n));
}
function trim(x) { return x >= 100 || Number.isInteger(x) ? String(Math.round(x)) : x.toFixed(1).replace(/\.0$/, ""); }
function count(n) {
  for (const [unit, letter] of [[1e9, "G"], [1e6, "M"], [1e3, "k"]]) if (n >= unit) return trim(n / unit) + letter;
  return trim(n);
}
function percent(x) { return x === null ? "\u2013" : (x >= 10 ? Math.round(x).toLocaleString("en") : trim(x)) + " %"; }
function seconds(ns) { const s = ns / 1e9; return s >= 2 ? trim(s) + " s" : s >= 1 ? s.toFixed(2) + " s" : trim(s * 1e3) + " ms"; }
function limitName(p) { return p.limit_bytes === null ? "no limit" : bytes(p.limit_bytes); }

/* ---- drawing ---- */
function node(parent, name, attributes, text) {
  const made = document.createElementNS(SVG, name);
  for (const key in attributes) made.setAttribute(key, attributes[key]);
  if (text !== undefined) made.textContent = text;
  parent.appendChild(made);
  return made;
}
const linear = (from, to, low, high) => (x) => low + (high - low) * (to === from ? 0 : (x - from) / (to - from));
function symlog(top, unit, low, high) { // 0 stays at the foot, above `unit` it is logarithmic
  const full = Math.log1p(top / unit);
  return (x) => low + (high - low) * (full ? Math.log1p(Math.max(x, 0) / unit) / full : 0);
}
function niceStep(span, wanted, base) {
  const raw = span / wanted, power = base === 2 ? 2 ** Math.floor(Math.log2(raw)) : 10 ** Math.floor(Math.log10(raw));
  for (const k of base === 2 ? [1, 2] : [1, 2, 5, 10]) if (power * k >= raw * 0.99) return power * k;
  return power * 10;
}
function ticks(top, wanted, base = 10, from = 0) {
  const step = niceStep(Math.max(top - from, 1e-9), wanted, base), found = [];
  for (let at = Math.ceil(from / step) * step; at <= top * 1.0001; at += step) found.push(at);
  return found;
}
function logTicks(top, first, wanted) { // the densest of these ladders that has room
  for (const [steps, power] of [[[1, 2, 5], 10], [[1, 3], 10], [[1], 10], [[1], 100], [[1], 10000]]) {
    const found = [0];
    for (let base = first; base <= top * 1.001; base *= power) for (const k of steps) if (base * k <= top * 1.001) found.push(base * k);
    if (found.length <= wanted + 1 || power === 10000) return found;
  }
}
function line(points) { return points.map(([x, y], i) => (i ? "L" : "M") + x.toFixed(1) + " " + y.toFixed(1)).join(""); }

class Chart { // an SVG that is drawn anew when its width changes, with a cursor and a tip
  constructor(host, draw) {
    this.host = host; this.draw = draw; this.width = 0;
    this.tip = host.appendChild(document.createElement("div")); this.tip.className = "tip";
    new ResizeObserver(() => { if (host.clientWidth !== this.width) this.redraw(); }).observe(host);
    host.addEventListener("pointermove", (e) => this.point(e));
    host.addEventListener("pointerleave", () => this.hide());
    this.redraw();
  }
  redraw() {
    this.width = this.host.clientWidth; this.hide();
    if (this.svg) this.svg.remove();
    if (!this.width) return;
    this.svg = node(this.host, "svg", { role: "img", "aria-label": this.host.dataset.label || "chart" });
    this.stops = []; this.draw(this, this.width);
  }
  size(height) { this.svg.setAttribute("viewBox", `0 0 ${this.width} ${height}`); this.svg.setAttribute("height", height); this.height = height; }
  cursor(top, foot) { this.bar = node(this.svg, "line", { class: "cursor", y1: top, y2: foot }); }
  point(event) { // stops: [{x, title, rows: [[name, text]]}]
    if (!this.stops.length) return;
    const box = this.host.getBoundingClientRect(), x = event.clientX - box.left;
    const stop = this.stops.reduce((a, b) => (Math.abs(b.x - x) < Math.abs(a.x - x) ? b : a));
    this.bar.setAttribute("x1", stop.x); this.bar.setAttribute("x2", stop.x); this.bar.style.visibility = "visible";
    this.tip.replaceChildren(Object.assign(document.createElement("b"), { textContent: stop.title }));
    for (const [name, text] of stop.rows) {
      const row = this.tip.appendChild(document.createElement("div"));
      for (const word of [name, text]) row.appendChild(document.createElement("span")).textContent = word;
    }
    const wide = this.tip.offsetWidth, left = stop.x + 14 + wide > this.width ? stop.x - 14 - wide : stop.x + 14;
    this.tip.style.left = Math.max(0, left) + "px";
    this.tip.style.top = Math.max(0, Math.min(event.clientY - box.top - 20, this.height - this.tip.offsetHeight)) + "px";
    this.tip.style.visibility = "visible";
  }
  hide() { this.tip.style.visibility = "hidden"; if (this.bar) this.bar.style.visibility = "hidden"; }
}
function panel(svg, box, title, marks, y, name) { // frame of one panel: title, horizontal grid
  node(svg, "text", { class: "title", x: box.left, y: box.top - 9 }, title);
  for (const mark of marks) {
    node(svg, "line", { class: mark ? "grid" : "axis", x1: box.left, x2: box.right, y1: y(mark), y2: y(mark) });
    node(svg, "text", { x: box.left - 7, y: y(mark) + 4, "text-anchor": "end" }, name(mark));
  }
}
function axis(svg, box, marks, x, name) {
  for (const mark of marks) node(svg, "text", { x: x(mark), y: box.foot + 19, "text-anchor": "middle" }, name(mark));
}

/* ---- the sizing curve ---- */
function drawCurve(chart, width) {
  const svg = chart.svg, small = width < 560, left = small ? 42 : 52, right = width - 14;
  const alive = results.filter((p) => p.verdict === "finished"), dead = results.filter((p) => p.verdict !== "finished");
  const largest = Math.max(...results.map((p) => p.limit_bytes)), x = linear(0, largest * 1.02, left, right);
  const flags = [
    ["smallest_surviving_bytes", "survives", "--soft"], ["knee_bytes", "knee", "--knee"],
    ["smallest_under_target_bytes", `under ${trim(curve.slowdown_target_percent)} %`, "--good"],
  ].filter(([key]) => curve[key] !== null).map(([key, word, colour]) => ({ at: curve[key], word: `${word} ${bytes(curve[key])}`, colour }));
  if (curve.unlimited && curve.unlimited.peak_rss_bytes <= largest)
    flags.push({ at: curve.unlimited.peak_rss_bytes, word: `peak RSS ${bytes(curve.unlimited.peak_rss_bytes)}`, colour: "--faint" });
  const rows = []; // flags side by side where they fit, else one row lower
  for (const flag of flags.sort((a, b) => a.at - b.at)) {
    const half = flag.word.length * 3.4 + 6;
    flag.middle = Math.min(Math.max(x(flag.at), left + half), right - half);
    flag.row = rows.findIndex((end) => flag.middle - half > end);
    if (flag.row < 0) flag.row = rows.push(0) - 1;
    rows[flag.row] = flag.middle + half + 4;
  }
  const head = 16 + rows.length * 20, tall = small ? 170 : 210, low = small ? 140 : 165, gap = 48;
  const upper = { left, right, top: head + 22, foot: head + 22 + tall }, lower = { left, right, top: head + 22 + tall + gap, foot: head + 22 + tall + gap + low };
  chart.size(lower.foot + 46);
  const slowest = Math.max(curve.slowdown_target_percent * 2, ...alive.map((p) => p.slowdown_percent || 0));
  const measured = [...verified.values()].filter((p) => p.measured_maj_flt !== null);
  const worst = Math.max(10, ...alive.map((p) => p.maj_flt), ...measured.flatMap((p) => p.runs.map((r) => r.maj_flt)));
  const ySlow = symlog(slowest, 1, upper.foot, upper.top), yFaults = symlog(worst, 10, lower.foot, lower.top);
  const killed = Math.max(0, ...dead.map((p) => p.limit_bytes));
  if (killed) for (const box of [upper, lower]) {
    node(svg, "rect", { x: left, y: box.top, width: x(killed) - left + 5, height: box.foot - box.top, fill: "var(--bad-wash)" });
    if (box === upper && x(killed) - left > 60) node(svg, "text", { x: left + 8, y: box.top + 17, style: "fill:var(--bad)" }, small ? "killed" : "killed: out of memory");
  }
  for (const flag of flags) {
    const y = 14 + flag.row * 20, at = x(flag.at);
    node(svg, "line", { x1: at, x2: at, y1: y + 5, y2: lower.foot, stroke: `var(${flag.colour})`, "stroke-width": 1.3, "stroke-dasharray": flag.colour === "--faint" ? "2 4" : "none", opacity: .75 });
    node(svg, "text", { class: "strong", x: flag.middle, y, "text-anchor": "middle", style: `fill:var(${flag.colour})` }, flag.word);
  }
  panel(svg, upper, "Predicted slowdown", logTicks(slowest, 1, 6), ySlow, (v) => count(v) + " %");
  panel(svg, lower, "Major faults" + (measured.length ? ": predicted and measured" : ""), logTicks(worst, 10, 5), yFaults, count);
  const target = ySlow(curve.slowdown_target_percent);
  node(svg, "line", { x1: left, x2: right, y1: target, y2: target, stroke: "var(--good)", "stroke-dasharray": "5 4" });
  node(svg, "text", { x: right, y: target - 5, "text-anchor": "end", style: "fill:var(--good)" }, `target ${trim(curve.slowdown_target_percent)} %`);
  const floor = (y) => `L${x(alive.at(-1).limit_bytes).toFixed(1)} ${y}L${x(alive[0].limit_bytes).toFixed(1)} ${y}Z`;
  for (const [y, box, value] of [[ySlow, upper, (p) => p.slowdown_percent || 0], [yFaults, lower, (p) => p.maj_flt]]) {
    if (!alive.length) break;
    const path = line(alive.map((p) => [x(p.limit_bytes), y(value(p))]));
    node(svg, "path", { d: path + floor(box.foot), fill: "var(--accent-wash)" });
    node(svg, "path", { d: path, fill: "none", stroke: "var(--accent)", "stroke-width": 2.4, "stroke-linejoin": "round" });
    for (const p of alive) node(svg, "circle", { cx: x(p.limit_bytes), cy: y(value(p)), r: 3.6, fill: "var(--accent)", stroke: "var(--card)", "stroke-width": 1.3 });
  }
  for (const box of [upper, lower]) for (const p of dead) cross(svg, x(p.limit_bytes), box.foot - 11, "var(--bad)");
  for (const [limit, p] of verified) if (p.measured_maj_flt === null) cross(svg, x(limit) + 11, lower.foot - 11, "var(--measured)");
  for (const p of measured) {
    const done = p.runs.filter((r) => r.verdict === "finished").map((r) => r.maj_flt), at = x(p.limit_bytes);
    node(svg, "line", { x1: at, x2: at, y1: yFaults(Math.min(...done)), y2: yFaults(Math.max(...done)), stroke: "var(--measured)", "stroke-width": 2 });
    node(svg, "circle", { cx: at, cy: yFaults(p.measured_maj_flt), r: 6.5, fill: "none", stroke: "var(--measured)", "stroke-width": 2.2 });
  }
  axis(svg, lower, ticks(largest, small ? 5 : 9, 2).filter((v) => v > 0), x, bytes);
  node(svg, "text", { x: (left + right) / 2, y: lower.foot + 40, "text-anchor": "middle" }, "memory limit");
  chart.cursor(upper.top, lower.foot);
  chart.stops = results.map((p) => ({ x: x(p.limit_bytes), title: "limit " + limitName(p), rows: curveRows(p) }));
}
function cross(svg, x, y, colour) {
  node(svg, "path", { d: `M${x - 4} ${y - 4}l8 8m0-8l-8 8`, stroke: colour, "stroke-width": 2, fill: "none" });
}
function curveRows(p) {
  const rows = [["ends", p.verdict], ["slowdown", percent(p.slowdown_percent)], ["major faults", count(p.maj_flt)]];
  const real = verified.get(p.limit_bytes);
  if (real) rows.push(["measured", real.measured_maj_flt === null ? real.runs[0].verdict : count(real.measured_maj_flt)]);
  if (real && real.error_percent !== null) rows.push(["error", (real.error_percent > 0 ? "+" : "") + real.error_percent.toFixed(1) + " %"]);
  return [...rows, ["peak RSS", bytes(p.peak_rss_bytes)], ["read", bytes(p.bytes_read)], ["written", bytes(p.bytes_written)]];
}

/* ---- where the time goes ---- */
function causes() { return [...new Set(results.flatMap((p) => Object.keys(p.stall_ns).filter((k) => p.stall_ns[k] > 0)))]; }
function causeColour(i) { return `var(--s${i % 6})`; }
function drawStalls(chart, width) {
  const svg = chart.svg, names = causes(), left = 62, right = width - 74, row = 26;
  chart.size(results.length * row + 26);
  results.forEach((p, i) => {
    const y = i * row + 4, lost = names.map((name) => p.stall_ns[name] || 0), stalled = lost.reduce((a, b) => a + b, 0);
    const total = Math.max(p.run_ns, stalled, 1), computing = total - stalled;
    node(svg, "text", { class: "strong", x: left - 10, y: y + 13, "text-anchor": "end" }, limitName(p));
    let at = left;
    [computing, ...lost].forEach((part, k) => {
      const wide = (right - left) * part / total;
      if (wide > 0.2) node(svg, "rect", { x: at, y, width: wide, height: row - 8, fill: k ? causeColour(k - 1) : "var(--run)" });
      at += wide;
    });
    const dead = p.verdict !== "finished";
    node(svg, "text", { x: right + 8, y: y + 13, style: dead ? "fill:var(--bad)" : "" }, dead ? (p.verdict === "oom-killed" ? "killed" : p.verdict) : seconds(p.run_ns));
  });
  for (const share of [0, 25, 50, 75, 100])
    node(svg, "text", { x: left + (right - left) * share / 100, y: results.length * row + 18, "text-anchor": "middle" }, share + " %");
}

/* ---- the timeline ---- */
let shown = 0;
function drawTimeline(chart, width) {
  const svg = chart.svg, p = results[shown], t = p.timeline, n = t.time_ns.length;
  const small = width < 560, left = small ? 42 : 52, right = width - 14;
  const heights = small ? [150, 90, 105] : [200, 105, 130], boxes = [];
  let top = 26;
  for (const height of heights) { boxes.push({ left, right, top, foot: top + height }); top += height + 42; }
  const [memory, faults, free] = boxes;
  chart.size(free.foot + 44);
  if (!n) { node(svg, "text", { x: left, y: 40 }, "This replay kept no timeline."); return; }
  const first = t.time_ns[0], last = t.time_ns[n - 1] - first || 1, each = [...t.time_ns.keys()];
  const x = (at) => left + (right - left) * (at - first) / last;
  const peak = Math.max(...each.map((i) => t.rss_bytes[i] + t.swapped_bytes[i]), ...t.file_bytes, p.limit_bytes || 0);
  const y = linear(0, peak * 1.08, memory.foot, memory.top);
  panel(svg, memory, "Memory of the program", ticks(peak, 4, 2), y, bytes);
  area(svg, each.map((i) => [x(t.time_ns[i]), y(t.rss_bytes[i]), memory.foot]), "var(--accent)", .3);
  area(svg, each.map((i) => [x(t.time_ns[i]), y(t.rss_bytes[i] + t.swapped_bytes[i]), y(t.rss_bytes[i])]), "var(--swap)", .35);
  node(svg, "path", { d: line(each.map((i) => [x(t.time_ns[i]), y(t.file_bytes[i])])), fill: "none", stroke: "var(--file)", "stroke-width": 1.8 });
  if (p.limit_bytes !== null) {
    node(svg, "line", { x1: left, x2: right, y1: y(p.limit_bytes), y2: y(p.limit_bytes), stroke: "var(--bad)", "stroke-dasharray": "6 4", "stroke-width": 1.4 });
    node(svg, "text", { x: right, y: y(p.limit_bytes) - 5, "text-anchor": "end", style: "fill:var(--bad)" }, "limit " + bytes(p.limit_bytes));
  }
  const rate = (column, i) => i ? (column[i] - column[i - 1]) / Math.max((t.time_ns[i] - t.time_ns[i - 1]) / 1e9, 1e-9) : 0;
  const most = Math.max(10, ...each.map((i) => rate(t.maj_flt, i)), ...each.map((i) => rate(t.min_flt, i)));
  const yRate = symlog(most, 10, faults.foot, faults.top);
  panel(svg, faults, "Faults a second", logTicks(most, 10, 4), yRate, count);
  area(svg, each.map((i) => [x(t.time_ns[i]), yRate(rate(t.maj_flt, i)), faults.foot]), "var(--measured)", .32);
  node(svg, "path", { d: line(each.map((i) => [x(t.time_ns[i]), yRate(rate(t.min_flt, i))])), fill: "none", stroke: "var(--faint)", "stroke-width": 1.4 });
  const highest = Math.max(...t.free_bytes, ...t.wmark_high_bytes, 1), unit = Math.max(...t.wmark_low_bytes, MIB) / 2;
  const yFree = symlog(highest * 1.1, unit, free.foot, free.top);
  const marks = [0]; for (let at = 2 ** Math.ceil(Math.log2(unit)); at <= highest; at *= small ? 16 : 8) marks.push(at);
  panel(svg, free, "Free memory of the machine", marks, yFree, bytes);
  area(svg, each.map((i) => [x(t.time_ns[i]), yFree(t.free_bytes[i]), free.foot]), "var(--good)", .2);
  for (const [column, word, lift] of [["wmark_high_bytes", "high", -5], ["wmark_low_bytes", "low", 13]]) {
    node(svg, "path", { d: line(each.map((i) => [x(t.time_ns[i]), yFree(t[column][i])])), fill: "none", stroke: "var(--bad)", "stroke-width": 1.2, "stroke-dasharray": "4 3" });
    node(svg, "text", { x: right, y: yFree(t[column][n - 1]) + lift, "text-anchor": "end" }, `watermark ${word} ${bytes(t[column][n - 1])}`);
  }
  axis(svg, free, ticks(last / 1e9, small ? 4 : 8), (s) => x(first + s * 1e9), (s) => s ? seconds(s * 1e9) : "0");
  node(svg, "text", { x: (left + right) / 2, y: free.foot + 38, "text-anchor": "middle" }, "virtual time");
  chart.cursor(memory.top, free.foot);
  chart.stops = each.map((i) => ({
    x: x(t.time_ns[i]), title: "at " + seconds(t.time_ns[i] - first), rows: [
      ["resident", bytes(t.rss_bytes[i])], ["swapped", bytes(t.swapped_bytes[i])], ["page cache", bytes(t.file_bytes[i])],
      ["major faults/s", count(rate(t.maj_flt, i))], ["minor faults/s", count(rate(t.min_flt, i))], ["free", bytes(t.free_bytes[i])]],
  }));
}
function area(svg, triples, colour, opacity) { // [x, upper y, lower y]
  if (!triples.length) return;
  const roof = line(triples.map(([x, y]) => [x, y])), floor = line(triples.map(([x, , y]) => [x, y]).reverse()).replace("M", "L");
  node(svg, "path", { d: roof + floor + "Z", fill: colour, opacity });
  node(svg, "path", { d: roof, fill: "none", stroke: colour, "stroke-width": 1.7, "stroke-linejoin": "round" });
}

/* ---- putting it on the page ---- */
function put(id, draw) { const host = document.getElementById(id); return host ? new Chart(host, draw) : null; }
put("curve", drawCurve);
put("stalls", drawStalls);
const legend = document.getElementById("causes");
if (legend) causes().forEach((name, i) => {
  const entry = legend.appendChild(document.createElement("span")), box = entry.appendChild(document.createElement("i"));
  box.style.background = causeColour(i); entry.append("waiting: " + name.replaceAll("_", " "));
});
// open on the run that shows most: the largest limit that misses the target, if one survives it
const answer = curve ? results.findIndex((p) => p.limit_bytes === curve.smallest_under_target_bytes) : 0;
shown = answer < 0 ? results.length - 1 : Math.max(0, answer > 0 && results[answer - 1].verdict === "finished" ? answer - 1 : answer);
const timeline = put("timeline", drawTimeline), picker = document.getElementById("picker");
if (picker && results.length > 1) results.forEach((p, i) => {
  const button = picker.appendChild(document.createElement("button"));
  button.textContent = limitName(p); button.setAttribute("aria-pressed", String(i === shown));
  button.addEventListener("click", () => {
    shown = i; timeline.redraw();
    [...picker.children].forEach((other, k) => other.setAttribute("aria-pressed", String(k === i)));
  });
});
document.getElementById("theme").addEventListener("click", () => {
  const root = document.documentElement, now = root.dataset.theme ||
    (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  root.dataset.theme = now === "dark" ? "light" : "dark";
});
