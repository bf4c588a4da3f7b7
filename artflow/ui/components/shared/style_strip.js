// The strip of style thumbnails: each shows the person's own last picture, or a sample, in one style. A click writes the
// style's name into the prompt, which is what counts: whatever a prompt names is lit.

const STRIP_EVERY = 10_000; // milliseconds between two sheets of thumbnails
const STRIP_SHARE = 20; // and so many times as long as the last one took, so that a slow server has rest
const STRIP_SIDE = 128; // pixels of the picture that is painted
const TYPING = 250; // milliseconds
const PLAIN = /^\(?\s*(.*?)\s*(?::\s*[\d.]+)?\s*\)?$/; // a part of a prompt, without brackets and weight

class StyleStrip {
  // `view` has `stripSource(context)`, which draws its picture and tells whether it has one.
  constructor(view) {
    this.view = view;
    this.root = view.find(".af-strip");
    this.row = view.find(".af-strip-row");
    this.tiles = new Map(); // style id -> its button
    this.named = new Set(); // ids that the prompt names
    this.rest = "";
    this.paintedFrame = 0; // the view's frame at the last sheet
    this.paintedAt = -Infinity;
    this.took = 0;
    this.surface = newStripSurface();
    this.row.addEventListener("keydown", (event) => this.keyDown(event));
    this.listenToPicture();
    this.inView = false;
    this.observer = new IntersectionObserver((entries) => (this.inView = entries.at(-1).isIntersecting));
    this.observer.observe(this.root);
    this.clock = setInterval(() => this.tick(), 1000);
    this.build();
  }

  leave() {
    clearInterval(this.clock);
    clearTimeout(this.lighting);
    this.observer.disconnect();
  }

  async build(again = false) {
    const table = await styleTable(again).catch(() => null);
    if (!table) return; // the server has no such strip, or cannot be reached
    for (const tile of this.tiles.values()) tile.closest(".af-style").remove();
    this.tiles.clear();
    this.words = new Map(table.styles.flatMap(({ id, names, words }) =>
      [...words, ...Object.values(names)].map((word) => [word.toLowerCase(), id]))); // prettier-ignore
    for (const { id } of table.styles) this.addTile(id, styleName(id));
    this.root.hidden = false;
    this.roam(this.buttons()[0]);
    this.light();
    await this.paint(fetch(routeUrl("painter/thumbnails")));
    this.paintedAt = -Infinity; // the sample: a person's own picture may come at once
  }

  addTile(id, name) {
    const box = document.createElement("div");
    box.className = "af-style";
    const tile = document.createElement("button");
    tile.type = "button";
    tile.className = "af-style-choose";
    tile.dataset.style = id;
    tile.title = name;
    tile.setAttribute("aria-pressed", "false");
    const picture = document.createElement("canvas");
    picture.width = picture.height = 1;
    const label = document.createElement("span");
    label.textContent = name;
    tile.append(picture, label);
    tile.addEventListener("click", () => this.choose(id));
    box.append(tile);
    this.row.append(box);
    this.tiles.set(id, tile);
  }

  // --- the prompt ---------------------------------------------------------------------------------------

  get prompt() {
    return window.artflow.values(this.view.mode, ["prompt"])[0] ?? props.prompt ?? "";
  }

  // Lights what the prompt names, once nothing is typed for a moment.
  promptChanged() {
    clearTimeout(this.lighting);
    this.lighting = setTimeout(() => this.light(), TYPING);
  }

  async light() {
    const { prompt } = this;
    const found = await getJson("painter/named", { prompt }).catch(() => null);
    if (!found || prompt !== this.prompt) return;
    this.lightUp(Object.keys(found.styles), found.rest);
  }

  lightUp(ids, rest) {
    this.named = new Set(ids);
    this.rest = rest;
    for (const [id, tile] of this.tiles) tile.setAttribute("aria-pressed", this.named.has(id));
  }

  // The first click replaces the prompt that the page came with; later ones add to what is named, or take out.
  choose(id) {
    const untouched = hub.settings[this.view.mode]?.prompt === undefined;
    const ids = new Set(untouched ? [] : this.named);
    const [prompt, rest] = [untouched ? "" : this.prompt.trim().replace(/[,，、\s]+$/, ""), untouched ? "" : this.rest];
    if (ids.delete(id)) this.write(this.without(id, ids, prompt, rest));
    else {
      ids.add(id);
      this.write([prompt, styleName(id)].filter(Boolean).join(", "));
    }
    this.lightUp(ids, rest);
  }

  // The prompt without a style: without the parts that are its name, or else, where it is named inside a sentence, what
  // is left of the prompt, and the names of the other styles.
  without(id, others, prompt, rest) {
    const parts = prompt.split(/[,，、;；\n]/).map((part) => part.trim());
    const left = parts.filter((part) => this.words.get(part.match(PLAIN)[1].toLowerCase()) !== id);
    if (left.length < parts.length) return left.join(", ");
    return [rest, ...[...others].map(styleName)].filter(Boolean).join(", ");
  }

