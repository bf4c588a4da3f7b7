// What goes to the server, and in which order. The end of every stroke must be answered, so it waits here until
// there is a place; what the sheet looks like in between is only sent while there is a place, newest first.

const CANVAS_QUALITY = 0.92; // smaller and faster than lossless WebP, measured on drawings and on photos
const MAX_WAITING = 200; // strokes; only ever reached when the server has been away for long

class Outbox {
  // `capture` encodes the sheet as it is now; `changed` is told when the number of waiting strokes changes.
  constructor(connection, capture, changed) {
    this.connection = connection;
    this.capture = capture;
    this.changed = changed;
    this.ends = []; // promises of pictures, oldest first
    this.sentEnds = new Map(); // frame -> promise, kept until answered
    this.sentBetween = new Set(); // frames
    this.dirty = false;
    this.pumping = false;
  }

  // Strokes that are still to be answered, without the one in work.
  get waiting() {
    return Math.max(0, this.ends.length + this.sentEnds.size - 1);
  }

  sheetChanged() {
    this.dirty = true;
    this.pump();
  }

  strokeEnded() {
    this.dirty = false;
    this.ends.push(this.capture());
    if (this.ends.length > MAX_WAITING) this.ends.shift();
    this.changed();
    this.pump();
  }

  answered(frame) {
    this.sentBetween.delete(frame);
    if (this.sentEnds.delete(frame)) this.changed();
  }

  // What was on its way when the connection was lost goes out again, in its old order.
  connectionLost() {
    this.ends.unshift(...this.sentEnds.values());
    this.dirty ||= this.sentBetween.size > 0;
    this.sentEnds.clear();
    this.sentBetween.clear();
  }

  async pump() {
    if (this.pumping) return; // one at a time keeps the order
    this.pumping = true;
    try {
      while (await this.sendNext());
    } finally {
      this.pumping = false;
    }
  }

  async sendNext() {
    if (this.ends.length) {
      if (!this.connection.hasPlace()) return false;
      const end = this.ends[0];
      const picture = await end;
      if (this.ends[0] !== end) return true; // the queue changed meanwhile: look again
      if (!this.connection.hasPlace()) return false;
      this.ends.shift();
      this.sentEnds.set(this.connection.send(picture), end);
      return true;
    }
    if (!this.dirty || !this.connection.wantsFrame()) return false;
    this.dirty = false;
    const picture = await this.capture();
    if (this.ends.length) return true; // the stroke ended meanwhile: its last state is newer
    if (!this.connection.hasPlace()) {
      this.dirty = true;
      return false;
    }
    this.sentBetween.add(this.connection.send(picture));
    return true;
  }
}
