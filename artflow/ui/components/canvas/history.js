// Undo and redo: steps of {bytes, undo(), redo()}, bounded in number and in memory.

const MAX_STEPS = 40;
const MAX_BYTES = 128 * 1024 * 1024;

class UndoHistory {
  constructor() {
    this.past = [];
    this.future = [];
  }

  push(step) {
    this.past.push(step);
    this.future = [];
    let bytes = this.past.reduce((sum, { bytes }) => sum + bytes, 0);
    while (this.past.length > MAX_STEPS || (bytes > MAX_BYTES && this.past.length > 1)) {
      bytes -= this.past.shift().bytes;
    }
  }

  undo() {
    const step = this.past.pop();
    if (!step) return false;
    step.undo();
    this.future.push(step);
    return true;
  }

  redo() {
    const step = this.future.pop();
    if (!step) return false;
    step.redo();
    this.past.push(step);
    return true;
  }
}

// A patch stores a rectangle of a surface before a change: {context, x, y, pixels}.
function patchOf(context, x, y, width, height, source = context) {
  return { context, x, y, pixels: source.getImageData(x, y, width, height) };
}

// Undo and redo both swap the stored and the present pixels, so one copy is enough.
function pixelStep(patches) {
  const exchange = () => {
    for (const patch of patches) {
      const { context, x, y, pixels } = patch;
      patch.pixels = context.getImageData(x, y, pixels.width, pixels.height);
      context.putImageData(pixels, x, y);
    }
  };
  const bytes = patches.reduce((sum, { pixels }) => sum + pixels.data.length, 0);
  return { bytes, undo: exchange, redo: exchange };
}