  write(prompt) {
    window.artflow.set(this.view.mode, { prompt });
    trigger("styled"); // the prompt field shows it
  }

  // --- keys: one button is in the order of tabs, arrows go from one to the next ---------------------------

  buttons() {
    return [...this.row.querySelectorAll(".af-style:not([hidden]) > .af-style-choose")];
  }

  roam(to) {
    for (const button of this.buttons()) button.tabIndex = button === to ? 0 : -1;
  }

  keyDown(event) {
    const buttons = this.buttons();
    const at = buttons.indexOf(document.activeElement);
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: buttons.length - 1 }[event.key];
    if (at < 0 || to === undefined) return;
    event.preventDefault();
    const button = buttons[(to + buttons.length) % buttons.length];
    this.roam(button);
    button.focus();
  }

  // --- the style of any picture -------------------------------------------------------------------------

  listenToPicture() {
    const box = this.row.querySelector(".af-style-picture");
    const input = box.querySelector("input");
    this.pictureTile = box.querySelector(".af-style-choose");
    this.removeButton = box.querySelector(".af-style-remove");
    this.pictureTile.addEventListener("click", () => input.click());
    this.removeButton.addEventListener("click", () => this.pick(null));
    input.addEventListener("change", () => {
      if (input.files[0]) this.pick(input.files[0]);
      input.value = ""; // so that the same file can be chosen again
    });
    box.addEventListener("dragover", (event) => event.preventDefault());
    box.addEventListener("drop", (event) => {
      event.preventDefault();
      if (event.dataTransfer.files[0]) this.pick(event.dataTransfer.files[0]);
    });
  }

  // Hands a file, or none, to the page's field, which has the server read it.
  async pick(file) {
    try {
      const uploaded = file && (await upload(file));
      const meta = { _type: "gradio.FileData" };
      hub.picked = uploaded && { ...uploaded, orig_name: file.name, mime_type: file.type, size: file.size, meta };
      trigger("picked");
    } catch (error) {
      this.view.failed(error.message);
    }
  }

  // Shows what the page's field has: the picture at a URL, or none.
  async showPicked(url) {
    const canvas = this.pictureTile.querySelector("canvas");
    this.pictureTile.setAttribute("aria-pressed", Boolean(url));
    this.removeButton.hidden = !url;
    this.pictureTile.classList.toggle("af-has-picture", Boolean(url));
    if (!url) return;
    const bitmap = await fetch(url).then((response) => response.blob()).then(bitmapOf).catch(() => null); // prettier-ignore
    if (!bitmap) return;
    canvas.width = canvas.height = STRIP_SIDE;
    drawCover(canvas.getContext("2d"), bitmap, bitmap.width, bitmap.height);
    bitmap.close();
  }

  // --- thumbnails ---------------------------------------------------------------------------------------

  // A new sheet where the strip is seen, the view has gone on, and the last one is old enough.
  tick() {
    const { connection, visible } = this.view;
    const pause = Math.max(STRIP_EVERY, STRIP_SHARE * this.took);
    if (this.painting || !visible || !this.inView || connection.state !== "open") return;
    if (!connection.frame || connection.frame === this.paintedFrame || performance.now() - this.paintedAt < pause) return;
    if (!this.view.stripSource(this.surface)) return;
    this.paintedFrame = connection.frame;
    this.painting = this.send().finally(() => (this.painting = null));
  }

  async send() {
    const body = await encode(this.surface.canvas, "image/jpeg", 0.85);
    await this.paint(fetch(routeUrl("painter/thumbnails"), { method: "POST", body }));
  }

  async paint(request) {
    const begun = performance.now();
    try {
      const response = await request;
      if (response.ok) await this.draw(...unpackMessage(await response.arrayBuffer()));
    } catch {
      // The old thumbnails stay: these are no pictures that somebody waits for.
    }
    this.paintedAt = performance.now();
    this.took = this.paintedAt - begun;
  }

  async draw({ styles, side, columns }, jpeg) {
    const sheet = await createImageBitmap(new Blob([jpeg], { type: "image/jpeg" }));
    for (const [id, tile] of this.tiles) tile.parentElement.hidden = !styles.includes(id); // its file is of no use
    styles.forEach((id, number) => {
      const canvas = this.tiles.get(id)?.querySelector("canvas");
      if (!canvas) return;
      const [x, y] = [(number % columns) * side, Math.floor(number / columns) * side];
      fitTo(canvas, { width: side, height: side }).drawImage(sheet, x, y, side, side, 0, 0, side, side);
    });
    sheet.close();
    this.root.dataset.sheets = Number(this.root.dataset.sheets ?? 0) + 1;
  }
}

function newStripSurface() {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = STRIP_SIDE;
  return canvas.getContext("2d", { willReadFrequently: true });
}
