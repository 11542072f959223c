// The sidecar's page: asks /live every two seconds, draws with Plotly, loads nothing from elsewhere.
"use strict";

const EVERY_MS = 2000;
const COLOURS = ["#2f7fd0", "#d9730d", "#159a78", "#b25aa6", "#a98600", "#cf4358"];
const DASHES = ["solid", "dash", "dot", "dashdot"];
const MARKS = ["circle", "diamond", "square", "triangle-up", "cross", "x"];
// From no chance to certainty; told apart by colour-blind eyes, on white and on near-black.
const CHANCE = [[0, "#c2362f"], [0.5, "#e0b13c"], [1, "#2f7fd0"]];
const UNPROMISED = "#8a94a0";

const $ = (id) => document.getElementById(id);
const dark = matchMedia("(prefers-color-scheme: dark)");
let latest = null;
let forecast = null;
let paused = false;
let timer = 0;

const percent = (share) => (share === null || share === undefined ? "–" : `${Math.round(100 * share)} %`);
const seconds = (ms) => `${(ms / 1000).toFixed(1)} s`;

async function ask(path, options = {}) {
  const headers = { ...(options.headers || {}) };
  const token = sessionStorage.getItem("token");
  if (token) headers.authorization = `Bearer ${token}`;
  const response = await fetch(path, { ...options, headers, cache: "no-store" });
  if (response.status === 401) {
    const hadToken = Boolean(token);
    sessionStorage.removeItem("token");
    $("door").hidden = false;
    throw new Error(hadToken ? "The token is wrong." : "This sidecar asks for its token.");
  }
  const body = await response.json();
  if (!response.ok) throw new Error(body.error ? body.error.message : `HTTP ${response.status}`);
  return body;
}

function say(error) {
  $("error").hidden = !error;
  const text = error ? `${error}` : "";
  if ($("error").textContent !== text) $("error").textContent = text;
}

function layout(x, y, more = {}) {
  const style = getComputedStyle(document.documentElement);
  const ink = style.getPropertyValue("--ink").trim();
  const line = style.getPropertyValue("--line").trim();
  const axis = (content) => ({ gridcolor: line, linecolor: line, zeroline: false, automargin: true, ...content, title: { text: content.title, standoff: 8 } });
  return {
    margin: { l: 56, r: 12, t: 8, b: 44 }, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: ink, family: "system-ui, sans-serif", size: 12 }, legend: { orientation: "h", y: 1.14 },
    hoverlabel: { align: "left" }, xaxis: axis(x), yaxis: axis(y), uirevision: "keep", ...more,
  };
}

function draw(id, traces, arrangement) {
  const figure = $(id).closest("figure");
  figure.hidden = false;
  Plotly.react($(id), traces, arrangement, { displayModeBar: false, responsive: true });
}

function show(id, filled) {
  const empty = $(`${id}-empty`);
  if (empty) empty.hidden = filled;
  if (!filled) $(id).closest("figure").hidden = true;
  return filled;
}

// ---- queue and plan

function engineShown(engines) {
  const select = $("engine");
  const names = engines.map((engine) => engine.name);
  const chosen = names.includes(select.value) ? select.value : names[0];
  if ([...select.options].map((option) => option.value).join("\n") !== names.join("\n")) {
    select.replaceChildren(...names.map((name) => new Option(name, name)));
  }
  select.value = chosen;
  select.disabled = names.length < 2;
  return engines.find((engine) => engine.name === chosen);
}

function drawPlan(engines) {
  const filled = show("plan", engines.length > 0);
  $("plan-details").hidden = !filled;
  $("engine-said").textContent = "";
  $("engine").closest(".controls").hidden = !filled;
  if (!filled) return;
  const engine = engineShown(engines);
  const kept = engine.expected_attainment === null ? "" : `, ${percent(engine.expected_attainment)} of promises expected to be kept`;
  const failed = engine.fallback ? "; the policy failed, this is arrival order" : "";
  $("engine-said").textContent = `${engine.running} run, ${engine.waiting} wait under ${engine.policy}${kept}${failed}; told ${engine.age_s} s ago`;
  $("plan").setAttribute("aria-label", `Timeline of the slots of ${engine.name}: ${$("engine-said").textContent}`);
  $("plan-figure").hidden = engine.places.length === 0;
  if (engine.places.length) drawBars(engine.places);
  fillRows(engine.places);
}

