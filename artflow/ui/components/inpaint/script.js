// The live inpaint view: a picture and its mask on one side, the inpainted result on the other.

const LARGEST_PICTURE = 4096; // pixels a side; larger pictures exceed some browsers' memory
const HOLED_QUALITY = 0.92; // of WebP; browsers that cannot write it send PNG
const PANE = [0.75, 1.8]; // the narrowest and widest aspect of a pane

class InpaintView extends DrawingView {
  constructor(root) {
    super(root, "inpaint", new Tools(root, { brush: 48, eraser: 48 }, TINT));
    for (const button of root.querySelectorAll(".af-choose")) {
      button.addEventListener("click", () => this.find(".af-file").click());
    }
  }

  newResult(canvas) {
    return new PatchedResult(canvas);
  }

  newSender() {
    return new LatestFrame(this.connection, () => this.capture());
  }

  newSheet() {
    this.useSheet(new Sheet(16, 16)); // a placeholder until a picture is loaded
    this.refresh();
  }

  // --- connection events --------------------------------------------------------------------------------

  connected(size) {
    super.connected(size);
    if (!this.picture) return;
    this.keepAspect();
    if (this.touched) this.sender.sheetChanged(); // after a reconnect the server has no picture
  }

  visibilityChanged(visible) {
    super.visibilityChanged(visible);
    if (visible && this.picture && this.connection.state === "closed") this.connection.open();
  }

  // Settings are sent without the picture; before there is a mask they are kept for its first frame.
  settingsChanged(keys) {
    if (this.touched || !this.picture) return super.settingsChanged(keys);
    this.connection.parametersChanged(keys);
  }

  answered(info, jpeg) {
    const sent = this.sender.sent.get(info.frame);
    if (sent && jpeg.length) this.shot = { frame: info.frame, ...sent }; // answers to settings repeat its number
    const { shot } = this;
    const wanted = this.touched && info.frame > this.forgotten && shot?.frame === info.frame && shot.sheet === this.sheet;
    return super.answered({ ...info, shot }, wanted ? jpeg : new Uint8Array());
  }

  // --- picture and mask ---------------------------------------------------------------------------------

  useBitmap(bitmap) {
    const scale = Math.min(1, LARGEST_PICTURE / Math.max(bitmap.width, bitmap.height));
    this.picture = newSurface(...scaledSize(bitmap, scale));
    const { canvas } = this.picture;
    this.picture.fillStyle = "#fff"; // under the see-through parts of a PNG
    this.picture.fillRect(0, 0, canvas.width, canvas.height);
    this.picture.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
    if (scale < 1) this.failed(say("made_smaller", { width: canvas.width, height: canvas.height }));
    this.useSheet(new MaskSheet(...this.sheetSize(), canvas));
    this.root.classList.add("af-has-picture");
    this.keepAspect();
    this.showUntouched();
    this.refresh();
    this.wake();
  }

  // At most twice the model's size: it works on a part of the picture, at its own size.
  sheetSize() {
    const { canvas } = this.picture;
    const longest = Math.max(canvas.width, canvas.height);
    const useful = Math.min(longest, 2 * Math.max(this.size.width, this.size.height));
    return scaledSize(canvas, Math.min(props.longest, Math.max(SHARP_SIDE, useful)) / longest);
  }

  keepAspect() {
    const { width, height } = this.picture.canvas;
    const [narrowest, widest] = PANE;
    this.root.style.setProperty("--af-ratio", width / height);
    this.root.style.setProperty("--af-aspect", Math.min(widest, Math.max(narrowest, width / height)));
  }

  refresh() {
    this.touched = Boolean(this.picture && this.sheet.mask());
    super.refresh();
    this.find(".af-clear").disabled = !this.touched;
    if (this.picture && !this.touched) this.showUntouched();
  }

  // Shows the loaded picture; results still in flight belong to a mask that was cleared.
  showUntouched() {
    this.forgotten = this.connection.frame;
    this.shot = null;
    this.result.use(this.picture.canvas);
    this.root.classList.remove("af-has-result");
  }

  async capture() {
    const { sheet } = this;
    const mask = sheet.mask();
    if (!mask) return null;
    const surface = newSurface(sheet.width, sheet.height);
    sheet.drawHoled(surface, mask);
    return { picture: await encode(surface.canvas, "image/webp", HOLED_QUALITY), sheet, mask };
  }

  mayDraw() {
    if (!this.picture) this.find(".af-file").click();
    return Boolean(this.picture);
  }

  strokeEnded() {
    this.sender.sheetChanged();
  }

  clear() {
    if (!this.touched) return;
    this.endStroke();
    const { width, height } = this.sheet;
    const patch = patchOf(this.sheet.active.context, 0, 0, width, height);
    this.sheet.eraseLayers();
    this.changed(pixelStep([patch]));
  }
}

function scaledSize({ width, height }, scale) {
  return [Math.max(1, Math.round(scale * width)), Math.max(1, Math.round(scale * height))];
}

new InpaintView(element.querySelector(".af"));
announce();
