// The canvas view: tools on top, paper on one side, the picture that follows each stroke on the other.

const CANVAS_QUALITY = 0.92; // smaller and faster than lossless WebP, measured on drawings and on photos

class CanvasView extends DrawingView {
  constructor(root) {
    super(root, "canvas", new ColourTools(root));
    this.on(".af-layer-add", "click", () => this.addLayer());
    this.on(".af-use-result", "click", () => this.useResult());
  }

  newSender() {
    return new StrokeQueue(this.connection, () => this.capture(), () => this.showWaiting());
  }

  // For small models the sheet is larger and scaled down when it is sent, so that lines stay fine.
  sheetSize() {
    const { width, height } = this.size;
    const factor = Math.ceil(SHARP_SIDE / Math.max(width, height));
    return { width: factor * width, height: factor * height };
  }

  newSheet() {
    const { width, height } = this.sheetSize();
    this.useSheet(new Sheet(width, height));
    this.shot = newSurface(this.size.width, this.size.height);
    const act = (action, layer) => this.layerAction(action, layer);
    this.layerStrip = new LayerStrip(this.find(".af-layer-list"), this.sheet, act);
    this.refresh();
  }

  // --- connection events --------------------------------------------------------------------------------

  connected(size) {
    super.connected(size);
    if (!this.sheet || this.touched) return; // a drawing keeps its size
    const { width, height } = this.sheetSize();
    if (this.sheet.width !== width || this.sheet.height !== height) this.newSheet();
  }

  visibilityChanged(visible) {
    super.visibilityChanged(visible);
    if (visible && this.connection.state === "closed") this.connection.open();
  }

  // Changed settings render the drawing again; they are sent with its frame.
  settingsChanged(keys) {
    if (!this.touched) return super.settingsChanged(keys);
    this.connection.parametersChanged(keys);
    this.sender.sheetChanged();
  }

  showWaiting() {
    const count = this.sender.waiting;
    const line = this.find(".af-waiting");
    line.hidden = count === 0;
    line.textContent = say(count === 1 ? "waiting_one" : "waiting_many", { count });
    line.dataset.count = count;
  }

  // --- the picture of the sheet -------------------------------------------------------------------------

  async capture() {
    const { width, height } = this.size;
    const { canvas } = this.shot;
    if (canvas.width !== width || canvas.height !== height) this.shot = newSurface(width, height);
    this.sheet.drawOn(this.shot);
    return { picture: await encode(this.shot.canvas, "image/jpeg", CANVAS_QUALITY) };
  }

  stripSource(context) {
    if (this.touched) this.sheet.drawOn(context);
    return this.touched;
  }

  answered(info, jpeg) {
    this.find(".af-use-result").disabled &&= !jpeg.length;
    return super.answered(info, jpeg);
  }

  refresh() {
    super.refresh();
    this.layerStrip.render();
    this.find(".af-layer-add").disabled = this.sheet.layers.length >= MAX_LAYERS;
  }

  // Replaces the background and all layers: clearing, or a picture as background.
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

  // The layers are erased, since the result contains their strokes.
  useResult() {
    if (!this.result.last) return;
    const { canvas } = this.result;
    this.replaceAll((sheet) => {
      drawCover(sheet.paper, canvas, canvas.width, canvas.height);
      sheet.eraseLayers();
    });
  }

  useBitmap(bitmap) {
    const { width, height } = this.sheet;
    const patch = patchOf(this.sheet.paper, 0, 0, width, height);
    this.sheet.whitenPaper(); // under the see-through parts of a PNG
    drawCover(this.sheet.paper, bitmap, bitmap.width, bitmap.height);
    this.changed(pixelStep([patch]));
  }

  // --- strokes ------------------------------------------------------------------------------------------

  mayDraw() {
    const { visible } = this.sheet.active;
    if (!visible) this.failed(say("layer_hidden"));
    return visible;
  }

  strokeEnded() {
    this.sender.strokeEnded();
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
}

new CanvasView(element.querySelector(".af"));
announce();
