// What a sheet looks like goes to the server while there is a place for it, the newest state only.

class LatestFrame {
  // `capture` gives the promise of the sheet as it is now, {picture: bytes, ...}, or of null where there is nothing.
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

  answered(frame) {
    this.sent.delete(frame);
  }

  connectionLost() {
    this.dirty ||= this.sent.size > 0;
    this.sent.clear();
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

  // Whether there may be more to send.
  async sendNext() {
    if (!this.dirty || !this.connection.wantsFrame()) return false;
    this.dirty = false;
    const shot = await this.capture();
    if (this.overtaken()) return true;
    if (!shot) return this.dirty;
    if (!this.connection.hasPlace()) {
      this.dirty = true;
      return false;
    }
    this.sent.set(this.connection.send(shot.picture), shot);
    return true;
  }

  // Whether something newer than what was just captured is to be sent first.
  overtaken() {
    return false;
  }
}
