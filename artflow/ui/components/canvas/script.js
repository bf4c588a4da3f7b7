// The canvas view: tools on top, paper on one side, the picture that follows each stroke on the other.

const SHARP_SIDE = 512; // pixels that the longer side of a sheet has at least
const TYPED_IN = "input:not([type=range], [type=color]), textarea, select, [contenteditable=true]";

class CanvasView extends LiveView {
  constructor(root) {
    super(root, "canvas");
    this.paper = this.find(".af-paper");
    this.ring = this.find(".af-ring");
    this.tools = new Tools(root);
    this.stroke = null;
    this.outbox = new Outbox(this.connection, () => this.capture(), () => this.showWaiting());
    this.newSheet();
    this.listenToButtons();
    this.listenToPaper();
    this.listenToPictures();
    this.listenToKeys();
    if (hub.pictures.canvas) this.loadPicture(hub.pictures.canvas);
    delete hub.pictures.canvas;
  }

  // Small models get fine lines all the same: the sheet is larger and is scaled down on its way out.
  sheetSize() {
    const { width, height } = this.size;
    const factor = Math.ceil(SHARP_SIDE / Math.max(width, height));
    return { width: factor * width, height: factor * height };
  }

  newSheet() {
    const { width, height } = this.sheetSize();
    this.sheet = new Sheet(width, height);
    this.scratch = newSurface(width, height);
    this.shot = newSurface(this.size.width, this.size.height);
    this.history = new History();
    this.touched = false; // whether there is anything to ask a picture for
    const act = (action, layer) => this.layerAction(action, layer);
    this.strip = new LayerStrip(this.find(".af-layer-list"), this.sheet, act);
    this.paper.width = width;
    this.paper.height = height;
    this.refresh();
  }

  // --- what the connection tells ------------------------------------------------------------------------

  connected(size) {
    super.connected(size);
    if (!this.sheet || this.touched) return; // a drawing keeps its size
    const { width, height } = this.sheetSize();
    if (this.sheet.width !== width || this.sheet.height !== height) this.newSheet();
  }

  connectionChanged(state) {
    super.connectionChanged(state);
    if (this.outbox && state !== "open" && state !== "connecting") this.outbox.connectionLost();
  }

  seenChanged(seen) {
    if (seen && this.connection.state === "closed") this.connection.open();
  }

  placeFree() {
    this.outbox?.pump();
  }

  answered(info, jpeg) {
    this.outbox.answered(info.frame);
    if (jpeg.length) {
      // Strokes are answered one by one: more on the way than one in work and one next only adds waiting.
      const { connection } = this;
      connection.interval = 0.8 * connection.interval + 0.2 * Math.max(1000 / 30, info.latency_ms);
    }
    return super.answered(info, jpeg);
  }

  failed(message, frame) {
    this.outbox?.answered(frame);
    super.failed(message, frame);
  }

  // A new prompt asks for a new picture of the same drawing; the frame takes the parameters along.
  settingsChanged(keys) {
    if (!this.touched) return super.settingsChanged(keys);
    this.connection.parametersChanged(keys);
    this.outbox.sheetChanged();
  }

  showWaiting() {
    const count = this.outbox.waiting;
    const line = this.find(".af-waiting");
    line.hidden = count === 0;
    line.textContent = say(count === 1 ? "waiting_one" : "waiting_many", { count });
    line.dataset.count = count;
  }

  // --- the picture of the sheet -------------------------------------------------------------------------

  capture() {
    const { width, height } = this.size;
    const { canvas } = this.shot;
    if (canvas.width !== width || canvas.height !== height) this.shot = newSurface(width, height);
    this.sheet.drawOn(this.shot);
    return encodeJpeg(this.shot.canvas, CANVAS_QUALITY);
  }

  redraw() {
    this.drawing ??= requestAnimationFrame(() => {
      this.drawing = null;
      this.sheet.drawOn(this.paper.getContext("2d"));
    });
  }

  refresh() {
    this.redraw();
    this.strip.render();
    this.find(".af-undo").disabled = !this.history.past.length;
    this.find(".af-redo").disabled = !this.history.future.length;
    this.find(".af-layer-add").disabled = this.sheet.layers.length >= MAX_LAYERS;
    this.root.classList.toggle("af-touched", this.touched);
  }

