// Sends the latest state of a sheet whenever the server accepts a frame; older states are dropped.

class LatestFrame {
  // `capture` returns a promise of the sheet's state, {picture: bytes, ...}, or null if there is nothing to send.
  constructor(connection, capture) {
    this.connection = connection;
    this.capture = capture;
    this.sent = new Map(); // frame -> what was captured, kept until answered
    this.dirty = false;
    this.pumping = false;
  }

  sheetChanged() {
    this.dirty = true;
    this.pump();
  }

  // What cannot be captured is said and gone; the next state has it, too.
  captured() {
    return this.capture().catch((error) => void this.connection.owner.failed(error.message));
  }

  answered(frame) {
    this.sent.delete(frame);
  }

  connectionLost() {
    this.dirty ||= this.sent.size > 0;
    this.sent.clear();
  }

  async pump() {
    if (this.pumping) return; // one loop at a time keeps the order
    this.pumping = true;
    try {
      while (await this.sendNext());
    } finally {
      this.pumping = false;
    }
  }

  // Sends the next frame if possible; resolves to whether there may be another one to send.
  async sendNext() {
    if (!this.dirty || !this.connection.wantsFrame()) return false;
    this.dirty = false;
    const shot = await this.captured();
    if (this.overtaken()) return true;
    if (!shot) return this.dirty;
    if (!this.connection.hasPlace()) {
      this.dirty = true;
      return false;
    }
    this.sent.set(this.connection.send(shot.picture), shot);
    return true;
  }

  // Whether a newer state must be sent instead of the one just captured.
  overtaken() {
    return false;
  }
}
