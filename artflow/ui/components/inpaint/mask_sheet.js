// The loaded picture at the size in which it is sent, under one layer that holds the mask.

const TINT = "#ff2e93"; // a rare colour in pictures
const VEILED = 0.5; // opacity of the tint over the picture
const HELD_BACK = 102; // of 255, the alpha sent for masked pixels: at 0 a canvas loses their colours

class MaskSheet extends Sheet {
  constructor(width, height, picture) {
    super(width, height);
    this.paper.imageSmoothingQuality = "high";
    this.paper.drawImage(picture, 0, 0, width, height);
    this.pixels = this.paper.getImageData(0, 0, width, height);
  }

  drawOn(context) {
    context.drawImage(this.paper.canvas, 0, 0);
    context.globalAlpha = VEILED;
    context.drawImage(this.active.context.canvas, 0, 0);
    context.globalAlpha = 1;
  }

  // The mask, one byte a pixel, 255 where painted; null if nothing is painted.
  mask() {
    const { data } = this.active.context.getImageData(0, 0, this.width, this.height);
    const mask = new Uint8Array(this.width * this.height);
    let painted = false;
    for (let i = 0; i < mask.length; i++) {
      if (data[4 * i + 3] < 128) continue;
      mask[i] = 255;
      painted = true;
    }
    return painted ? mask : null;
  }

  // Draws the picture, partly transparent under the mask; elsewhere its colours are exact.
  drawHoled(context, mask) {
    const { data } = this.pixels;
    for (let i = 0; i < mask.length; i++) data[4 * i + 3] = mask[i] ? HELD_BACK : 255;
    context.putImageData(this.pixels, 0, 0);
  }
}