  // Every change that is not a stroke ends here.
  changed(step) {
    if (step) this.history.push(step);
    this.touched = true;
    this.refresh();
    this.wake();
    this.outbox.sheetChanged();
  }

  wake() {
    if (["closed", "timeout"].includes(this.connection.state)) this.connection.open();
  }

  undo() {
    if (!this.stroke && this.history.undo()) this.changed();
  }

  redo() {
    if (!this.stroke && this.history.redo()) this.changed();
  }

  // Changes paper and layers as a whole: clearing, or a picture as paper.
  replaceAll(draw) {
    this.endStroke();
    const { width, height } = this.sheet;
    const patches = this.sheet.surfaces().map((surface) => patchOf(surface, 0, 0, width, height));
    draw(this.sheet);
    this.changed(pixelStep(patches));
  }

  clear() {
    this.replaceAll((sheet) => {
      sheet.whitenPaper();
      sheet.eraseLayers();
    });
  }

  // The strokes are part of the result already, so they leave the layers.
  useResult() {
    if (!this.result.last) return;
    const { canvas } = this.result;
    this.replaceAll((sheet) => {
      drawCover(sheet.paper, canvas, canvas.width, canvas.height);
      sheet.eraseLayers();
    });
  }

  loadPicture(url) {
    return this.usePicture(fetch(url).then((response) => response.blob()));
  }

  // Takes a file or blob, or the promise of one.
  async usePicture(file) {
    let bitmap;
    try {
      bitmap = await createImageBitmap(await file);
    } catch {
      return this.failed(say("not_a_picture"));
    }
    this.hideError();
    this.endStroke();
    const { width, height } = this.sheet;
    const patch = patchOf(this.sheet.paper, 0, 0, width, height);
    this.sheet.whitenPaper(); // under the see-through parts of a PNG
    drawCover(this.sheet.paper, bitmap, bitmap.width, bitmap.height);
    bitmap.close();
    this.changed(pixelStep([patch]));
  }

  // --- layers -------------------------------------------------------------------------------------------

  addLayer() {
    const { sheet } = this;
    const layer = sheet.newLayer();
    const index = sheet.layers.indexOf(sheet.active) + 1;
    this.layerStep(() => sheet.insert(layer, index), () => sheet.remove(layer));
  }

  layerAction(action, layer) {
    const { sheet } = this;
    const index = sheet.layers.indexOf(layer);
    const toggle = () => (layer.visible = !layer.visible);
    if (action === "choose") {
      sheet.active = layer;
      this.refresh();
    } else if (action === "toggle") this.layerStep(toggle, toggle);
    else if (action === "up") this.layerStep(() => sheet.move(layer, 1), () => sheet.move(layer, -1));
    else if (action === "down") this.layerStep(() => sheet.move(layer, -1), () => sheet.move(layer, 1));
    else this.layerStep(() => sheet.remove(layer), () => sheet.insert(layer, index));
  }

  layerStep(redo, undo) {
    this.endStroke();
    redo();
    this.changed({ bytes: this.sheet.bytesPerSurface(), undo, redo });
  }

  // --- strokes ------------------------------------------------------------------------------------------

  listenToPaper() {
    const { paper } = this;
    paper.addEventListener("pointerdown", (event) => this.beginStroke(event));
    paper.addEventListener("pointermove", (event) => this.moveStroke(event));
    for (const end of ["pointerup", "pointercancel", "lostpointercapture"]) {
      paper.addEventListener(end, (event) => event.isPrimary && this.endStroke());
    }
    paper.addEventListener("pointerleave", () => (this.ring.hidden = true));
    paper.addEventListener("contextmenu", (event) => event.preventDefault()); // long press with a pen
  }

  beginStroke(event) {
    const pressed = event.button === 0 || event.button === 5; // 5 is the other end of a pen
    if (!event.isPrimary || !pressed || this.stroke) return;
    const layer = this.sheet.active;
    if (!layer.visible) return this.failed(say("layer_hidden"));
    event.preventDefault();
    this.paper.focus({ preventScroll: true });
    this.paper.setPointerCapture(event.pointerId);
    const erase = this.tools.tool === "eraser" || event.button === 5;
    const paint = { colour: this.tools.colour, erase };
    this.stroke = new Stroke(layer.context, this.scratch, paint, this.pointOf(event));
    this.touched = true;
    this.root.classList.add("af-touched");
    this.wake();
    this.redraw();
    this.outbox.sheetChanged();
  }

