"use strict";
// Contents of the page: arrays in one compressed block, and a description of them.
const probcat = { ready: false };

probcat.unpack = async function () {
  const info = JSON.parse(document.getElementById("probcat-info").textContent);
  const text = atob(document.getElementById("probcat-data").textContent.trim());
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  const buffer = await new Response(stream).arrayBuffer();
  const types = {
    uint8: Uint8Array, uint16: Uint16Array, uint32: Uint32Array, int32: Int32Array,
    float32: Float32Array, float64: Float64Array,
  };
  const arrays = {};
  for (const [name, [type, offset, length]] of Object.entries(info.arrays)) {
    arrays[name] = new types[type](buffer, offset, length);
  }
  return [info, arrays];
};

// Convert integers to values: 0 is NaN, 1 and the largest integer are the ends of the range.
probcat.decode = function (coded, low, high, greatest) {
  const values = new Float32Array(coded.length);
  const step = (high - low) / (greatest - 1);
  for (let i = 0; i < coded.length; i++) {
    values[i] = coded[i] === 0 ? NaN : low + (coded[i] - 1) * step;
  }
  return values;
};

// Pixels in the form that bokeh expects.
probcat.picture = function (values, width) {
  const { ndarray } = Bokeh.require("core/util/ndarray");
  const dtype = values instanceof Uint32Array ? "uint32" : "float32";
  return ndarray(values, { dtype, shape: [values.length / width, width] });
};

probcat.escape = function (text) {
  const names = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };
  return String(text).replace(/[&<>"']/g, (letter) => names[letter]);
};

// A number with as many digits as its error, or five.
probcat.number = function (value, error) {
  if (value === undefined || Number.isNaN(value)) return "–";
  if (Number.isInteger(value) && Math.abs(value) < 1e9) return String(value);
  if (error > 0 && Number.isFinite(error)) {
    const decimals = Math.min(Math.max(1 - Math.floor(Math.log10(error)), 0), 7);
    return value.toFixed(decimals);
  }
  const size = Math.abs(value);
  return size >= 1e5 || (size < 1e-3 && size > 0) ? value.toExponential(3) : String(+value.toPrecision(5));
};

probcat.layers = ["data", "model", "residual", "owners", "map"];

// Called by bokeh when its models are ready, with all models that have a name.
probcat.start = async function (models) {
  probcat.models = models;
  try {
    if (typeof DecompressionStream === "undefined") {
      throw new Error("this browser is too old, since it lacks DecompressionStream");
    }
    [probcat.info, probcat.arrays] = await probcat.unpack();
    probcat.chosen = -1;
    probcat.kind = models.kind_choice.value;
    probcat.least = models.least_prob.value;
    probcat.fillTable();
    probcat.fitWindow();
    probcat.showImage(0, true);
    probcat.filter(probcat.least);
    for (const which of ["first", "second"]) probcat.trace(which, models[which + "_choice"].value);
    for (const row of document.querySelectorAll("#diagnostics tr[data-name]")) {
      row.addEventListener("click", () => { models.first_choice.value = row.dataset.name; });
    }
    const whole = probcat.arrays["table/object_id"];
    if (whole.length) probcat.choose(0);
    probcat.ready = true;
  } catch (error) {
    const problem = document.getElementById("problem");
    problem.textContent = "The page could not be displayed: " + error.message;
    problem.hidden = false;
    throw error;
  }
};

// Make the panels as large as possible, with room for the details beside them.
probcat.fitWindow = function () {
  const { left_plot, right_plot } = probcat.models;
  const aspect = left_plot.frame_width / left_plot.frame_height;
  const room = (document.documentElement.clientWidth - 36 - 400 - 20) / 2 - 140;
  const side = Math.min(Math.max(room, 360), 640);
  const size = { frame_width: Math.round(side * Math.min(aspect, 1)), frame_height: Math.round(side / Math.max(aspect, 1)) };
  for (const plot of [left_plot, right_plot]) plot.setv(size);
};

probcat.trace = function (which, name) {
  const { info, arrays, models } = probcat;
  const index = info.traces.names.indexOf(name);
  if (index < 0) return;
  const draws = arrays["traces/draws"], count = draws.length, chains = info.traces.chains;
  const colours = ["#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#e377c2", "#7f7f7f"];
  const x = [], y = [], colour = [];
  for (let chain = 0; chain < chains; chain++) {
    const first = (index * chains + chain) * count;
    x.push(Array.from(draws));
    y.push(Array.from(arrays["traces/values"].subarray(first, first + count)));
    colour.push(colours[chain % colours.length]);
  }
  models[which + "_trace"].data = { x, y, colour };
  const least = Math.min(...y.map((line) => Math.min(...line))), most = Math.max(...y.map((line) => Math.max(...line)));
  const room = 0.04 * (most - least);
  for (const [axis, start, end] of [["x", draws[0], draws[count - 1]], ["y", least - room, most + room]]) {
    models[`${which}_${axis}`].setv({ start, end, reset_start: start, reset_end: end });
  }
};
