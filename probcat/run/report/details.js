// Details of the selected object: its properties, its neighbours, its posterior.

probcat.describe = function () {
  const { info, arrays, chosen: row } = probcat;
  const facts = document.getElementById("facts"), corner = document.getElementById("corner");
  const near = document.getElementById("near");
  corner.hidden = row < 0;
  near.innerHTML = "";
  if (row < 0) {
    facts.innerHTML = "<p class='hint'>Click an object on an image, or a row of the table.</p>";
    return;
  }
  const value = (name) => arrays["table/" + name] && arrays["table/" + name][row];
  const draws = probcat.drawsOf(row);
  const ending = /_(err|error|q\d\d|cov|corr)$/;
  const names = Object.keys(arrays).filter((name) => name.startsWith("table/")).map((name) => name.slice(6));
  const wide = names.filter((name) => !ending.test(name) && !["object_id", "prob_exist", "prob_star"].includes(name));
  const lines = wide.filter((name) => !Number.isNaN(value(name))).map((name) => {
    const error = value(name + "_err");
    const unit = info.units[name] ? " " + probcat.escape(info.units[name]) : "";
    const sky = name === "ra" || name === "dec";
    if (name === "flags") return `<tr><th>flags</th><td>${probcat.flagText(value(name))}</td></tr>`;
    const spread = error === undefined ? "" : ` ± ${probcat.number(error, error)}`;
    return `<tr><th>${probcat.escape(name)}</th><td>${sky ? value(name).toFixed(6) : probcat.number(value(name), error)}${spread}${unit}</td></tr>`;
  });
  if (probcat.image > 0) {
    const [x, y] = ["x", "y"].map((axis) => probcat.of("object/" + axis)[row].toFixed(2));
    const label = probcat.escape(info.images[probcat.image].label);
    lines.splice(2, 0, `<tr><th>in image ${label}</th><td>x ${x}, y ${y} pix</td></tr>`);
  }
  for (const [name, values] of Object.entries(info.text)) {
    if (values[row]) lines.push(`<tr><th>${probcat.escape(name)}</th><td>${probcat.escape(values[row])}</td></tr>`);
  }
  const star = value("prob_star");
  const type = star >= 0.5 ? `star ${star.toFixed(2)}` : `galaxy ${(1 - star).toFixed(2)}`;
  facts.innerHTML =
    `<h3>Object <span id="chosen-id">${value("object_id")}</span></h3>` +
    `<p>exists <b>${value("prob_exist").toFixed(2)}</b>, ${type}</p>` + probcat.byChain(row) +
    "<button id='zoom-object'>Zoom to object</button><button id='zoom-out'>Whole image</button>" +
    `<table>${lines.join("")}</table>`;
  near.innerHTML = probcat.nearTable(row) + probcat.alternativesTable(value("alternative_group"));
  document.getElementById("zoom-object").onclick = () => probcat.zoomTo(row);
  document.getElementById("zoom-out").onclick = probcat.resetView;
  for (const line of near.querySelectorAll("tr[data-row]")) {
    line.onclick = () => probcat.choose(Number(line.dataset.row));
  }
  probcat.drawCorner(draws);
};

// Names of the flags that are set.
probcat.flagText = function (flags) {
  const bits = Object.entries(probcat.info.flags).filter(([bit]) => (flags >> Number(bit)) & 1);
  const names = bits.map(([, name]) => probcat.escape(name)).join(", ");
  return flags === 0 ? "none" : names || String(flags);
};

// Configurations of a group of objects that replace one another; a draw has one of them.
probcat.alternativesTable = function (group) {
  const found = group ? probcat.info.alternatives[group] : undefined;
  if (!found) return "";
  const lines = found.slice(0, 10).map(([prob, ids]) => (
    `<tr><td>${prob.toFixed(2)}</td><td>${probcat.escape(ids) || "none of them"}</td></tr>`
  ));
  return (
    "<table id='alternatives'><caption>Alternatives: objects that are present together</caption>" +
    `<tr><th>probability</th><th>objects</th></tr>${lines.join("")}</table>`
  );
};

