// The drawing: opaque paper (white, or a picture) under a stack of transparent layers, all of one size.

const MAX_LAYERS = 8;

function newSurface(width, height) {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  return canvas.getContext("2d", { willReadFrequently: true }); // undo reads pixels after every stroke
}

class Sheet {
  constructor(width, height) {
    this.width = width;
    this.height = height;
    this.paper = newSurface(width, height);
    this.layers = []; // bottom first: {number, visible, context}
    this.layersMade = 0;
    this.whitenPaper();
    this.active = this.newLayer();
    this.layers.push(this.active);
  }

  whitenPaper() {
    this.paper.fillStyle = "#fff";
    this.paper.fillRect(0, 0, this.width, this.height);
  }

  newLayer() {
    return { number: ++this.layersMade, visible: true, context: newSurface(this.width, this.height) };
  }

  eraseLayers() {
    for (const { context } of this.layers) context.clearRect(0, 0, this.width, this.height);
  }

  // Draws all visible layers, scaled to the target.
  drawOn(context) {
    const { width, height } = context.canvas;
    context.imageSmoothingQuality = "high";
    context.drawImage(this.paper.canvas, 0, 0, width, height);
    for (const layer of this.layers) {
      if (layer.visible) context.drawImage(layer.context.canvas, 0, 0, width, height);
    }
  }

  // The surfaces to store for undo of a change to all of them.
  surfaces() {
    return [this.paper, ...this.layers.map((layer) => layer.context)];
  }

  insert(layer, index) {
    this.layers.splice(index, 0, layer);
    this.active = layer;
  }

  remove(layer) {
    const index = this.layers.indexOf(layer);
    this.layers.splice(index, 1);
    if (this.active === layer) this.active = this.layers[Math.max(0, index - 1)];
  }

  move(layer, places) {
    const index = this.layers.indexOf(layer);
    this.layers.splice(index, 1);
    this.layers.splice(index + places, 0, layer);
  }

  bytesPerSurface() {
    return 4 * this.width * this.height;
  }
}
