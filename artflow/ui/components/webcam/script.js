// The webcam view: sends camera frames as fast as the server accepts them and shows the results beside the camera.

const CAMERA_QUALITY = 0.85;

class WebcamView extends LiveView {
  constructor(root) {
    super(root, "realtime");
    this.video = this.find("video");
    this.startButton = this.find(".af-start");
    this.cameras = this.find(".af-cameras");
    this.frameCanvas = document.createElement("canvas");
    this.frameContext = this.frameCanvas.getContext("2d", { willReadFrequently: true });
    this.stream = null;
    this.fresh = false; // the camera has a frame that was not sent
    this.encoding = false;
    this.setMirror(true);
    this.on(".af-start", "click", () => (this.stream || this.starting ? this.stop() : this.start()));
    this.on(".af-mirror", "click", () => this.setMirror(!this.mirrored));
    this.on(".af-cameras", "change", () => this.stream && this.openCamera());
    navigator.mediaDevices?.addEventListener("devicechange", () => this.listCameras(), {
      signal: this.leaving.signal,
    });
    this.listCameras();
  }

  // --- start and stop -----------------------------------------------------------------------------------

  async start() {
    this.hideError();
    if (!navigator.mediaDevices?.getUserMedia) return this.failed(say("camera_insecure"));
    this.starting = true;
    this.showRunning();
    this.connection.open(); // while the browser still asks for permission
    await this.openCamera();
    this.starting = false;
    this.showRunning();
  }

  stop() {
    this.starting = this.resting = false;
    this.closeCamera();
    this.connection.close();
    this.showRunning();
  }

  showRunning() {
    const running = Boolean(this.stream || this.starting);
    this.root.classList.toggle("af-running", running);
    this.startButton.querySelector("span").textContent = say(running ? "stop" : "start");
  }

  leave() {
    this.closeCamera();
    super.leave();
  }

  connectionChanged(state) {
    super.connectionChanged(state);
    if (state === "timeout" || state === "refused") {
      this.starting = false;
      this.closeCamera();
      this.showRunning();
    }
  }

  // --- camera -------------------------------------------------------------------------------------------

  async openCamera() {
    this.closeCamera();
    const attempt = (this.attempt = {}); // replaced by a later start, stop or choice of camera
    try {
      const stream = await navigator.mediaDevices.getUserMedia({ video: this.wishes(), audio: false });
      if (attempt !== this.attempt || !this.root.isConnected) return stopTracks(stream);
      this.useStream(stream);
      await this.video.play();
      this.listCameras();
    } catch (error) {
      if (attempt !== this.attempt) return; // also when play() was cut short by a stop
      this.stop();
      this.failed(say(`camera_${error.name}`, null, say("camera_failed")));
    }
  }

  wishes() {
    const [width, height] = [Math.max(640, this.size.width), Math.max(480, this.size.height)];
    const wishes = { width: { ideal: width }, height: { ideal: height }, frameRate: { ideal: 30 } };
    if (this.cameras.value) wishes.deviceId = { exact: this.cameras.value };
    return wishes;
  }

  useStream(stream) {
    this.stream = stream;
    const [track] = stream.getVideoTracks();
    track.addEventListener("ended", () => {
      if (stream !== this.stream) return;
      this.stop();
      this.failed(say("camera_gone"));
    });
    if (track.getSettings().facingMode === "environment") this.setMirror(false);
    this.video.srcObject = stream;
    this.showRunning();
    this.watchFrames(stream);
  }

  closeCamera() {
    this.attempt = null;
    if (this.stream) stopTracks(this.stream);
    this.stream = null;
    this.video.srcObject = null;
    this.fresh = false;
  }

  async listCameras() {
    const devices = (await navigator.mediaDevices?.enumerateDevices()) ?? [];
    const cameras = devices.filter((device) => device.kind === "videoinput");
    const chosen = this.stream?.getVideoTracks()[0].getSettings().deviceId ?? this.cameras.value;
    const options = cameras.map(
      (camera, index) => new Option(camera.label || say("camera_number", { number: index + 1 }), camera.deviceId),
    );
    this.cameras.replaceChildren(...(options.length ? options : [new Option(say("camera_default"), "")]));
    if (cameras.some((camera) => camera.deviceId === chosen)) this.cameras.value = chosen;
  }

  setMirror(mirrored) {
    this.mirrored = mirrored;
    this.video.classList.toggle("af-mirrored", mirrored);
    this.find(".af-mirror").setAttribute("aria-pressed", mirrored);
  }

  // --- frames -------------------------------------------------------------------------------------------

  watchFrames(stream) {
    let last = null;
    const next = (now) => {
      if (stream !== this.stream) return;
      schedule();
      if (last !== null) this.cameraInterval(now - last);
      last = now;
      this.fresh = true;
      this.placeFree();
    };
    const schedule = this.video.requestVideoFrameCallback
      ? () => this.video.requestVideoFrameCallback(next)
      : () => setTimeout(() => next(performance.now()), 1000 / 30);
    schedule();
  }

  cameraInterval(milliseconds) {
    const sane = Math.min(200, Math.max(8, milliseconds)); // frames of a hidden page come late
    this.connection.interval = 0.9 * this.connection.interval + 0.1 * sane;
  }

  // Sends the latest camera frame when the server accepts one; other frames are never encoded.
  async placeFree() {
    if (!this.fresh || this.encoding || !this.visible) return;
    if (!this.connection.wantsFrame() && !this.connection.isStalled()) return;
    this.fresh = false;
    this.encoding = true;
    try {
      this.drawFrame();
      const picture = await encode(this.frameCanvas, "image/jpeg", CAMERA_QUALITY);
      if (this.stream && this.connection.hasPlace()) this.connection.send(picture);
    } catch (error) {
      this.failed(error.message);
    } finally {
      this.encoding = false;
    }
    this.placeFree();
  }

  drawFrame() {
    const { width, height } = this.size;
    if (this.frameCanvas.width !== width) this.frameCanvas.width = width;
    if (this.frameCanvas.height !== height) this.frameCanvas.height = height;
    drawCover(this.frameContext, this.video, this.video.videoWidth, this.video.videoHeight, this.mirrored);
  }

  stripSource(context) {
    const { videoWidth: width, videoHeight: height } = this.video;
    if (!this.stream || !width) return false;
    drawCover(context, this.video, width, height, this.mirrored);
    return true;
  }
}

function stopTracks(stream) {
  for (const track of stream.getTracks()) track.stop();
}

new WebcamView(element.querySelector(".af"));
announce();
