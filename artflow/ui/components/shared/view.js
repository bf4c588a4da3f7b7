// The base of all live views: the result with its loading veil and buttons, the status line, the live numbers, and
// tracking whether the view is visible, hidden or removed.

// Draws answers on a canvas, newest frame only, and remembers the last one for snapshots.
class Result {
  constructor(canvas) {
    this.canvas = canvas;
    this.last = null; // {info, blob} of the frame on the canvas
    this.came = this.drawn = 0; // answers
  }

  async show(info, jpeg) {
    const number = ++this.came;
    const blob = new Blob([jpeg], { type: "image/jpeg" });
    const bitmap = await createImageBitmap(blob);
    const late = this.drawn > number; // a later frame may be decoded first
    if (!late) {
      this.draw(bitmap, info);
      this.drawn = number;
      this.last = { info, blob };
    }
    bitmap.close();
    return !late;
  }

  draw(bitmap) {
    fitTo(this.canvas, bitmap).drawImage(bitmap, 0, 0);
  }

  // The picture on display as a file: the received JPEG, not encoded again.
  async file() {
    return this.last.blob;
  }

  async snapshot() {
    if (!this.last) return null;
    const { info } = this.last;
    return { image: await dataUrl(await this.file()), frame: info.frame, seed: info.seed, recipe: info.recipe };
  }

  async download() {
    if (!this.last) return;
    const { info } = this.last;
    const blob = await withRecipe(await this.file(), info.recipe);
    const time = new Date().toISOString().slice(0, 19).replace(/[-:]/g, "").replace("T", "-");
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = `artflow-${info.seed ?? "picture"}-${time}.${blob.type === "image/png" ? "png" : "jpg"}`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  }
}

// The context of a canvas that is made as large as a picture.
function fitTo(canvas, { width, height }) {
  if (canvas.width !== width) canvas.width = width;
  if (canvas.height !== height) canvas.height = height;
  return canvas.getContext("2d");
}

function dataUrl(blob) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(blob);
  });
}

// The browser copies the canvas at once, so it may be drawn on while this encodes. Without memory it gives null.
function blobOf(canvas, type, quality) {
  return new Promise((resolve, reject) => {
    canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error(say("not_encoded")))), type, quality);
  });
}

async function encode(canvas, type, quality) {
  return new Uint8Array(await (await blobOf(canvas, type, quality)).arrayBuffer());
}

// Draws the centre of a source of width x height so that it covers the whole canvas.
function drawCover(context, source, width, height, mirrored = false) {
  const { width: w, height: h } = context.canvas;
  const scale = Math.max(w / width, h / height);
  const [sw, sh] = [w / scale, h / scale];
  context.imageSmoothingQuality = "high"; // cameras and photos are often many times larger than the model
  context.setTransform(mirrored ? -1 : 1, 0, 0, 1, mirrored ? w : 0, 0);
  context.drawImage(source, (width - sw) / 2, (height - sh) / 2, sw, sh, 0, 0, w, h);
  context.setTransform(1, 0, 0, 1, 0, 0);
}

const SWITCHED = 2500; // milliseconds without news of a load, which is told each second, after which it is over
const TYPING_PAUSE = 300; // milliseconds
const AWAY = 60_000; // milliseconds hidden after which a view closes its session

const SERVED = ["strength", "steps"]; // what a model brings along that the page has controls for

class LiveView {
  constructor(root, mode) {
    this.root = root;
    this.mode = mode;
    this.size = { width: props.width, height: props.height };
    this.visible = this.resting = false;
    this.awayAfter = AWAY;
    translate(root);
    this.status = this.find(".af-status");
    this.error = this.find(".af-error");
    this.numbers = this.find(".af-numbers");
    this.veil = this.find(".af-veil");
    this.result = this.newResult(this.find(".af-result .af-picture"));
    this.connection = new Connection(mode, this);
    this.connected(this.size);
    this.on(".af-snapshot", "click", () => this.result.download().catch((error) => this.failed(error.message)));
    this.on(".af-fullscreen", "click", () => this.toggleFullscreen());
    if (props.strip) this.strip = new StyleStrip(this);
    this.watchPage();
    hub.views[mode] = this;
  }

  newResult(canvas) {
    return new Result(canvas);
  }

