// The result: the loaded picture at its own size, with the inpainted part on top.

const NOT_TOLD = { feather: 8, mask_edge: "inwards" }; // where the recipe has none

class PatchedResult extends Result {
  // Shows the loaded picture and drops all results of an earlier one.
  use(original) {
    this.original = original;
    this.last = null;
    this.drawn = ++this.came; // results still being decoded belong to the earlier picture
    fitTo(this.canvas, original).drawImage(original, 0, 0);
  }

  draw(bitmap, { shot, recipe }) {
    const context = fitTo(this.canvas, this.original);
    context.imageSmoothingQuality = "high";
    context.drawImage(this.original, 0, 0);
    context.drawImage(this.patch(bitmap, shot, { ...NOT_TOLD, ...recipe }), 0, 0, ...this.size());
  }

  size() {
    return [this.original.width, this.original.height];
  }

  // The result cut out by the feathered mask of the frame that it answers.
  patch(bitmap, shot, { feather, mask_edge: edge }) {
    const { width, height } = shot.sheet;
    if (shot.feather !== feather || shot.edge !== edge) {
      shot.opacity = featheredSurface(shot.mask, width, height, feather, edge);
      Object.assign(shot, { feather, edge });
    }
    const patch = newSurface(width, height);
    patch.drawImage(bitmap, 0, 0, width, height);
    patch.globalCompositeOperation = "destination-in";
    patch.drawImage(shot.opacity.canvas, 0, 0);
    return patch.canvas;
  }

  // PNG, so that every pixel outside of the mask is exactly that of the loaded picture.
  file() {
    return blobOf(this.canvas, "image/png");
  }
}
