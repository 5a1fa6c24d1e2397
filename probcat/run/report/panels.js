// The two panels: images, layers, outlines, and the pixel at the pointer.

// Convert the scale of the grey layers to the image's unit.
probcat.brightness = function (scaled) {
  const scale = probcat.info && probcat.info.images[probcat.image || 0].scale;
  if (!scale) return "";
  return probcat.number(+probcat.unscale(scaled, scale).toPrecision(3));
};

probcat.unscale = function (scaled, { low, high, linear }) {
  return low + linear * (high - low) * Math.sinh(scaled * Math.asinh(1 / linear));
};

probcat.of = function (name) {
  return probcat.arrays[`image/${probcat.image}/${name}`];
};

probcat.showImage = function (number, first) {
  const { info, models } = probcat;
  const before = probcat.image;
  probcat.image = number;
  const image = info.images[number];
  const [ny, nx] = image.shape, factor = image.factor;
  const width = Math.ceil(nx / factor), height = Math.ceil(ny / factor);
  const extent = { x: [-0.5], y: [-0.5], dw: [width * factor], dh: [height * factor] };
  const ends = image.scale.ends, limit = info.residual_limit;
  probcat.pixels = {
    width,
    data: probcat.decode(probcat.of("data"), ends[0], ends[1], 65535),
    model: probcat.decode(probcat.of("model"), ends[0], ends[1], 65535),
    residual: probcat.decode(probcat.of("residual"), -limit, limit, 65535),
  };
  for (const layer of ["data", "model", "residual"]) {
    models[layer + "_source"].data = { image: [probcat.picture(probcat.pixels[layer], width)], ...extent };
  }
  const rgb = probcat.of("owners"), packed = new Uint32Array(width * height);
  for (let i = 0; i < packed.length; i++) {
    packed[i] = (0xff000000 | (rgb[3 * i + 2] << 16) | (rgb[3 * i + 1] << 8) | rgb[3 * i]) >>> 0;
  }
  models.owners_source.data = { image: [probcat.picture(packed, width)], ...extent };
  probcat.indexBoxes();
  if (first) probcat.resetView(); else probcat.followView(before, number);
  for (const side of ["left", "right"]) {
    // The ticks stay, but their labels change.
    const bar = models[side + "_grey_bar"];
    bar.ticker.ticks = bar.ticker.ticks.slice();
    bar.title = image.unit;
  }
  if (!first) {
    probcat.drawMarkers();
    probcat.drawChosen();
    probcat.describe();
  }
};

// Set ranges that show a complete box, with square pixels.
probcat.setView = function (x, y, halfWidth, halfHeight, asStart) {
  const { x_range, y_range, left_plot } = probcat.models;
  const aspect = left_plot.frame_width / left_plot.frame_height;
  const half = Math.max(halfHeight, halfWidth / aspect);
  const ends = [[x_range, x - half * aspect, x + half * aspect], [y_range, y - half, y + half]];
  probcat.moving = true;
  for (const [range, start, end] of ends) {
    if (asStart) range.setv({ reset_start: start, reset_end: end });
    range.setv({ start, end });
  }
  probcat.moving = false;
  probcat.drawMarkers();
};

probcat.resetView = function () {
  const [ny, nx] = probcat.info.images[probcat.image].shape;
  probcat.setView((nx - 1) / 2, (ny - 1) / 2, nx / 2, ny / 2, true);
};

// Keep the same part of the sky in view when another image is shown.
probcat.followView = function (before, after) {
  const { x_range, y_range } = probcat.models;
  const [a, b] = [probcat.info.images[before].affine, probcat.info.images[after].affine];
  const determinant = (m) => m[0][0] * m[1][1] - m[0][1] * m[1][0];
  const x = (x_range.start + x_range.end) / 2 - a[0][2], y = (y_range.start + y_range.end) / 2 - a[1][2];
  const d = determinant(a);
  const u = (a[1][1] * x - a[0][1] * y) / d, v = (a[0][0] * y - a[1][0] * x) / d;
  const scale = Math.sqrt(Math.abs(determinant(b) / d));
  const half = [x_range, y_range].map((range) => (scale * Math.abs(range.end - range.start)) / 2);
  probcat.resetView();
  probcat.setView(b[0][0] * u + b[0][1] * v + b[0][2], b[1][0] * u + b[1][1] * v + b[1][2], half[0], half[1]);
};

