// The result: the picture that was loaded, at its own size, and over it only what was made.

const NO_FEATHER_TOLD = 8; // pixels, of a server whose recipes do not say

class PatchedResult extends Result {
  // Shows the picture as it is; everything made for another one is forgotten.
  use(original) {
    this.original = original;
    this.last = null;
    this.drawn = ++this.came; // what is still being decoded belongs to what was before
    fitTo(this.canvas, original).drawImage(original, 0, 0);
  }

  draw(bitmap, { shot, recipe }) {
    const context = fitTo(this.canvas, this.original);
    context.imageSmoothingQuality = "high";
    context.drawImage(this.original, 0, 0);
    context.drawImage(this.patch(bitmap, shot, recipe?.feather ?? NO_FEATHER_TOLD), 0, 0, ...this.size());
  }

  size() {
    return [this.original.width, this.original.height];
  }

  // What was made, seen through the mask of the very frame that it answers.
  patch(bitmap, shot, feather) {
    const { width, height } = shot.sheet;
    if (shot.feather !== feather) {
      shot.opacity = featheredSurface(shot.mask, width, height, feather);
      shot.feather = feather;
    }
    const patch = newSurface(width, height);
    patch.drawImage(bitmap, 0, 0, width, height);
    patch.globalCompositeOperation = "destination-in";
    patch.drawImage(shot.opacity.canvas, 0, 0);
    return patch.canvas;
  }

  // PNG: outside of what was made it is the picture that was loaded, to the pixel.
  file() {
    return blobOf(this.canvas, "image/png");
  }
}
