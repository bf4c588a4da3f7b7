// The base of the views that are drawn on (canvas, live inpaint): strokes, undo and redo, loaded pictures, keys.
// Subclasses implement newSheet(), newSender(), useBitmap(bitmap), clear(), mayDraw() and strokeEnded().

const SHARP_SIDE = 512; // pixels that the longer side of a sheet has at least
const TYPED_IN = "input:not([type=range], [type=color]), textarea, select, [contenteditable=true]";

class DrawingView extends LiveView {
  constructor(root, mode, tools) {
    super(root, mode);
    this.paper = this.find(".af-paper");
    this.ring = this.find(".af-ring");
    this.tools = tools;
    this.stroke = null;
    this.pointer = null; // id of the pointer that draws; a palm on the screen is another pointer, primary among touches
    this.sender = this.newSender();
    this.newSheet();
    this.on(".af-undo", "click", () => this.undo());
    this.on(".af-redo", "click", () => this.redo());
    this.on(".af-clear", "click", () => this.clear());
    this.listenToPaper();
    this.listenToPictures();
    this.listenToKeys();
    if (hub.pictures[mode]) this.loadPicture(hub.pictures[mode]);
    delete hub.pictures[mode];
  }

  useSheet(sheet) {
    const { width, height } = sheet;
    this.sheet = sheet;
    this.scratch = newSurface(width, height);
    this.history = new UndoHistory();
    this.touched = false; // whether anything has been drawn
    this.paper.width = width;
    this.paper.height = height;
  }

  // --- connection events --------------------------------------------------------------------------------

  connectionChanged(state) {
    super.connectionChanged(state);
    if (this.sender && state !== "open" && state !== "connecting") this.sender.connectionLost();
  }

  placeFree() {
    this.sender?.pump();
  }

  answered(info, jpeg) {
    this.sender.answered(info.frame);
    if (jpeg.length) {
      // Drawings are not pipelined, so more than one frame in work and one next only adds latency.
      const { connection } = this;
      connection.interval = 0.8 * connection.interval + 0.2 * Math.max(1000 / 30, info.latency_ms);
    }
    return super.answered(info, jpeg);
  }

  failed(message, frame) {
    this.sender?.answered(frame);
    super.failed(message, frame);
  }

  wake() {
    if (["closed", "timeout"].includes(this.connection.state)) this.connection.open();
  }

  // --- what is on the page ------------------------------------------------------------------------------

  redraw() {
    this.drawing ??= requestAnimationFrame(() => {
      this.drawing = null;
      this.sheet.drawOn(this.paper.getContext("2d"));
    });
  }

  refresh() {
    this.redraw();
    this.find(".af-undo").disabled = !this.history.past.length;
    this.find(".af-redo").disabled = !this.history.future.length;
    this.root.classList.toggle("af-touched", this.touched);
  }

  // To be called after every change that is not a stroke.
  changed(step) {
    if (step) this.history.push(step);
    this.touched = true;
    this.refresh();
    this.wake();
    this.sender.sheetChanged();
  }

  undo() {
    if (!this.stroke && this.history.undo()) this.changed();
  }

  redo() {
    if (!this.stroke && this.history.redo()) this.changed();
  }

  // --- strokes ------------------------------------------------------------------------------------------

  listenToPaper() {
    const { paper } = this;
    paper.addEventListener("pointerdown", (event) => this.beginStroke(event));
    paper.addEventListener("pointermove", (event) => this.moveStroke(event));
    for (const end of ["pointerup", "pointercancel", "lostpointercapture"]) {
      paper.addEventListener(end, (event) => event.pointerId === this.pointer && this.endStroke());
    }
    paper.addEventListener("pointerleave", () => (this.ring.hidden = true));
    paper.addEventListener("contextmenu", (event) => event.preventDefault()); // long press with a pen
  }

  beginStroke(event) {
    const pressed = event.button === 0 || event.button === 5; // 5 is the other end of a pen
    if (!event.isPrimary || !pressed || this.stroke || !this.mayDraw()) return;
    event.preventDefault();
    this.paper.focus({ preventScroll: true });
    this.pointer = event.pointerId;
    this.paper.setPointerCapture(event.pointerId);
    const erase = this.tools.tool === "eraser" || event.button === 5;
    const paint = { colour: this.tools.colour, erase };
    this.stroke = new Stroke(this.sheet.active.context, this.scratch, paint, this.pointOf(event));
    this.touched = true;
    this.root.classList.add("af-touched");
    this.wake();
    this.redraw();
    this.sender.sheetChanged();
  }

  moveStroke(event) {
    if (this.stroke && event.pointerId !== this.pointer) return;
    this.showRing(event);
    if (!this.stroke) return;
    const events = event.getCoalescedEvents?.() ?? [];
    for (const part of events.length ? events : [event]) this.stroke.add(this.pointOf(part));
    this.redraw();
    this.sender.sheetChanged();
  }

  endStroke() {
    if (!this.stroke) return;
    const patch = this.stroke.finish();
    this.stroke = this.pointer = null;
    if (patch) this.history.push(pixelStep([patch]));
    this.refresh();
    this.strokeEnded();
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
    const left = this.paper.offsetLeft + event.clientX - box.left - diameter / 2;
    const top = this.paper.offsetTop + event.clientY - box.top - diameter / 2;
    this.ring.style.width = this.ring.style.height = `${diameter}px`;
    this.ring.style.transform = `translate(${left}px, ${top}px)`;
  }

  // --- pictures from outside ----------------------------------------------------------------------------

  // A model that had to be loaded first shows the drawing as it stands; the server has only heard of the settings.
  moved(served) {
    super.moved(served);
    if (served.late && this.touched) this.sender.sheetChanged();
  }

  loadPicture(url) {
    return this.usePicture(fetch(url).then((response) => response.blob()));
  }

  // Takes a file or blob, or the promise of one.
  async usePicture(file) {
    let bitmap;
    try {
      bitmap = await bitmapOf(await file);
    } catch (error) {
      return this.failed(error.message || say("not_a_picture"));
    }
    this.hideError();
    this.endStroke();
    this.useBitmap(bitmap);
    bitmap.close();
  }

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

  // Keys and paste are handled only while the pointer or focus is in the view, and not in text fields.
  hasAttention({ target }) {
    const typing = target.closest?.(TYPED_IN);
    return this.visible && !typing && (this.hovered || this.root.contains(document.activeElement));
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
