// The WebSocket protocol of ArtFlow's public API: binary messages of [4 bytes length][JSON][picture] both ways,
// text messages for everything that is not a frame.

const FIRST_RETRY = 500;
const LAST_RETRY = 8000;
const SILENT = 10; // seconds without a word from the server, which has one each second: the network was cut
const CUT = 1006; // close code of a connection that ended without a word
const REFUSED = 1008; // close code of a refused connection; it is not retried

function packMessage(header, picture) {
  const json = new TextEncoder().encode(JSON.stringify(header));
  const message = new Uint8Array(4 + json.length + (picture?.length ?? 0));
  new DataView(message.buffer).setUint32(0, json.length);
  message.set(json, 4);
  if (picture) message.set(picture, 4 + json.length);
  return message;
}

function unpackMessage(buffer) {
  const length = new DataView(buffer).getUint32(0);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  return [header, new Uint8Array(buffer, 4 + length)];
}

function newUserId() {
  if (crypto.randomUUID) return crypto.randomUUID(); // only there on https and localhost
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

// Where the app is, by Gradio's own rule: the server knows only what a proxy tells it, so the page's own origin wins
// where it has the same host name.
function appAddress() {
  const { root, is_colab: colab } = window.gradio_config ?? {};
  const address = new URL(root || ".", location.href);
  const origin = colab || address.hostname === location.hostname ? location.origin : address.origin;
  return origin + address.pathname.replace(/\/$/, "");
}

function routeUrl(path) {
  const url = new URL(`${appAddress()}/gradio_api/artflow/api/${path}`);
  const sign = new URLSearchParams(location.search).get("__sign"); // private Spaces sign every URL
  if (sign) url.searchParams.set("__sign", sign);
  return url;
}

function socketUrl(mode, userId) {
  const url = routeUrl(`${mode}/ws/${userId}`);
  url.protocol = url.protocol.replace("http", "ws");
  url.searchParams.set("results", "1");
  return url;
}

// The bitmap of a picture file; the server reads what the browser cannot. Throws an error with a sentence for people,
// or without one where the server cannot be reached.
async function bitmapOf(file) {
  try {
    return await createImageBitmap(file);
  } catch {
    const response = await fetch(routeUrl("picture"), { method: "POST", body: file }).catch(() => null);
    if (response?.ok) return createImageBitmap(await response.blob());
    throw new Error((await response?.json().catch(() => null))?.message ?? "");
  }
}

// How many frames to keep in flight. A far or pipelined server needs several to stay busy; for a near one each
// frame more only adds latency. So: as many as fit into one round trip; one fewer when the server drops a good
// part of them, because it then has more than it can use; one more when nothing moves any more, because a server
// that pipelines n steps over n frames answers the first one when it has the n-th.
class FlightWindow {
  constructor(max) {
    this.max = max;
    this.limit = Math.min(max, 4);
    this.roundTrip = 0; // smoothed, like all that follows
    this.gap = 0; // between answers
    this.drops = 0; // part of the answers that were drops
    this.answeredAt = 0;
    this.limitedAt = 0;
    this.tryAgainAfter = 5000;
  }

  answered(roundTrip, now) {
    const gap = Math.min(2000, now - (this.answeredAt || now));
    this.roundTrip = this.roundTrip ? 0.8 * this.roundTrip + 0.2 * roundTrip : roundTrip;
    this.gap = 0.8 * this.gap + 0.2 * gap;
    this.answeredAt = now;
    this.drops *= 0.9;
  }

  dropped(now) {
    this.drops = 0.9 * this.drops + 0.1;
    if (this.drops < 0.2 || this.limit === 1) return; // one slow moment is no reason
    this.limit -= 1;
    this.drops = 0;
    this.limitedAt = now;
    this.tryAgainAfter = Math.min(60_000, 2 * this.tryAgainAfter);
  }

  size(interval, now) {
    if (this.limit < this.max && now - this.limitedAt > this.tryAgainAfter) {
      this.limit += 1; // the server may have become faster
      this.limitedAt = now;
    }
    return Math.max(1, Math.min(this.limit, Math.ceil(this.roundTrip / interval)));
  }

  // How long nothing may be sent or answered before one frame more is tried.
  patience() {
    return this.roundTrip ? Math.max(250, 2 * this.gap) : 100;
  }

  widen(size) {
    this.limit = Math.max(this.limit, size);
  }
}

// One session with the server, over as many sockets as it takes. The owner is told through these methods:
// connectionChanged(state), loading(message, progress), connected({width, height}), moved({models, width, height,
// strength, steps}), switching(message, progress), placeFree(),
// answered(info, jpeg), failed(message, frame), counted(stats).
class Connection {
  constructor(mode, owner) {
    this.mode = mode;
    this.owner = owner;
    this.userId = newUserId(); // kept, so that the server gives up what it still holds of a socket that was cut
    this.state = "closed"; // closed, connecting, open, waiting (to try again), timeout, refused
    this.frame = 0; // continues over reconnects, so that a higher number is always newer
    this.retry = FIRST_RETRY;
    this.flushTimer = null;
    this.interval = 1000 / 30; // how often the owner has a frame to send, or the server is done with one
    this.forget();
  }

  forget() {
    this.credits = 0;
    this.inFlight = new Map(); // frame number -> when it was sent
    this.window = new FlightWindow(1);
    this.lastNews = 0; // when something was last sent or answered
    this.unsent = new Set(Object.keys(hub.settings[this.mode] ?? {}));
  }

  open() {
    if (this.state === "connecting" || this.state === "open") return;
    clearTimeout(this.retryTimer);
    this.forget();
    this.change("connecting");
    const socket = (this.socket = new WebSocket(socketUrl(this.mode, this.userId)));
    socket.binaryType = "arraybuffer";
    socket.onmessage = ({ data }) => {
      if (socket !== this.socket) return;
      this.silence = 0;
      if (typeof data === "string") this.read(JSON.parse(data));
      else this.readAnswer(...unpackMessage(data));
    };
    socket.onclose = ({ code }) => socket === this.socket && this.lost(code);
    this.silence = 0; // in turns of a timer, which stand still while a page sleeps
    this.listening = setInterval(() => {
      this.silence += 1;
      if (this.silence < SILENT) return;
      socket.close();
      this.lost(CUT);
    }, 1000);
  }

  close(state = "closed") {
    clearInterval(this.listening);
    clearTimeout(this.retryTimer);
    clearTimeout(this.flushTimer);
    this.flushTimer = null;
    const socket = this.socket;
    this.socket = null; // first, so that its onclose does not reconnect
    socket?.close();
    this.change(state);
  }

  lost(code) {
    clearInterval(this.listening);
    this.socket = null;
    if (code === REFUSED) return this.change("refused");
    this.retryAt = performance.now() + this.retry;
    this.retryTimer = setTimeout(() => this.open(), this.retry);
    this.retry = Math.min(LAST_RETRY, 2 * this.retry);
    this.change("waiting");
  }

  change(state) {
    this.state = state;
    this.owner.connectionChanged(state);
  }

  read(message) {
    if (message.status === "connected") this.welcome(message);
    else if (message.status === "send_frame") this.freePlace();
    else if (message.status === "loading") this.owner.loading(message.message, message.progress);
    else if (message.status === "model") this.owner.moved(message);
    else if (message.status === "switching") this.owner.switching(message.message, message.progress);
    else if (message.status === "stats") this.owner.counted(message);
    else if (message.status === "timeout") this.close("timeout");
    else if (message.status === "error") {
      this.inFlight.delete(message.frame);
      this.owner.failed(message.message, message.frame);
      this.owner.placeFree();
    }
  }

  welcome({ max_in_flight: max, ...served }) {
    this.retry = FIRST_RETRY;
    this.credits = max;
    this.window = new FlightWindow(max);
    this.change("open");
    this.owner.connected(served);
    this.owner.moved(served);
    this.flushSoon();
    this.owner.placeFree();
  }

  freePlace() {
    this.credits = Math.min(this.window.max, this.credits + 1);
    this.owner.placeFree();
  }

  readAnswer(info, jpeg) {
    const now = performance.now();
    const sentAt = this.inFlight.get(info.frame);
    if (info.dropped) this.window.dropped(now);
    else if (!info.skipped && sentAt) this.window.answered(now - sentAt, now); // a skipped frame took no model time
    this.inFlight.delete(info.frame);
    this.lastNews = now;
    this.owner.answered(info, jpeg);
    this.owner.placeFree();
  }

  // Whether the server accepts a frame now.
  hasPlace() {
    return this.state === "open" && this.credits > 0 && this.inFlight.size < this.window.max;
  }

  // Whether another frame in flight is useful. Frames that must be sent need only `hasPlace`.
  wantsFrame() {
    return this.hasPlace() && this.inFlight.size < this.window.size(this.interval, performance.now());
  }

  // Whether a pipelining server may be waiting for more frames before it answers.
  isStalled() {
    return this.hasPlace() && performance.now() - this.lastNews >= this.window.patience();
  }

  // Sends a picture (bytes) with every parameter that changed since the last message; returns its number.
  send(picture) {
    const frame = ++this.frame;
    this.credits -= 1;
    this.lastNews = performance.now();
    this.inFlight.set(frame, this.lastNews);
    this.window.widen(this.inFlight.size);
    this.socket.send(packMessage({ status: "next_frame", frame, ...this.takeUnsent() }, picture));
    return frame;
  }

  parametersChanged(keys) {
    for (const key of keys) this.unsent.add(key);
  }

  // Changed parameters are sent with the next frame, or alone if there is none within 80 ms of the first change (not of
  // the last, so that typing and dragging have an effect at once).
  flushSoon() {
    this.flushTimer ??= setTimeout(() => {
      this.flushTimer = null;
      if (this.state !== "open" || !this.unsent.size) return;
      this.socket.send(packMessage({ status: "next_frame", ...this.takeUnsent() }));
    }, 80);
  }

  takeUnsent() {
    const settings = hub.settings[this.mode] ?? {};
    const values = Object.fromEntries([...this.unsent].map((key) => [key, settings[key]]));
    this.unsent.clear();
    return values;
  }
}
