// The picture that is loaded, as large as it is sent, under one layer that says what is to be made anew.

const TINT = "#ff2e93"; // seldom a colour of what is under it
const VEILED = 0.5; // how much of the tint there is over the picture
const HELD_BACK = 102; // of 255, the opacity of a hole on its way out: a canvas forgets the colours under 0

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

  // One byte a pixel, 255 where it is painted; null where nothing is.
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

  // The picture on a surface, half transparent where the mask is. Everywhere else it keeps its colours exactly.
  drawHoled(context, mask) {
    const { data } = this.pixels;
    for (let i = 0; i < mask.length; i++) data[4 * i + 3] = mask[i] ? HELD_BACK : 255;
    context.putImageData(this.pixels, 0, 0);
  }
}