// Fraction of each chain's draws that contain the object, with a warning if chains disagree.
probcat.byChain = function (row) {
  const chains = probcat.info.traces.chains;
  if (chains < 2) return "";
  const fractions = Array.from(probcat.arrays["existence/chains"].subarray(row * chains, (row + 1) * chains));
  const apart = Math.max(...fractions) - Math.min(...fractions) > 0.5;
  const listed = fractions.map((fraction) => fraction.toFixed(2)).join(", ");
  return `<p${apart ? " class='apart'" : ""}>exists in each chain: ${listed}${apart ? "; the chains disagree" : ""}</p>`;
};

// Neighbours that share light, and their probabilities given that this object exists or does not.
probcat.nearTable = function (row) {
  const pairs = probcat.overlaps(row);
  if (!pairs.length) return "<p class='hint'>No other object shares its pixels.</p>";
  const ids = probcat.arrays["table/object_id"], prob = probcat.arrays["table/prob_exist"];
  const x = probcat.of("object/x"), y = probcat.of("object/y");
  const lines = pairs.map(([other, shared]) => {
    const [together, apart] = probcat.chances(other, row);
    const distance = Math.hypot(x[other] - x[row], y[other] - y[row]);
    const cells = [ids[other], distance.toFixed(1), shared.toFixed(1), prob[other].toFixed(2), together, apart];
    return `<tr data-row="${other}">${cells.map((cell) => `<td>${cell}</td>`).join("")}</tr>`;
  });
  return (
    `<table><caption>Objects that share light with object ${ids[row]}</caption>` +
    "<tr><th>id</th><th>distance [px]</th>" +
    "<th title='a pixel that both own equally counts as one'>pixels shared</th><th>exists</th>" +
    `<th title='among draws that contain object ${ids[row]}'>exists with it</th>` +
    `<th title='among draws without object ${ids[row]}'>exists without it</th></tr>` +
    lines.join("") + "</table>"
  );
};

// Probability that an object exists in draws with another object, and in draws without it.
probcat.chances = function (object, given) {
  const bytes = Math.ceil(probcat.info.existence_draws / 8), bits = probcat.arrays["existence"];
  let both = 0, all = 0, present = 0;
  for (let draw = 0; draw < probcat.info.existence_draws; draw++) {
    const has = (row) => (bits[row * bytes + (draw >> 3)] >> (draw & 7)) & 1;
    all += has(object);
    present += has(given);
    both += has(object) & has(given);
  }
  const missing = probcat.info.existence_draws - present;
  const fraction = (part, whole) => (whole >= 5 ? (part / whole).toFixed(2) : "–");
  return [fraction(both, present), fraction(all - both, missing)];
};

// Thinned draws of an object: labels and values of its properties, and which are extended.
probcat.drawsOf = function (row) {
  const { info, arrays } = probcat, names = info.draws.names;
  const start = arrays["draws/start"][row], count = arrays["draws/count"][row], size = names.length;
  const wanted = names.map((name, index) => index).filter((index) => {
    const name = names[index];
    return !name.startsWith("flux") || name === info.draws.flux[probcat.image];
  });
  const columns = wanted.map((index) => {
    const low = arrays["draws/low"][row * size + index], high = arrays["draws/high"][row * size + index];
    const coded = new Uint8Array(count);
    for (let i = 0; i < count; i++) coded[i] = arrays["draws/values"][(start + i) * size + index];
    return { low, high, values: probcat.decode(coded, low, high, 255), label: info.draws.labels[index] };
  });
  const extended = arrays["draws/extended"].subarray(start, start + count);
  return { count, extended, columns: columns.filter((column) => column.high > column.low) };
};