  find(selector) {
    return this.root.querySelector(selector);
  }

  on(selector, event, handler) {
    this.find(selector).addEventListener(event, handler);
  }

  // --- visible, hidden, gone ----------------------------------------------------------------------------

  watchPage() {
    this.leaving = new AbortController(); // ends every listener outside our own element
    let inView = false;
    const update = () => {
      const visible = inView && !document.hidden;
      if (visible === this.visible) return;
      this.visible = visible;
      this.visibilityChanged(visible);
    };
    this.observer = new IntersectionObserver((entries) => {
      inView = entries.at(-1).isIntersecting;
      update();
    });
    this.observer.observe(this.root);
    document.addEventListener("visibilitychange", update, { signal: this.leaving.signal });
    // Gradio takes hidden components out of the page without telling them.
    this.presence = setInterval(() => this.root.isConnected || this.leave(), 1000);
  }

  leave() {
    clearInterval(this.presence);
    clearInterval(this.countdown);
    clearTimeout(this.switchedAfter);
    clearTimeout(this.away);
    clearTimeout(this.typing);
    this.observer.disconnect();
    this.leaving.abort();
    this.connection.close();
    this.strip?.leave();
    if (hub.views[this.mode] === this) delete hub.views[this.mode];
  }

  // A view hidden for long closes its session; visible again it opens a new one with all settings.
  visibilityChanged(visible) {
    clearTimeout(this.away);
    if (!visible) this.away = setTimeout(() => this.rest(), this.awayAfter);
    else if (this.resting) this.connection.open();
    this.resting &&= !visible;
  }

  rest() {
    const { state, inFlight } = this.connection;
    if (!["open", "connecting", "waiting"].includes(state)) return;
    if (inFlight.size) return void (this.away = setTimeout(() => this.rest(), this.awayAfter)); // frames are unanswered
    this.resting = true;
    this.connection.close();
  }

  // --- connection events --------------------------------------------------------------------------------

  connected({ width, height }) {
    this.size = { width, height };
    this.root.style.setProperty("--af-aspect", `${width} / ${height}`);
    this.result.canvas.setAttribute("aria-label", say("result"));
  }

  // Other models serve this view than before, at their own size and settings, which the page's controls show: they are
  // no change of the person's, and what that one has changed and nobody has heard of yet stays.
  moved({ width, height, ...settings }) {
    this.switched();
    if (width !== this.size.width || height !== this.size.height) this.connected({ width, height });
    const [own, served] = [(hub.settings[this.mode] ??= {}), (hub.served[this.mode] ??= {})];
    const keys = SERVED.filter((key) => settings[key] !== undefined && !this.connection.unsent.has(key));
    for (const key of keys) {
      if (own[key] === settings[key]) continue;
      served[key] = settings[key];
      delete own[key];
    }
    if (keys.length) trigger("moved");
  }

  // Another model is on its way, and the old one goes on.
  switching(message, progress) {
    clearTimeout(this.switchedAfter);
    this.switchedAfter = setTimeout(() => this.switched(), SWITCHED);
    const share = document.createElement("span");
    share.setAttribute("aria-hidden", "true"); // else a screen reader announces every second
    if (progress !== null && progress !== undefined) share.textContent = `, ${Math.round(100 * progress)} %`;
    this.status.replaceChildren(message, share);
    this.root.dataset.switching = "";
  }

  switched() {
    clearTimeout(this.switchedAfter);
    if (this.root.dataset.switching === undefined) return;
    delete this.root.dataset.switching;
    this.status.textContent = say(`state_${this.connection.state}`);
  }

  connectionChanged(state) {
    this.root.dataset.state = state;
    clearInterval(this.countdown);
    clearTimeout(this.switchedAfter);
    delete this.root.dataset.switching;
    if (state !== "connecting") this.hideVeil();
    if (state === "waiting") {
      this.countdown = setInterval(() => this.sayWhenNext(), 1000);
      this.sayWhenNext();
    } else this.status.textContent = say(`state_${state}`);
    if (state !== "open") this.numbers.replaceChildren();
  }

