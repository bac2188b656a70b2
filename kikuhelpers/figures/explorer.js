// The front end of explorer_widget.py: draws what it answers, and asks for more. Nothing comes from a
// network; all pictures are bytes from the kernel, painted on plain canvases.
//
// A question is {ask, id, ...}, an answer {ask, id, ms, ...} with pictures as buffers. While one
// question of a kind waits, only the newest of that kind is remembered: a drag never piles up.
//
// Hooks for tests, as data-testid: study, scan, model, map-a, map-b (canvases; arrow keys move the
// probe), choose-a, choose-b, pattern-measured, pattern-decoded, pattern-difference, numbers,
// latents (the bars), slider-0 ... slider-7, reset, random, play-path, path-step, path-numbers,
// play-line, line-step, key-a, key-b (colours of an IPF map), profile, clusters, cluster-method, cluster-count, save-png, add-point,
// save-points, save-labels, status, ms. `ms` reads "41 ms (kernel 23 ms)" and has data-count, the
// number of answers drawn so far; specimen says what the scan is of, and if it is virtual; the root
// has data-row, data-column of the point that is shown.

const SLIDERS = 8, FRAMES = 25, WIDE = 1000, FRAME_MS = 160, LATENT_RANGE = 4;
const COLOURS = { A: "#ff9f1c", B: "#3fd0ff" };
const NUMBER = (x) =>
  x === null || x === undefined || Number.isNaN(x) ? "–"
    : Math.abs(x) >= 1000 ? Math.round(x).toLocaleString("en") : String(Number(x.toPrecision(3))).replace("-", "−");

function element(tag, given = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(given)) {
    if (name === "test") made.dataset.testid = value;
    else if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name in made && name !== "list") made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

/** Return ask(question), a promise of {answer, buffers}; null where a newer question replaced it. */
function asker(model) {
  const view = Math.random().toString(36).slice(2), waiting = new Map(), queued = new Map();
  let count = 0;
  const send = (entry) => {
    const id = `${view}/${count++}`;
    waiting.set(id, entry);
    model.send({ ...entry.question, id });
  };
  const listen = (answer, buffers) => {
    const entry = waiting.get(answer.id);
    if (!entry) return;
    waiting.delete(answer.id);
    entry.done({ answer, buffers });
    const next = queued.get(entry.kind);
    queued.delete(entry.kind);
    if (next) send(next);
  };
  model.on("msg:custom", listen);
  const ask = (question, kind = question.ask) => new Promise((done) => {
    const entry = { question, kind, done };
    if (![...waiting.values()].some((other) => other.kind === kind)) return send(entry);
    queued.get(kind)?.done(null);
    queued.set(kind, entry);
  });
  return { ask, stop: () => model.off("msg:custom", listen) };
}

const bytes = (view) => new Uint8Array(view.buffer, view.byteOffset, view.byteLength);

/** A canvas of colours (rgb) or of greys, transparent where the mask is 0. */
function picture(values, rows, columns, mask) {
  const made = element("canvas", { width: columns, height: rows }), pen = made.getContext("2d");
  const image = pen.createImageData(columns, rows), deep = values.length / rows / columns;
  for (let i = 0; i < rows * columns; i++) {
    for (let c = 0; c < 3; c++) image.data[4 * i + c] = values[deep * i + (deep > 1 ? c : 0)];
    image.data[4 * i + 3] = mask && !mask[i] ? 0 : 255;
  }
  pen.putImageData(image, 0, 0);
  return made;
}

