// Objects: the table, the selected object, its maps, and the objects that overlap with it.

probcat.fillTable = function () {
  const { info, arrays, models } = probcat;
  const data = {};
  for (const [name, values] of Object.entries(arrays)) {
    if (name.startsWith("table/")) data[name.slice(6)] = Array.from(values);
  }
  models.objects.data = Object.assign(data, info.text);
};

// Show objects that exist with at least this probability, in the table and on the images.
probcat.filter = function (least) {
  const { arrays, models } = probcat;
  probcat.least = least;
  const prob = arrays["table/prob_exist"];
  const shown = Array.from(prob, (value) => value >= least);
  models.table_filter.booleans = shown;
  probcat.drawMarkers();
  const count = shown.filter(Boolean).length;
  document.getElementById("count").textContent = `${count} of ${prob.length} objects are shown.`;
};

probcat.choose = function (row) {
  probcat.models.objects.selected.indices = row < 0 ? [] : [row];
};

probcat.find = function (text) {
  const row = probcat.arrays["table/object_id"].indexOf(Number(text));
  if (text.trim() === "" || row < 0) return;
  if (probcat.arrays["table/prob_exist"][row] < probcat.least) probcat.models.least_prob.value = 0;
  if (probcat.arrays["table/prob_exist"][row] < probcat.least) probcat.filter(0);
  probcat.choose(row);
  probcat.zoomTo(row);
};

// Called when the selection of the table changes, by the user or by a script.
probcat.select = function (row) {
  if (!probcat.info) return;
  probcat.chosen = row;
  probcat.drawChosen();
  probcat.describe();
};

// Zoom to an object's footprint and its surroundings.
probcat.zoomTo = function (row) {
  const edges = probcat.edges(probcat.stamp(row, "footprint"));
  const xs = [...edges.x0, ...edges.x1], ys = [...edges.y0, ...edges.y1];
  const [ny, nx] = probcat.info.images[probcat.image].shape;
  const extent = xs.length ? Math.max(Math.max(...xs) - Math.min(...xs), Math.max(...ys) - Math.min(...ys)) : 6;
  const half = Math.min(Math.max(extent, 12), Math.max(nx, ny) / 2);
  probcat.setView(probcat.of("object/x")[row], probcat.of("object/y")[row], half, half);
};

// Select the nearest visible object close to the pointer, or else the main owner of the pixel.
probcat.click = function (x, y) {
  if (!probcat.ready) return;
  const { x_range, left_plot } = probcat.models;
  const reach = (8 * (x_range.end - x_range.start)) / left_plot.frame_width;
  const xs = probcat.of("object/x"), ys = probcat.of("object/y");
  const prob = probcat.arrays["table/prob_exist"];
  let best = -1, least = reach;
  for (let i = 0; i < xs.length; i++) {
    const distance = Math.hypot(xs[i] - x, ys[i] - y);
    if (distance < least && prob[i] >= probcat.least) [best, least] = [i, distance];
  }
  if (best < 0) {
    const owners = probcat.ownersAt(Math.round(x), Math.round(y));
    const owner = owners.find(([row]) => prob[row] >= probcat.least);
    if (owner) best = owner[0];
  }
  if (best >= 0) probcat.choose(best);
};

probcat.box = function (row) {
  return probcat.of("boxes").subarray(4 * row, 4 * row + 4);
};

// One map of an object: its box, and values row by row in steps of 1 / levels.
probcat.stamp = function (row, kind) {
  const [y0, x0, height, width] = probcat.box(row), start = probcat.of("start")[row];
  const values = probcat.of("map/" + kind).subarray(start, start + height * width);
  return { y0, x0, height, width, values };
};

// List the objects that have a map in each cell of 16 x 16 pixels.
probcat.indexBoxes = function () {
  const boxes = probcat.of("boxes"), cells = new Map();
  for (let row = 0; row < boxes.length / 4; row++) {
    const [y0, x0, height, width] = probcat.box(row);
    if (!height) continue;
    for (let cy = y0 >> 4; cy <= (y0 + height - 1) >> 4; cy++) {
      for (let cx = x0 >> 4; cx <= (x0 + width - 1) >> 4; cx++) {
        const key = cy * 65536 + cx;
        if (!cells.has(key)) cells.set(key, []);
        cells.get(key).push(row);
      }
    }
  }
  probcat.cells = cells;
};

// Objects with light in a pixel, [row, share], the largest share first.
probcat.ownersAt = function (px, py) {
  const found = [];
  for (const row of probcat.cells.get((py >> 4) * 65536 + (px >> 4)) || []) {
    const { y0, x0, height, width, values } = probcat.stamp(row, "light");
    if (py < y0 || px < x0 || py >= y0 + height || px >= x0 + width) continue;
    const share = values[(py - y0) * width + px - x0] / probcat.info.levels;
    if (share > 0) found.push([row, share]);
  }
  return found.sort((one, other) => other[1] - one[1]);
};