function drawBars(places) {
  const said = (place) => `${escaped(place.id)} (${escaped(place.slo_class)})<br>${seconds(place.begin_ms)} to ${seconds(place.end_ms)}, chance ${percent(place.chance)}<br>${escaped(place.reason.text)}`;
  const bars = (chosen, marker, more) => ({
    type: "bar", orientation: "h", base: chosen.map((p) => p.begin_ms / 1000),
    x: chosen.map((p) => Math.max(p.end_ms - p.begin_ms, 0) / 1000), y: chosen.map((p) => p.slot), width: 0.82,
    customdata: chosen.map(said), hovertemplate: "%{customdata}<extra></extra>",
    marker: { line: { width: 1, color: dark.matches ? "#12161b" : "#ffffff" }, ...marker }, ...more,
  });
  const promised = places.filter((place) => place.chance !== null);
  const others = places.filter((place) => place.chance === null);
  const scale = { color: promised.map((p) => p.chance), colorscale: CHANCE, cmin: 0, cmax: 1, colorbar: { title: { text: "chance", side: "right" }, tickformat: ".0%", thickness: 12 } };
  const traces = [bars(promised, scale, { name: "promised" })];
  if (others.length) traces.push(bars(others, { color: UNPROMISED }, { name: "nothing promised" }));
  const ends = places.filter((p) => p.runs).map((p) => p.end_ms / 1000).concat(places.map((p) => p.begin_ms / 1000));
  const slots = 1 + Math.max(...places.map((p) => p.slot), 0);
  draw("plan", traces, layout({ title: "seconds from the snapshot", range: [0, Math.max(1, 1.05 * Math.max(...ends, 0))] }, { title: "slot", tickformat: "d", dtick: slots > 16 ? undefined : 1, range: [slots - 0.5, -0.5] }, { barmode: "overlay", bargap: 0.15, showlegend: false }));
}

function fillRows(places) {
  if (!$("plan-details").open) return;
  $("plan-rows").replaceChildren(...places.map((place) => {
    const row = document.createElement("tr");
    const cells = [place.id, place.slo_class, place.slot, seconds(place.begin_ms), seconds(place.end_ms), percent(place.chance), place.reason.text];
    row.append(...cells.map((text) => Object.assign(document.createElement("td"), { textContent: text })));
    return row;
  }));
}