  moveStroke(event) {
    this.showRing(event);
    if (!this.stroke || !event.isPrimary) return;
    const events = event.getCoalescedEvents?.() ?? [];
    for (const part of events.length ? events : [event]) this.stroke.add(this.pointOf(part));
    this.redraw();
    this.outbox.sheetChanged();
  }

  endStroke() {
    if (!this.stroke) return;
    const patch = this.stroke.finish();
    this.stroke = null;
    if (patch) this.history.push(pixelStep([patch]));
    this.refresh();
    this.outbox.strokeEnded();
  }

  pointOf(event) {
    const box = this.paper.getBoundingClientRect();
    return {
      x: ((event.clientX - box.left) * this.sheet.width) / box.width,
      y: ((event.clientY - box.top) * this.sheet.height) / box.height,
      width: widthAt(event, this.tools.size, this.tools.pressure),
    };
  }

  // The outline of the brush under the mouse or the hovering pen.
  showRing(event) {
    this.ring.hidden = event.pointerType === "touch";
    const box = this.paper.getBoundingClientRect();
    const diameter = (this.tools.size * box.width) / this.sheet.width;
    const [left, top] = [event.clientX - box.left - diameter / 2, event.clientY - box.top - diameter / 2];
    this.ring.style.width = this.ring.style.height = `${diameter}px`;
    this.ring.style.transform = `translate(${left}px, ${top}px)`;
  }

  // --- buttons -------------------------------------------------------------------------------------------

  listenToButtons() {
    this.on(".af-undo", "click", () => this.undo());
    this.on(".af-redo", "click", () => this.redo());
    this.on(".af-clear", "click", () => this.clear());
    this.on(".af-layer-add", "click", () => this.addLayer());
    this.on(".af-use-result", "click", () => this.useResult());
  }

  // --- pictures from outside ----------------------------------------------------------------------------

  listenToPictures() {
    const input = this.find(".af-file");
    const pane = this.find(".af-source");
    this.on(".af-load", "click", () => input.click());
    input.addEventListener("change", () => {
      if (input.files[0]) this.usePicture(input.files[0]);
      input.value = ""; // so that the same file can be chosen again
    });
    pane.addEventListener("dragover", (event) => {
      event.preventDefault();
      pane.classList.add("af-drop");
    });
    pane.addEventListener("dragleave", () => pane.classList.remove("af-drop"));
    pane.addEventListener("drop", (event) => {
      event.preventDefault();
      pane.classList.remove("af-drop");
      if (event.dataTransfer.files[0]) this.usePicture(event.dataTransfer.files[0]);
    });
    const paste = (event) => {
      const file = [...(event.clipboardData?.files ?? [])].find(({ type }) => type.startsWith("image/"));
      if (!file || !this.hasAttention(event)) return;
      event.preventDefault();
      this.usePicture(file);
    };
    document.addEventListener("paste", paste, { signal: this.leaving.signal });
  }

  // --- keyboard -----------------------------------------------------------------------------------------

  listenToKeys() {
    this.root.addEventListener("pointerenter", () => (this.hovered = true));
    this.root.addEventListener("pointerleave", () => (this.hovered = false));
    document.addEventListener("keydown", (event) => this.keyDown(event), { signal: this.leaving.signal });
  }

  // Keys and pasted pictures are ours only over or in the view, and never while somebody types.
  hasAttention({ target }) {
    const typing = target.closest?.(TYPED_IN);
    return this.seen && !typing && (this.hovered || this.root.contains(document.activeElement));
  }

  keyDown(event) {
    if (!this.hasAttention(event)) return;
    const command = event.ctrlKey || event.metaKey;
    const key = `${command ? "Ctrl+" : ""}${event.shiftKey && command ? "Shift+" : ""}${event.key.toLowerCase()}`;
    const action = {
      "Ctrl+z": () => this.undo(),
      "Ctrl+Shift+z": () => this.redo(),
      "Ctrl+y": () => this.redo(),
      b: () => this.tools.choose("brush"),
      e: () => this.tools.choose("eraser"),
      "[": () => this.tools.smaller(),
      "]": () => this.tools.larger(),
    }[key];
    if (!action || event.altKey) return;
    event.preventDefault();
    action();
  }
}

new CanvasView(element.querySelector(".af"));
announce();