// Objects that share pixels with an object, the largest overlap first; a pixel that both own
// equally counts as one.
probcat.overlaps = function (row) {
  const one = probcat.stamp(row, "light"), shared = new Map();
  if (!one.height) return [];
  const near = new Set();
  for (let cy = one.y0 >> 4; cy <= (one.y0 + one.height - 1) >> 4; cy++) {
    for (let cx = one.x0 >> 4; cx <= (one.x0 + one.width - 1) >> 4; cx++) {
      for (const other of probcat.cells.get(cy * 65536 + cx) || []) near.add(other);
    }
  }
  near.delete(row);
  const mine = probcat.stamp(row, "footprint");
  for (const other of near) {
    const light = probcat.stamp(other, "light"), theirs = probcat.stamp(other, "footprint");
    const top = Math.min(one.y0 + one.height, light.y0 + light.height);
    const right = Math.min(one.x0 + one.width, light.x0 + light.width);
    let sum = 0;
    for (let y = Math.max(one.y0, light.y0); y < top; y++) {
      for (let x = Math.max(one.x0, light.x0); x < right; x++) {
        const a = (y - one.y0) * one.width + x - one.x0, b = (y - light.y0) * light.width + x - light.x0;
        sum += Math.min(one.values[a], light.values[b]) * mine.values[a] * theirs.values[b];
      }
    }
    if (sum > 0) shared.set(other, (2 * sum) / probcat.info.levels ** 3);
  }
  return [...shared].filter((pair) => pair[1] >= 0.05).sort((a, b) => b[1] - a[1]).slice(0, 8);
};

// Mark the selected object, its map, its footprint, and its neighbours in the panels.
probcat.drawChosen = function () {
  const { models, chosen: row } = probcat;
  if (row < 0) {
    models.chosen.data = { x: [], y: [], width: [], height: [], angle: [] };
    models.footprint.data = { x0: [], y0: [], x1: [], y1: [] };
    models.neighbours.data = { x: [], y: [], label: [] };
    models.map_source.data = { image: [], x: [], y: [], dw: [], dh: [] };
    return;
  }
  const get = (name) => probcat.of("object/" + name)[row];
  models.chosen.data = {
    x: [get("x")], y: [get("y")], width: [get("width")], height: [get("height")],
    angle: [(get("angle") * Math.PI) / 180],
  };
  probcat.drawMap();
  models.footprint.data = probcat.edges(probcat.stamp(row, "footprint"));
  probcat.drawNames();
};

// Show the number of the selected object, and those of its neighbours if the view is close.
probcat.drawNames = function () {
  const { models, chosen: row } = probcat;
  if (!(row >= 0)) return;
  const { x_range, left_plot } = models;
  const close = left_plot.frame_width / (x_range.end - x_range.start) > 6;
  const named = [row, ...(close ? probcat.overlaps(row).map((pair) => pair[0]) : [])];
  const ids = probcat.arrays["table/object_id"];
  models.neighbours.data = {
    x: named.map((i) => probcat.of("object/x")[i]),
    y: named.map((i) => probcat.of("object/y")[i]),
    label: named.map((i) => String(ids[i])),
  };
};

probcat.drawMap = function () {
  const { models, chosen: row } = probcat;
  if (row < 0 || !probcat.of("map/" + probcat.kind)) return;
  const { y0, x0, height, width, values } = probcat.stamp(row, probcat.kind);
  const share = Float32Array.from(values, (value) => value / probcat.info.levels);
  models.map_source.data = height
    ? { image: [probcat.picture(share, width)], x: [x0 - 0.5], y: [y0 - 0.5], dw: [width], dh: [height] }
    : { image: [], x: [], y: [], dw: [], dh: [] };
};

probcat.showKind = function (kind) {
  probcat.kind = kind;
  probcat.drawMap();
};

// Edges, as segments, of the area in which a map is above one half.
probcat.edges = function ({ y0, x0, height, width, values }) {
  const data = { x0: [], y0: [], x1: [], y1: [] };
  const half = probcat.info.levels / 2;
  const inside = (y, x) => y >= 0 && x >= 0 && y < height && x < width && values[y * width + x] > half;
  const add = (xa, ya, xb, yb) => {
    data.x0.push(x0 + xa - 0.5);
    data.y0.push(y0 + ya - 0.5);
    data.x1.push(x0 + xb - 0.5);
    data.y1.push(y0 + yb - 0.5);
  };
  for (let y = 0; y <= height; y++) {
    for (let x = 0; x <= width; x++) {
      if (inside(y, x) !== inside(y - 1, x)) add(x, y, x + 1, y);
      if (inside(y, x) !== inside(y, x - 1)) add(x, y, x, y + 1);
    }
  }
  return data;
};