function download(name, content, type) {
  const blob = content instanceof Blob ? content : new Blob([content], { type });
  const link = element("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

const csv = (rows) => rows.map((row) => row.map((x) => (x === null ? "" : x)).join(",")).join("\n") + "\n";

function render({ model, el }) {
  const { ask, stop } = asker(model);
  const state = { probes: { A: [0, 0], B: [0, 0] }, active: "A", points: [], maps: {}, drawn: 0 };
  const root = element("div", { className: "kiku" });
  el.append(root);
  // Canvases do not follow a change from light to dark by themselves: the text's colour changes first.
  root.addEventListener("transitionend", ({ target, propertyName }) => {
    if (target !== root || propertyName !== "color" || !state.point) return;
    drawBars();
    state.drawProfileAgain?.();
  });

  // ------------------------------------------------------------ pieces
  const status = element("span", { test: "status", className: "status", role: "status" });
  const ms = element("span", { test: "ms", className: "ms", title: "from the question to the picture" });
  const specimen = element("strong", { test: "specimen" }), choosers = {};
  for (const kind of ["study", "scan", "model"]) {
    const change = () => open({ [kind]: choosers[kind].value, ...(kind === "study" ? {} : {
      scan: choosers.scan.value, model: choosers.model.value }) });
    choosers[kind] = element("select", { test: kind, onchange: change });
  }
  const sides = Object.fromEntries(["a", "b"].map((side) => [side, mapPanel(side)]));
  const patterns = {};
  for (const [name, title] of [["measured", "measured"], ["decoded", "decoded"], ["difference", "difference"]]) {
    const canvas = element("canvas", { test: `pattern-${name}`, width: 360, height: 360 });
    const caption = element("figcaption", {}, title);
    patterns[name] = { canvas, caption, title, figure: element("figure", {}, caption, canvas) };
  }
  const grey = element("p", { className: "note" });
  const numbers = element("table", { test: "numbers", className: "numbers" });
  const bars = element("canvas", { test: "latents", width: 1000, height: 190, tabIndex: 0,
    title: "the latent vector; click a bar for a slider and its map" });
  const sliders = element("div", { className: "sliders" });
  const profile = element("canvas", { test: "profile", width: 700, height: 200 });
  const pathNumbers = element("p", { test: "path-numbers", className: "note" });
  const player = { path: playerOf("path"), line: playerOf("line") };
  const method = element("select", { test: "cluster-method" },
    ...["k-means", "HDBSCAN"].map((name) => element("option", { value: name }, name)));
  const count = element("input", { test: "cluster-count", type: "number", min: 2, max: 50, value: 8 });
  const probes = element("span", { className: "probes", role: "radiogroup" }, ...["A", "B"].map((name) =>
    element("button", { onclick: () => { state.active = name; drawMaps(); show(...state.probes[name]); }, className: `probe ${name}` }, name)));
  const button = (test, text, onclick, title = "") => element("button", { test, onclick, title }, text);
  const box = (title, ...inside) => element("section", {}, element("h4", {}, title), ...inside);

  root.append(
    element("header", {},
      ...Object.entries(choosers).map(([kind, chooser]) => element("label", {}, kind, chooser)),
      element("label", {}, "probe", probes), specimen, status, ms),
    element("div", { className: "maps" }, sides.a.figure, sides.b.figure),
    element("div", { className: "here" },
      element("div", {}, element("div", { className: "patterns" }, ...Object.values(patterns).map((p) => p.figure)), grey,
        box("Latent vector", bars, sliders, element("div", { className: "row" },
          button("reset", "as encoded", () => show(...state.probes[state.active])),
          button("random", "random decode", random, "decode a latent vector drawn from N(0, 1)")))),
      numbers),
    element("div", { className: "tools" },
      box("Path A → B in latent space", player.path.row, pathNumbers),
      box("Line A – B on the map", player.line.row, profile),
      element("div", {},
        box("Clusters of the latent vector", element("div", { className: "row" }, method, count,
          button("clusters", "cluster", cluster), button("save-labels", "labels as CSV", saveLabels))),
        box("Virtual detector", element("p", { className: "note" },
          "Drag a box on the measured pattern: the mean of its pixels becomes the right map.")),
        box("Keep", element("div", { className: "row" },
          button("save-png", "view as PNG", savePng), button("add-point", "add point", addPoint),
          button("save-points", "points as CSV", savePoints))))));

  function mapPanel(side) {
    const canvas = element("canvas", { test: `map-${side}`, tabIndex: 0, width: WIDE, height: WIDE / 2,
      title: "click, drag or arrow keys (Shift: 10 points); Shift-click places the other probe" });
    const chooser = element("select", { test: `choose-${side}`, onchange: () => chooseMap(side, chooser.value) });
    const bar = element("canvas", { width: 300, height: 12, className: "bar" });
    const low = element("span"), high = element("span"), value = element("b");
    const legend = element("div", { className: "legend" }, low, bar, high, value);
    const key = element("canvas", { test: `key-${side}`, className: "key", hidden: true, title: "colours of IPF-X" });
    const panel = { canvas, chooser, bar, low, high, value, legend, key };
    panel.figure = element("figure", {}, chooser, canvas, legend, key);
    const move = (event) => {
      const area = canvas.getBoundingClientRect(), [rows, columns] = state.shape;
      const along = (event.clientX - area.left) / area.width, down = (event.clientY - area.top) / area.height;
      if (event.shiftKey && event.type === "pointerdown") state.active = state.active === "A" ? "B" : "A";
      moveTo(Math.floor(down * rows), Math.floor(along * columns));
    };
    canvas.addEventListener("pointerdown", (event) => { canvas.setPointerCapture(event.pointerId); canvas.focus({ preventScroll: true }); move(event); });
    canvas.addEventListener("pointermove", (event) => { if (event.buttons) move(event); });
    canvas.addEventListener("keydown", (event) => {
      const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
      if (!step) return;
      event.preventDefault();
      event.stopPropagation();
      const [row, column] = state.probes[state.active], far = event.shiftKey ? 10 : 1;
      moveTo(row + far * step[0], column + far * step[1]);
    });
    return panel;
  }

  function playerOf(name) {
    const step = element("input", { test: `${name}-step`, type: "range", min: 0, max: 0, value: 0 });
    const play = element("button", { test: `play-${name}` }, "▶ play");
    const made = { step, play, row: element("div", { className: "row" }, play, step), timer: null };
    step.addEventListener("input", () => made.draw?.(Number(step.value)));
    play.addEventListener("click", async () => {
      if (made.timer) return halt(made);
      rest();
      if (!(await made.load())) return;
      let at = 0;
      play.textContent = "■ stop";
      made.timer = setInterval(() => {
        if (at > Number(step.max)) return halt(made);
        step.value = at;
        made.draw(at++);
      }, FRAME_MS);
    });
    return made;
  }

  function halt(made) {
    clearInterval(made.timer);
    made.timer = null;
    made.play.textContent = "▶ play";
  }

  // ------------------------------------------------------------ asking
  async function asked(question, kind) {
    const start = performance.now(), found = await ask(question, kind);
    if (!found) return null;
    status.textContent = found.answer.error ?? "";
    root.classList.toggle("failed", "error" in found.answer);
    return "error" in found.answer ? null : { ...found, start };
  }

  function drawn({ answer, start }) {
    const whole = Math.round(performance.now() - start);
    ms.textContent = `${whole} ms (kernel ${Math.round(answer.ms)} ms)`;
    ms.dataset.count = ++state.drawn;
  }

  async function open(choice) {
    status.textContent = "opening ...";
    const found = await asked({ ask: "open", ...choice });
    if (!found) return fillChoosers();
    const first = !state.shape, { answer, buffers } = found;
    rest();
    Object.assign(state, answer, { mask: bytes(buffers[0]) });
    const [rows, columns] = state.shape, third = (n, of) => Math.floor((n * of) / 3);
    state.probes = { A: [third(rows, 1), third(columns, 1)], B: [third(rows, 2), third(columns, 2)] };
    specimen.textContent = state.label;
    fillChoosers();
    fillSliders();
    const names = Object.keys(answer.maps), second = ["IPF-X", "pq"].find((n) => names.includes(n));
    await Promise.all([chooseMap("a", names[0]), chooseMap("b", second ?? names[1] ?? names[0])]);
    await show(...state.probes[state.active]);
    if (first) drawn(found);
  }

  function fillChoosers() {
    for (const [kind, list] of [["study", "studies"], ["scan", "scans"], ["model", "models"]]) {
      const names = [...new Set([state[kind], ...state[list]])];
      choosers[kind].replaceChildren(...names.map((name) =>
        element("option", { value: name, selected: name === state[kind] }, name.split("/").pop())));
    }
    fillMaps();
  }

  function fillMaps() {
    const feature = Object.entries(state.maps).filter(([name]) => name.includes(", feature "));
    const other = Object.entries(state.maps).filter(([name]) => !name.includes(", feature "));
    for (const side of Object.values(sides)) {
      const groups = [["latent features, most structure first", feature], ["other maps", other]];
      side.chooser.replaceChildren(...groups.map(([label, maps]) => element("optgroup", { label }, ...maps.map(([name, title]) =>
        element("option", { value: name, selected: name === side.name }, title)))));
    }
  }

  async function chooseMap(side, name) {
    const found = await asked({ ask: "map", name }, `map-${side}`);
    if (!found) return;
    const panel = sides[side], { answer, buffers } = found, [rows, columns] = state.shape;
    Object.assign(panel, { name, limits: answer.limits, stops: answer.stops });
    panel.image = picture(bytes(buffers[0]), rows, columns);
    panel.chooser.value = name;
    panel.legend.classList.toggle("bare", !answer.limits);
    panel.key.hidden = !answer.keys.length;
    for (const [height, width] of answer.keys) {
      Object.assign(panel.key, { width, height });
      panel.key.getContext("2d").drawImage(picture(bytes(buffers[1]), height, width), 0, 0);
    }
    if (answer.limits) {
      const pen = panel.bar.getContext("2d"), shade = pen.createLinearGradient(0, 0, panel.bar.width, 0);
      answer.stops.forEach((colour, i) => shade.addColorStop(i / (answer.stops.length - 1), colour));
      pen.fillStyle = shade;
      pen.fillRect(0, 0, panel.bar.width, panel.bar.height);
      [panel.low.textContent, panel.high.textContent] = answer.limits.map(NUMBER);
    }
    drawMaps();
    if (state.point) drawNumbers();
    drawn(found);
  }

  const rest = () => Object.values(player).forEach(halt);

  function moveTo(row, column) {
    rest();
    const [rows, columns] = state.shape, inside = (n, of) => Math.min(of - 1, Math.max(0, n));
    state.probes[state.active] = [inside(row, rows), inside(column, columns)];
    drawMaps();
    show(...state.probes[state.active]);
  }

  async function show(row, column) {
    const found = await asked({ ask: "point", row, column });
    if (!found) return;
    const { answer, buffers } = found;
    state.point = answer;
    state.vector = answer.latents.map((x) => x ?? 0);
    [root.dataset.row, root.dataset.column] = [answer.row, answer.column];
    paintPattern("measured", bytes(buffers[0]));
    paintDecoded(answer, buffers.slice(1));
    drawBars();
    setSliders();
    drawNumbers();
    drawn(found);
  }

  function paintDecoded(answer, buffers, note = "", frame = 0) {
    const size = state.pixels[0] * state.pixels[1], cut = (all) => bytes(all).subarray(frame * size, (frame + 1) * size);
    paintPattern("decoded", cut(buffers[0]), note);
    const left = Array.isArray(answer.left) ? answer.left[frame] : answer.left;
    paintPattern("difference", cut(buffers[1]), `½Σ² ${NUMBER(left)}`);
    const [low, high] = answer.limits.map(NUMBER);
    grey.textContent = `One grey scale: ${low} to ${high} (0.5 to 99.5 % of the measured pattern); the difference, decoded − measured, as wide about 0.`;
  }

  function paintPattern(name, values, note = "") {
    const { canvas, caption, title } = patterns[name], pen = canvas.getContext("2d");
    pen.clearRect(0, 0, canvas.width, canvas.height);
    pen.imageSmoothingEnabled = false;
    pen.drawImage(picture(values, ...state.pixels, state.mask), 0, 0, canvas.width, canvas.height);
    caption.textContent = note ? `${title}: ${note}` : title;
  }

  // ------------------------------------------------------------ latent vector
  async function decode(note = "changed") {
    const found = await asked({ ask: "decode", latents: state.vector });
    if (!found) return;
    paintDecoded(found.answer, found.buffers, note);
    drawBars();
    drawn(found);
  }

  const normal = () => Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());

  function random() {
    state.vector = state.vector.map(normal);
    setSliders();
    decode("drawn from N(0, 1)");
  }

  function fillSliders() {
    state.slid = state.ranked.slice(0, SLIDERS);
    sliders.replaceChildren(...state.slid.map((_, i) => {
      const slider = element("input", { test: `slider-${i}`, type: "range", step: 0.05, oninput: () => {
        state.vector[state.slid[i]] = Number(slider.value);
        slider.nextSibling.textContent = NUMBER(Number(slider.value));
        decode();
      } });
      return element("label", {}, element("span"), slider, element("output"));
    }));
  }

  function setSliders() {
    [...sliders.children].forEach((label, i) => {
      const value = state.vector[state.slid[i]], reach = Math.max(LATENT_RANGE, Math.ceil(Math.abs(value)));
      const [name, slider, shown] = label.children;
      name.textContent = `feature ${state.slid[i]}`;
      Object.assign(slider, { min: -reach, max: reach, value });
      shown.textContent = NUMBER(value);
    });
  }

  function drawBars() {
    const pen = bars.getContext("2d"), { width, height } = bars, ink = getComputedStyle(root).color;
    const order = state.ranked, wide = (width - 60) / order.length;
    const reach = Math.max(LATENT_RANGE, ...state.vector.map(Math.abs)), middle = height / 2;
    pen.clearRect(0, 0, width, height);
    pen.font = "20px sans-serif";
    pen.fillStyle = ink;
    pen.textAlign = "right";
    for (const [text, y] of [[`${NUMBER(reach)}`, 22], ["0", middle + 7], [`−${NUMBER(reach)}`, height - 6]]) pen.fillText(text, 50, y);
    order.forEach((feature, i) => {
      const encoded = state.point.latents[feature] ?? 0, now = state.vector[feature], x = 60 + i * wide;
      const bar = (value, colour) => { pen.fillStyle = colour; pen.fillRect(x, middle, Math.max(1, 0.8 * wide), (-value / reach) * (middle - 4)); };
      bar(now, now === encoded ? "#3b82c4" : "#e4572e");
      if (now !== encoded) { pen.fillStyle = ink; pen.fillRect(x, middle - (encoded / reach) * (middle - 4) - 1, Math.max(1, 0.8 * wide), 2); }
      if (state.slid.includes(feature)) { pen.fillStyle = ink; pen.fillRect(x, height - 3, 0.8 * wide, 3); }
    });
    pen.fillStyle = ink;
    pen.fillRect(60, middle - 0.5, width - 60, 1);
  }

  bars.addEventListener("click", (event) => {
    const area = bars.getBoundingClientRect(), x = ((event.clientX - area.left) / area.width) * bars.width - 60;
    const feature = state.ranked[Math.floor((x / (bars.width - 60)) * state.ranked.length)];
    if (feature === undefined) return;
    if (!state.slid.includes(feature)) state.slid[state.slid.length - 1] = feature;
    setSliders();
    drawBars();
    chooseMap("a", `${state.model}, feature ${feature}`);
  });

  // ------------------------------------------------------------ numbers and maps
  function drawNumbers() {
    const { row, column, euler, numbers: found } = state.point, um = [column, row].map((n) => NUMBER(n * state.step_um));
    const line = (name, value, share) => element("tr", {}, element("th", {}, name), element("td", {}, value),
      element("td", {}, ...(share === undefined ? [] : [element("i", { style: `--share: ${share}%` }), `${share.toFixed(0)} %`])));
    const body = [line(`point ${state.active}`, `row ${row}, column ${column}`), line("x right, y down", `${um.join(", ")} µm`),
      line("Euler angles (°)", euler ? euler.map((x) => x.toFixed(1)).join(", ") : "not indexed")];
    for (const [name, pair] of Object.entries(found)) {
      body.push(pair ? line(state.maps[name], NUMBER(pair[0]), ["grain", "twins"].includes(name) ? undefined : pair[1]) : line(state.maps[name], "–"));
    }
    numbers.replaceChildren(element("thead", {}, element("tr", {}, element("th"), element("th", {}, "value"), element("th", {}, "percentile in the map"))), element("tbody", {}, ...body));
    for (const side of Object.values(sides)) {
      const feature = side.name?.match(/, feature (\d+)$/);
      const value = feature ? state.point.latents[feature[1]] : found[side.name]?.[0];
      side.value.textContent = value === undefined || value === null ? "" : `here ${NUMBER(value)}`;
    }
  }

  function drawMaps() {
    const [rows, columns] = state.shape, wide = Math.min(WIDE, (1.2 * WIDE * columns) / rows);
    for (const { canvas, image } of Object.values(sides)) {
      if (!image) continue;
      const scale = wide / columns, pen = canvas.getContext("2d");
      Object.assign(canvas, { width: wide, height: scale * rows });
      pen.imageSmoothingEnabled = false;
      pen.drawImage(image, 0, 0, canvas.width, canvas.height);
      const at = ([row, column]) => [(column + 0.5) * scale, (row + 0.5) * scale];
      outlined(pen, () => { pen.beginPath(); pen.moveTo(...at(state.probes.A)); pen.lineTo(...at(state.probes.B)); }, "#ffffff88", 1.5, [6, 6]);
      for (const name of ["B", "A"]) drawProbe(pen, name, ...at(state.probes[name]));
      scaleBar(pen, canvas, columns * state.step_um, scale / state.step_um);
    }
    for (const name of ["A", "B"]) probes.querySelector(`.${name}`).setAttribute("aria-pressed", name === state.active);
  }

  function outlined(pen, trace, colour, width, dash = []) {
    for (const [stroke, wide] of [["#000000b0", width + 2.5], [colour, width]]) {
      pen.setLineDash(dash);
      Object.assign(pen, { strokeStyle: stroke, lineWidth: wide });
      trace();
      pen.stroke();
    }
    pen.setLineDash([]);
  }

  function drawProbe(pen, name, x, y) {
    const far = name === state.active ? 26 : 14;
    outlined(pen, () => {
      pen.beginPath();
      for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) { pen.moveTo(x + 9 * dx, y + 9 * dy); pen.lineTo(x + far * dx, y + far * dy); }
      pen.moveTo(x + 9, y);
      pen.arc(x, y, 9, 0, 2 * Math.PI);
    }, COLOURS[name], 2.5);
    written(pen, name, x + 14, y - 14, COLOURS[name]);
  }

  function written(pen, text, x, y, colour = "white", size = 24) {
    Object.assign(pen, { font: `600 ${size}px sans-serif`, textAlign: "left", strokeStyle: "black", lineWidth: 4, lineJoin: "round", fillStyle: colour });
    pen.strokeText(text, x, y);
    pen.fillText(text, x, y);
  }

  function scaleBar(pen, canvas, wideUm, perUm) {
    const room = 0.3 * wideUm, decade = 10 ** Math.floor(Math.log10(room));
    const um = [5, 2, 1].find((n) => n * decade <= room) * decade, y = canvas.height - 20;
    pen.fillStyle = "black";
    pen.fillRect(18, y - 2, um * perUm + 4, 12);
    pen.fillStyle = "white";
    pen.fillRect(20, y, um * perUm, 8);
    written(pen, `${Number(um.toPrecision(3))} µm`, 20, y - 10);
  }

  // ------------------------------------------------------------ path and line
  player.path.load = async () => {
    state.active = "A";
    await show(...state.probes.A);
    status.textContent = "decoding and indexing ...";
    const found = await asked({ ask: "path", start: state.probes.A, stop: state.probes.B, count: FRAMES });
    if (!found) return false;
    player.path.step.max = FRAMES - 1;
    player.path.draw = (at) => {
      paintDecoded(found.answer, found.buffers, `${Math.round((100 * at) / (FRAMES - 1))} % of the path`, at);
      const of = found.answer.numbers, say = (name) => NUMBER(of[name]?.[at]);
      pathNumbers.textContent = of.fit ? `Indexed: fit ${say("fit")}°, CI ${say("ci")}; ${say("from_start")}° from A as measured, ${say("from_stop")}° from B.` : "";
    };
    player.path.draw(0);
    drawn(found);
    return true;
  };

  player.line.load = async () => {
    const names = [...new Set([sides.a.name, sides.b.name])];
    const found = await asked({ ask: "line", start: state.probes.A, stop: state.probes.B, names });
    if (!found) return false;
    const { points, um, profiles } = found.answer, [a, b] = [state.probes.A, state.probes.B];
    player.line.step.max = points.length - 1;
    player.line.draw = async (at) => {
      drawProfile(um, profiles, at);
      state.probes[state.active] = points[at];
      drawMaps();
      state.probes = { A: a, B: b };
      await show(...points[at]);
    };
    drawProfile(um, profiles, 0);
    drawn(found);
    return true;
  };

  function drawProfile(um, profiles, at) {
    state.drawProfileAgain = () => drawProfile(um, profiles, at);
    const pen = profile.getContext("2d"), { width, height } = profile, ink = getComputedStyle(root).color;
    const [left, top, right, bottom] = [16, 16, width - 16, height - 40], far = um.at(-1) || 1;
    const x = (i) => left + (um[i] / far) * (right - left);
    pen.clearRect(0, 0, width, height);
    Object.assign(pen, { font: "20px sans-serif", textAlign: "left" });
    Object.entries(profiles).forEach(([name, values], n) => {
      const known = values.filter((v) => v !== null), low = Math.min(...known), high = Math.max(...known);
      const y = (v) => bottom - ((v - low) / (high - low || 1)) * (bottom - top - 24);
      pen.beginPath();
      values.forEach((v, i) => v !== null && pen.lineTo(x(i), y(v)));
      Object.assign(pen, { strokeStyle: ["#3b82c4", "#e4572e"][n], fillStyle: ["#3b82c4", "#e4572e"][n], lineWidth: 3 });
      pen.stroke();
      pen.fillText(`${name}: ${NUMBER(low)} to ${NUMBER(high)}`, left + (n * width) / 2, top + 6);
    });
    pen.fillStyle = ink;
    pen.fillRect(left, bottom, right - left, 1);
    pen.fillRect(x(at), top + 14, 1.5, bottom - top - 14);
    pen.fillText("A", left, height - 14);
    pen.textAlign = "center";
    pen.fillText(`${NUMBER(um[at])} of ${NUMBER(far)} µm`, width / 2, height - 14);
    pen.textAlign = "right";
    pen.fillText("B", right, height - 14);
  }

  // ------------------------------------------------------------ detector and clusters
  const measured = patterns.measured.canvas;
  const pixel = (event) => {
    const area = measured.getBoundingClientRect(), [rows, columns] = state.pixels;
    return [Math.round(((event.clientY - area.top) / area.height) * rows), Math.round(((event.clientX - area.left) / area.width) * columns)];
  };
  measured.addEventListener("pointerdown", (event) => { rest(); measured.setPointerCapture(event.pointerId); state.corner = pixel(event); });
  measured.addEventListener("pointerup", async (event) => {
    const [a, b] = [state.corner, pixel(event)];
    const ends = [0, 1].map((i) => [Math.min(a[i], b[i]), Math.max(a[i], b[i], Math.min(a[i], b[i]) + 1)]);
    const box = [ends[0][0], ends[1][0], ends[0][1], ends[1][1]];
    status.textContent = "reading the patterns ...";
    const found = await asked({ ask: "detector", top: box[0], left: box[1], bottom: box[2], right: box[3] });
    if (!found) return;
    const pen = measured.getContext("2d"), scale = measured.width / state.pixels[1];
    outlined(pen, () => { pen.beginPath(); pen.rect(box[1] * scale, box[0] * scale, (box[3] - box[1]) * scale, (box[2] - box[0]) * scale); }, COLOURS.A, 2);
    await madeMap(found, "detector");
  });

  async function madeMap(found, name) {
    state.maps = found.answer.maps;
    fillMaps();
    await chooseMap("b", name);
    drawn(found);
  }

  async function cluster() {
    rest();
    status.textContent = "clustering ...";
    const found = await asked({ ask: "clusters", method: method.value, count: Number(count.value) });
    if (!found) return;
    const raw = bytes(found.buffers[0]).slice().buffer, agreement = found.answer.agreement;
    state.labels = new Int16Array(raw);
    await madeMap(found, "clusters");
    status.textContent = `${found.answer.found} clusters` + (agreement === null ? "" : `; adjusted Rand index against the grains ${agreement.toFixed(2)}`);
  }

  // ------------------------------------------------------------ files
  const fileName = (what) => `${state.study.split("/").pop()}-${state.scan}-${state.model}-${what}`.replace(/\.yaml/, "");

  function saveLabels() {
    if (!state.labels) return void (status.textContent = "Cluster first: there are no labels yet.");
    const columns = state.shape[1], rows = [...state.labels].map((label, i) => [Math.floor(i / columns), i % columns, label]);
    download(fileName("clusters.csv"), csv([["row", "column", "cluster"], ...rows]), "text/csv");
  }

  function addPoint() {
    state.points.push({ ...state.point, study: state.study, scan: state.scan, model: state.model });
    status.textContent = `${state.points.length} points in the list`;
  }

  function savePoints() {
    if (!state.points.length) return void (status.textContent = "Add a point first: the list is empty.");
    const names = [...new Set(state.points.flatMap((point) => Object.keys(point.numbers)))];
    const most = Math.max(...state.points.map((point) => point.latents.length));
    const latents = (point) => Array.from({ length: most }, (_, i) => point.latents[i] ?? null);
    const head = ["study", "scan", "model", "row", "column", "phi1_deg", "Phi_deg", "phi2_deg", ...names, ...names.map((name) => `${name}_percentile`), ...Array.from({ length: most }, (_, i) => `latent_${i}`)];
    const rows = state.points.map((p) => [p.study, p.scan, p.model, p.row, p.column, ...(p.euler ?? [null, null, null]),
      ...names.map((n) => p.numbers[n]?.[0] ?? null), ...names.map((n) => p.numbers[n]?.[1] ?? null), ...latents(p)]);
    download(fileName("points.csv"), csv([head, ...rows]), "text/csv");
  }

  function savePng() {
    const both = [sides.a, sides.b], [wide, tall] = [sides.a.canvas.width, sides.a.canvas.height], room = 40;
    const page = element("canvas", { width: 2 * wide + room, height: tall + 2.2 * room + Math.max(400, 24 * numbers.rows.length) }), pen = page.getContext("2d");
    pen.fillStyle = "white";
    pen.fillRect(0, 0, page.width, page.height);
    const say = (text, x, y) => Object.assign(pen, { fillStyle: "black", font: "22px sans-serif", textAlign: "left" }) && pen.fillText(text, x, y);
    both.forEach(({ canvas, name, limits }, i) => {
      pen.drawImage(canvas, i * (wide + room), room);
      say(`${state.label}: ${state.maps[name]}` + (limits ? ` (${limits.map(NUMBER).join(" to ")})` : ""), i * (wide + room), 28);
    });
    Object.values(patterns).forEach(({ canvas, caption }, i) => {
      pen.drawImage(canvas, i * 400, tall + 2.5 * room);
      say(caption.textContent, i * 400, tall + 2.2 * room);
    });
    [...numbers.rows].forEach((row, i) => say([...row.cells].map((cell) => cell.textContent).join("   "), 1220, tall + 2.2 * room + 24 * i));
    page.toBlob((blob) => download(fileName("view.png"), blob));
  }

  open({});
  return () => { rest(); stop(); };
}

export default { render };