probcat.drawCorner = function ({ count, extended, columns }) {
  const { models } = probcat, size = Math.max(columns.length, 1), cell = 0.92;
  const dots = { x: [], y: [], colour: [] }, bars = { left: [], right: [], bottom: [], top: [] };
  const lines = { x0: [], y0: [], x1: [], y1: [] };
  const text = { x: [], y: [], text: [], angle: [], align: [] };
  const write = (x, y, what, angle, align) => {
    text.x.push(x);
    text.y.push(y);
    text.text.push(what);
    text.angle.push(angle);
    text.align.push(align);
  };
  const position = (column, value) => 0.04 + (0.92 * (value - column.low)) / (column.high - column.low);
  const margin = 0.16 * size;
  columns.forEach((column, i) => {
    const bottom = size - 1 - i;
    probcat.cornerBars(column, i, bottom, cell, bars);
    for (let j = 0; j <= i; j++) {
      for (const [x0, y0, x1, y1] of [[0, 0, 1, 0], [0, 1, 1, 1], [0, 0, 0, 1], [1, 0, 1, 1]]) {
        lines.x0.push(j + cell * x0);
        lines.y0.push(bottom + cell * y0);
        lines.x1.push(j + cell * x1);
        lines.y1.push(bottom + cell * y1);
      }
      for (let k = 0; k < count && j < i; k++) {
        const [a, b] = [columns[j].values[k], column.values[k]];
        if (Number.isNaN(a) || Number.isNaN(b)) continue;
        dots.x.push(j + cell * position(columns[j], a));
        dots.y.push(bottom + cell * position(column, b));
        dots.colour.push(extended[k] ? "#d95f02" : "#1f5fbf");
      }
    }
    probcat.cornerLabels(column, i, bottom, size, cell, write);
  });
  const note = columns.length ? `${count} draws` : "this page contains no draws of the object";
  write(size - 0.1, size - 0.25, note, 0, "right");
  if (extended.includes(1) && extended.includes(0)) {
    write(size - 0.1, size - 0.25 - 0.055 * size, "orange: as a galaxy, blue: as a star", 0, "right");
  }
  Object.assign(models.corner_dots, { data: dots });
  models.corner_bars.data = bars;
  models.corner_lines.data = lines;
  models.corner_text.data = text;
  models.corner_x.setv({ start: -margin, end: size });
  models.corner_y.setv({ start: -margin, end: size });
};

probcat.cornerBars = function (column, i, bottom, cell, bars) {
  const bins = new Array(16).fill(0);
  for (const value of column.values) {
    if (Number.isNaN(value)) continue;
    bins[Math.min(15, Math.floor((16 * (value - column.low)) / (column.high - column.low)))] += 1;
  }
  const most = Math.max(...bins, 1), step = (0.92 * cell) / 16;
  bins.forEach((count, bin) => {
    bars.left.push(i + 0.04 * cell + bin * step);
    bars.right.push(i + 0.04 * cell + (bin + 1) * step);
    bars.bottom.push(bottom);
    bars.top.push(bottom + (0.94 * cell * count) / most);
  });
};

// Name and range of a property below its column and, except for the first, left of its row.
probcat.cornerLabels = function (column, i, bottom, size, cell, write) {
  const spread = column.high - column.low, step = 0.045 * size;
  // As many digits as resolve the range and fit.
  const [low, high] = [column.low, column.high].map((value) => probcat.number(value, 2.5 * spread));
  const narrow = size > 4;
  write(i + cell / 2, -2.6 * step, column.label, 0, "center");
  if (narrow) {
    write(i + cell / 2, -0.6 * step, low, 0, "center");
    write(i + cell / 2, -1.5 * step, high, 0, "center");
  } else {
    write(i, -0.7 * step, low, 0, "left");
    write(i + cell, -0.7 * step, high, 0, "right");
  }
  if (i > 0) write(-1.6 * step, bottom + cell / 2, column.label, Math.PI / 2, "center");
};