function escaped(text) {
  return String(text).replace(/[&<>"]/g, (sign) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[sign]);
}

// ---- what became of requests

function drawAttainment(classes) {
  const names = Object.keys(classes);
  if (!show("attainment", names.length > 0)) return;
  const traces = names.map((name, at) => ({
    type: "scatter", mode: "lines+markers", name: escaped(name), x: classes[name].map((p) => new Date(1000 * p.at_unix_s)),
    y: classes[name].map((p) => p.attainment), text: classes[name].map((p) => `${p.requests} requests`),
    line: { color: COLOURS[at % COLOURS.length], dash: DASHES[at % DASHES.length] }, marker: { symbol: MARKS[at % MARKS.length], size: 7 },
    hovertemplate: "%{y:.0%}, %{text}",
  }));
  draw("attainment", traces, layout({ title: "", type: "date" }, { title: "promises kept", tickformat: ".0%", range: [-0.03, 1.05] }));
  $("attainment-said").textContent = names.map((name) => {
    const all = classes[name].reduce((sum, p) => sum + p.requests, 0);
    const kept = classes[name].reduce((sum, p) => sum + p.requests * p.attainment, 0);
    return `${name}: ${percent(kept / all)} of ${all}`;
  }).join("; ");
}

function drawLengths(classes) {
  const names = Object.keys(classes);
  if (!show("lengths", names.length > 0)) return;
  const all = names.flatMap((name) => classes[name].flat());
  const top = Math.max(...all, 2) * 1.3;
  const traces = names.map((name, at) => ({
    type: "scatter", mode: "markers", name: escaped(name), x: classes[name].map((p) => p[0]), y: classes[name].map((p) => p[1]),
    marker: { color: COLOURS[at % COLOURS.length], symbol: MARKS[at % MARKS.length], size: 7, opacity: 0.75 },
    hovertemplate: "predicted %{x}, actual %{y}",
  }));
  traces.push({ type: "scatter", mode: "lines", x: [1, top], y: [1, top], line: { color: UNPROMISED, dash: "dot" }, hoverinfo: "skip", showlegend: false });
  draw("lengths", traces, layout({ title: "predicted median (tokens)", type: "log" }, { title: "actual (tokens)", type: "log" }));
  const points = names.flatMap((name) => classes[name]);
  const longer = points.filter((p) => p[1] > p[0]).length;
  $("lengths-said").textContent = `${points.length} answers; ${percent(longer / points.length)} longer than the predicted median`;
}

function drawCalibration(found) {
  if (!show("calibration", found.answers > 0)) return;
  const traces = [
    { type: "scatter", mode: "lines+markers", name: "observed", x: found.levels, y: found.observed, line: { color: COLOURS[0] }, marker: { size: 8 }, hovertemplate: "below the %{x:.0%} quantile: %{y:.0%}<extra></extra>" },
    { type: "scatter", mode: "lines", name: "calibrated", x: [0, 1], y: [0, 1], line: { color: UNPROMISED, dash: "dot" }, hoverinfo: "skip" },
  ];
  draw("calibration", traces, layout({ title: "predicted quantile", tickformat: ".0%", range: [0, 1] }, { title: "answers below it", tickformat: ".0%", range: [0, 1.02] }));
  const high = found.observed[found.observed.length - 1];
  $("calibration-said").textContent = `${percent(high)} of ${found.answers} answers were no longer than their 90 % quantile`;
}

// ---- the prompt box

function fillClasses(classes) {
  const names = Object.keys(classes);
  const select = $("slo-class");
  if ([...select.options].map((option) => option.value).join("\n") === names.join("\n")) return;
  const chosen = select.value;
  select.replaceChildren(...names.map((name) => new Option(name, name)));
  if (names.includes(chosen)) select.value = chosen;
}

async function predict(event) {
  event.preventDefault();
  const button = event.submitter || $("ask").querySelector("button");
  button.disabled = true;
  try {
    const content = { prompt: $("prompt").value, slo_class: $("slo-class").value || "chat" };
    if ($("max-tokens").value) content.max_tokens = Number($("max-tokens").value);
    forecast = await ask("predict", { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(content) });
    drawForecast();
    $("forecast-said").textContent = forecastWords();
  } catch (error) {
    $("forecast-said").textContent = `No forecast: ${error.message}`;
    $("forecast").closest("figure").hidden = true;
    forecast = null;
  } finally {
    button.disabled = false;
  }
}

function forecastWords() {
  const { quantiles, osl, source, model } = forecast;
  const from = source === "prior" ? "the class's prior (no model answered)" : `${model.name}, ${model.kind}, version ${model.version}`;
  return `About ${osl} tokens; half of such answers have ${quantiles["0.25"]} to ${quantiles["0.75"]}, nine of ten at most ${quantiles["0.9"]}. From ${from}.`;
}

function drawForecast() {
  const bins = (forecast.lengths.length - 1) / 2;
  const edges = forecast.lengths.slice(0, bins + 1);
  const mass = forecast.lengths.slice(bins + 1);
  const widths = mass.map((_, at) => edges[at + 1] - edges[at]);
  const trace = {
    type: "bar", x: mass.map((_, at) => edges[at] + widths[at] / 2 + 0.5), width: widths, y: mass.map((p, at) => p / widths[at]),
    customdata: mass.map((p, at) => `${edges[at] + 1} to ${edges[at + 1]} tokens: ${(100 * p).toFixed(1)} %`),
    hovertemplate: "%{customdata}<extra></extra>", marker: { color: COLOURS[0], line: { width: 0 } },
  };
  const mark = (q, name) => ({ type: "line", x0: q, x1: q, yref: "paper", y0: 0, y1: 1, line: { color: COLOURS[1], dash: "dash" }, label: { text: name, textposition: "end", textangle: 0, font: { size: 11 } } });
  const { quantiles } = forecast;
  draw("forecast", [trace], layout({ title: "tokens", range: [0, 1.1 * Math.max(quantiles["0.99"], 4)] }, { title: "chance per token" }, { bargap: 0, shapes: [mark(quantiles["0.5"], "median"), mark(quantiles["0.9"], "90 %")], margin: { l: 70, r: 12, t: 20, b: 44 } }));
}

// ---- life

function drawAll() {
  if (!latest) return;
  drawPlan(latest.engines);
  drawAttainment(latest.attainment);
  drawLengths(latest.lengths);
  drawCalibration(latest.calibration);
  fillClasses(latest.slo_classes);
  const { model, state, database, finished } = latest;
  const said = { trained: `${model.name} (${model.kind}, ${model.version})`, fallback: "no model: priors learned from finished requests", none: "no model, nothing learned yet" }[state];
  const kept = database.up ? "" : `; the database is away, ${database.spooled} observations wait on disk`;
  const text = `${said}; ${finished} finished requests${kept}`;
  if ($("status").textContent !== text) $("status").textContent = text;
  document.body.dataset.updated = String(Number(document.body.dataset.updated || 0) + 1);
}

async function refresh() {
  clearTimeout(timer);
  try {
    latest = await ask("live");
    $("door").hidden = true;
    say(null);
    drawAll();
  } catch (error) {
    say(error instanceof TypeError ? "The sidecar does not answer; trying again every two seconds." : error.message);
  }
  if (!paused && !document.hidden) timer = setTimeout(refresh, EVERY_MS);
}

function togglePause() {
  paused = !paused;
  $("pause").setAttribute("aria-pressed", String(paused));
  $("pause").textContent = paused ? "Go on" : "Pause";
  if (paused) clearTimeout(timer); else refresh();
}

$("ask").addEventListener("submit", predict);
$("pause").addEventListener("click", togglePause);
$("engine").addEventListener("change", drawAll);
$("plan-details").addEventListener("toggle", drawAll);
$("door").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem("token", $("token").value);
  $("token").value = "";
  refresh();
});
document.addEventListener("visibilitychange", () => { if (!document.hidden && !paused) refresh(); });
dark.addEventListener("change", () => { drawAll(); if (forecast) drawForecast(); });
refresh();
