// One stroke of brush or eraser on one layer: drawn as the points come in, smoothed through their midpoints.

class Stroke {
  // `scratch` keeps the layer as it was, from which only the rectangle that changed is stored for undo.
  constructor(context, scratch, { colour, erase }, point) {
    this.context = context;
    this.scratch = scratch;
    const { width, height } = context.canvas;
    scratch.clearRect(0, 0, width, height);
    scratch.drawImage(context.canvas, 0, 0);
    this.paint = { colour, erase };
    this.box = { left: width, top: height, right: 0, bottom: 0 };
    this.last = this.middle = point;
    this.dot(point); // browsers draw nothing for a line without length
  }

  add(point) {
    const middle = { x: (this.last.x + point.x) / 2, y: (this.last.y + point.y) / 2 };
    this.line(
      (this.last.width + point.width) / 2,
      (path) => path.quadraticCurveTo(this.last.x, this.last.y, middle.x, middle.y),
      this.last,
      middle,
    );
    this.middle = middle;
    this.last = point;
  }

  // Draws the rest up to the last point; returns the patch that undoes the stroke.
  finish() {
    this.line(this.last.width, (path) => path.lineTo(this.last.x, this.last.y), this.last);
    const { left, top, right, bottom } = this.box;
    if (right <= left || bottom <= top) return null; // all of it was outside the paper
    return patchOf(this.context, left, top, right - left, bottom - top, this.scratch);
  }

  dot({ x, y, width }) {
    this.draw((context) => {
      context.arc(x, y, width / 2, 0, 2 * Math.PI);
      context.fill();
    });
    this.grow({ x, y }, width / 2 + 2);
  }

  line(width, addPath, ...reached) {
    this.draw((context) => {
      context.lineWidth = width;
      context.lineCap = context.lineJoin = "round";
      context.moveTo(this.middle.x, this.middle.y);
      addPath(context);
      context.stroke();
    });
    for (const point of [this.middle, ...reached]) this.grow(point, width / 2 + 2);
  }

  draw(paint) {
    const { context } = this;
    context.save();
    context.globalCompositeOperation = this.paint.erase ? "destination-out" : "source-over";
    context.strokeStyle = context.fillStyle = this.paint.erase ? "#000" : this.paint.colour;
    context.beginPath();
    paint(context);
    context.restore();
  }

  grow({ x, y }, margin) {
    const { width, height } = this.context.canvas;
    this.box.left = Math.max(0, Math.min(this.box.left, Math.floor(x - margin)));
    this.box.top = Math.max(0, Math.min(this.box.top, Math.floor(y - margin)));
    this.box.right = Math.min(width, Math.max(this.box.right, Math.ceil(x + margin)));
    this.box.bottom = Math.min(height, Math.max(this.box.bottom, Math.ceil(y + margin)));
  }
}

// How wide the brush is at an event. Only pens know their pressure; mice and fingers report a constant.
function widthAt(event, size, usePressure) {
  return usePressure && event.pointerType === "pen" ? Math.max(1, size * 2 * event.pressure ** 1.4) : size;
}
