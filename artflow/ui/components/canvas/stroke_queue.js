// The frames of a drawing. The state at the end of every stroke is queued and always sent, in order; states in between
// are sent only while the server accepts a frame, the latest first.

const MAX_WAITING = 200; // strokes; reached only when the server was unreachable for long

class StrokeQueue extends LatestFrame {
  // `changed` is told when the number of waiting strokes changes.
  constructor(connection, capture, changed) {
    super(connection, capture);
    this.changed = changed;
    this.ends = []; // promises of what was captured, oldest first
    this.sentEnds = new Map(); // frame -> promise, kept until answered
  }

  // The number of queued strokes, without the one in work.
  get waiting() {
    return Math.max(0, this.ends.length + this.sentEnds.size - 1);
  }

  strokeEnded() {
    this.dirty = false;
    this.ends.push(this.captured());
    if (this.ends.length > MAX_WAITING) this.ends.shift();
    this.changed();
    this.pump();
  }

  answered(frame) {
    super.answered(frame);
    if (this.sentEnds.delete(frame)) this.changed();
  }

  // Unanswered strokes are queued again, in their old order.
  connectionLost() {
    super.connectionLost();
    this.ends.unshift(...this.sentEnds.values());
    this.sentEnds.clear();
  }

  async sendNext() {
    if (!this.ends.length) return super.sendNext();
    if (!this.connection.hasPlace()) return false;
    const end = this.ends[0];
    const shot = await end;
    if (this.ends[0] !== end) return true; // the queue changed meanwhile: look again
    if (shot && !this.connection.hasPlace()) return false;
    this.ends.shift();
    if (shot) this.sentEnds.set(this.connection.send(shot.picture), end);
    this.changed();
    return true;
  }

  overtaken() {
    return this.ends.length > 0; // the stroke has ended: its last state is newer
  }
}