probcat.showLayer = function (side, active) {
  const { models, layers } = probcat;
  const bars = { data: "grey", model: "grey", residual: "residual", map: "map" };
  layers.forEach((layer, index) => { models[`${side}_${layer}`].visible = index === active; });
  for (const bar of ["grey", "residual", "map"]) {
    models[`${side}_${bar}_bar`].visible = bars[layers[active]] === bar;
  }
  const dark = layers[active] === "map";
  models[side + "_plot"].background_fill_color = dark ? "#000004" : "#d8d8d8";
};

// Both ranges change in a movement; draw once.
probcat.moved = function () {
  if (probcat.moving || !probcat.info) return;
  clearTimeout(probcat.waiting);
  probcat.waiting = setTimeout(probcat.drawMarkers, 60);
};

probcat.mostMarkers = 3000;

// Draw outlines of the objects in view that exist with at least the chosen probability, or of the
// brightest of them if there are too many.
probcat.drawMarkers = function () {
  const { models } = probcat;
  const { x_range, y_range } = models;
  const x = probcat.of("object/x"), y = probcat.of("object/y");
  const width = probcat.of("object/width"), height = probcat.of("object/height");
  const angle = probcat.of("object/angle"), prob = probcat.arrays["table/prob_exist"];
  const data = { x: [], y: [], width: [], height: [], angle: [], prob: [], colour: [] };
  for (let i = 0; i < x.length && data.x.length < probcat.mostMarkers; i++) {
    if (prob[i] < probcat.least) continue;
    if (x[i] < x_range.start || x[i] > x_range.end || y[i] < y_range.start || y[i] > y_range.end) continue;
    data.x.push(x[i]);
    data.y.push(y[i]);
    data.width.push(width[i]);
    data.height.push(height[i]);
    data.angle.push((angle[i] * Math.PI) / 180);
    data.prob.push(prob[i]);
    data.colour.push(probcat.probColour(prob[i]));
  }
  models.markers.data = data;
  probcat.drawNames();
};

probcat.probColour = function (prob) {
  const ends = [[245, 190, 0], [225, 0, 45]];
  const mixed = [0, 1, 2].map((i) => Math.round(ends[0][i] + prob * (ends[1][i] - ends[0][i])));
  return `rgb(${mixed.join(",")})`;
};

// Line under the panels: position and values of the pixel at the pointer, and its owners.
probcat.point = function (x, y) {
  if (!probcat.ready) return;
  const image = probcat.info.images[probcat.image];
  const [ny, nx] = image.shape, px = Math.round(x), py = Math.round(y);
  const readout = document.getElementById("readout");
  if (px < 0 || py < 0 || px >= nx || py >= ny) {
    readout.innerHTML = "&nbsp;";
    return;
  }
  const { pixels } = probcat;
  const index = Math.floor(py / image.factor) * pixels.width + Math.floor(px / image.factor);
  const value = (layer) => probcat.number(+probcat.unscale(pixels[layer][index], image.scale).toPrecision(4));
  const parts = [`x ${x.toFixed(1)}  y ${y.toFixed(1)}`];
  if (image.sky) {
    const [ra, dec] = probcat.sky(image, x, y);
    parts.push(`ra ${ra.toFixed(6)}  dec ${dec.toFixed(6)}`);
  }
  parts.push(`data ${value("data")}`, `model ${value("model")} ${probcat.escape(image.unit)}`);
  parts.push(`residual ${probcat.number(+pixels.residual[index].toFixed(2))} sd`);
  const owners = probcat.ownersAt(px, py).slice(0, 4);
  const ids = probcat.arrays["table/object_id"];
  if (owners.length) {
    parts.push("light of " + owners.map(([row, share]) => `${ids[row]} (${Math.round(100 * share)} %)`).join(", "));
  }
  readout.textContent = parts.join("   |   ");
};

// Inverse of the gnomonic projection (Calabretta & Greisen 2002, section 5.1.3).
probcat.sky = function (image, x, y) {
  const [ny, nx] = image.shape;
  const u = (2 * x - nx + 1) / nx, v = (2 * y - ny + 1) / ny;
  let xi = 0, eta = 0, term = 0;
  for (let i = 0; i <= 3; i++) {
    for (let j = 0; j <= 3 - i; j++, term++) {
      const power = u ** i * v ** j;
      xi += image.sky.xi[term] * power;
      eta += image.sky.eta[term] * power;
    }
  }
  const sine = Math.sin(image.sky.dec), cosine = Math.cos(image.sky.dec);
  const below = cosine - eta * sine;
  const ra = image.sky.ra + Math.atan2(xi, below);
  const dec = Math.atan2(sine + eta * cosine, Math.hypot(xi, below));
  return [((ra * 180) / Math.PI + 360) % 360, (dec * 180) / Math.PI];
};