  sayWhenNext() {
    const seconds = Math.max(1, Math.ceil((this.connection.retryAt - performance.now()) / 1000));
    const count = document.createElement("span");
    count.setAttribute("aria-hidden", "true"); // else a screen reader announces every second
    count.textContent = say("state_waiting_seconds", { seconds });
    if (!this.status.querySelector("span")) this.status.replaceChildren(say("state_waiting"), " ", count);
    else this.status.querySelector("span").replaceWith(count);
  }

  loading(message, progress) {
    this.veil.hidden = false;
    this.find(".af-veil-text").textContent = message;
    const bar = this.find(".af-veil progress");
    if (progress === null || progress === undefined) bar.removeAttribute("value"); // indeterminate
    else bar.value = progress;
  }

  hideVeil() {
    this.veil.hidden = true;
  }

  async answered(info, jpeg) {
    this.hideVeil();
    if (!jpeg.length) return; // skipped or dropped: the last picture stays
    if (!(await this.result.show(info, jpeg))) return;
    this.root.dataset.shown = info.frame;
    this.root.classList.add("af-has-result");
    this.hint(info.recipe ?? {});
    if (performance.now() - this.failedAt > 5000) this.hideError();
  }

  // Says who has made the picture, and which words of the prompt they do not know.
  hint(recipe) {
    const words = recipe.unknown_words ?? [];
    const sentences = [answeredBy(recipe), words.length ? say("unknown_words", { words: words.join(", ") }) : ""];
    const text = sentences.filter(Boolean).join(say("between_sentences"));
    const line = this.find(".af-hint");
    if (line.textContent !== text) line.textContent = text;
    line.hidden = !text;
  }

  failed(message) {
    this.switched();
    this.failedAt = performance.now();
    if (this.error.textContent !== message) this.error.textContent = message;
    this.error.hidden = false;
  }

  hideError() {
    this.error.hidden = true;
    this.error.textContent = "";
  }

  counted(stats) {
    const { latency_ms_p50: middle, latency_ms_p95: slow } = stats;
    const entries = [
      ["fps", stats.fps.toFixed(1)],
      ["latency", middle === null ? "–" : `${Math.round(middle)} / ${Math.round(slow)} ms`],
      ["dropped", stats.dropped],
      ["skipped", stats.skipped],
      ["sessions", stats.sessions],
      ["size", this.shownSize()],
      ["stage", say(`stage_${stats.stage}`, null, stats.stage)],
    ];
    if (stats.gpu_memory_mb !== null) entries.push(["gpuMemory", `${(stats.gpu_memory_mb / 1024).toFixed(1)} GB`]);
    this.numbers.replaceChildren(...entries.map(([name, value]) => numberItem(name, value)));
  }

  shownSize() {
    const { width, height } = this.result.last?.info.recipe ?? this.size;
    return `${width} × ${height}`;
  }

  // Where words choose the model, a prompt counts when its typing pauses: half a word would choose another one.
  heard(keys) {
    const others = this.strip ? keys.filter((key) => key !== "prompt") : keys;
    if (others.length < keys.length) {
      this.strip.promptChanged();
      clearTimeout(this.typing);
      this.typing = setTimeout(() => this.settingsChanged(["prompt"]), TYPING_PAUSE);
    }
    if (others.length) this.settingsChanged(others);
  }

  settingsChanged(keys) {
    this.connection.parametersChanged(keys);
    this.connection.flushSoon();
  }

  snapshot() {
    return this.result.snapshot();
  }

  source() {
    const surface = newSurface(this.size.width, this.size.height);
    return this.stripSource(surface) ? { image: surface.canvas.toDataURL("image/jpeg", 0.9) } : null;
  }

  // --- full screen --------------------------------------------------------------------------------------

  toggleFullscreen() {
    const pane = this.find(".af-result");
    if (document.fullscreenElement) document.exitFullscreen();
    else if (pane.requestFullscreen) pane.requestFullscreen();
    else pane.classList.toggle("af-fill-page"); // iPhones allow only videos to go full screen
  }
}

function numberItem(name, value) {
  const item = document.createElement("span");
  item.dataset.number = name;
  item.title = say(`number_${name}_title`);
  const label = document.createElement("span");
  label.textContent = say(`number_${name}`);
  const figure = document.createElement("b");
  figure.textContent = value;
  item.append(label, " ", figure);
  return item;
}

// Triggers `ready`, after the script has returned and Gradio listens.
function announce() {
  queueMicrotask(() => trigger("ready"));
}
