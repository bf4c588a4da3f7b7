// The list of LoRAs. The server says what there is (`lora/presets`) and how far downloads are (a socket); everything
// that it says is written as text. Rows stay the same elements, so that focus and scroll position do.

const GROUPS = [["acceleration", "Acceleration"], ["style", "Styles"], ["other", "Other"]];
const MODELS = { sd15: "SD 1.5", sd2: "SD 2", sdxl: "SDXL" };
const LOOK_EVERY = 4000; // ms between two looks at the folder
const SURE_FOR = 4000; // ms that a second click deletes
const RETRY = 2000;

const megabytes = (bytes) => (bytes >= 1e9 ? `${(bytes / 1e9).toFixed(2)} GB` : bytes >= 1e6 ? `${Math.round(bytes / 1e6)} MB` : `${Math.max(1, Math.round(bytes / 1e3))} kB`);
const duration = (s) => (s >= 90 ? `${Math.round(s / 60)} min` : `${Math.round(s)} s`);

const sentence = (words) => words.slice(0, 1).toUpperCase() + words.slice(1);

class LoraList {
  constructor(root) {
    this.root = root;
    this.places = root.querySelector(".af-lora-groups");
    this.known = { presets: [], files: [], refused: "" };
    this.tasks = {};
    this.rows = new Map();
    this.observer = new IntersectionObserver(([seen]) => (seen.isIntersecting ? this.open() : this.close()));
    this.observer.observe(root);
    window.artflow.lorasChanged = () => this.look();
  }

  open() {
    if (this.seen) return;
    this.seen = true;
    this.look();
    this.timer = setInterval(() => (this.root.isConnected ? this.look() : this.close()), LOOK_EVERY);
    this.connect();
  }

  close() {
    this.seen = false;
    clearInterval(this.timer);
    this.socket?.close();
  }

  connect() {
    const url = routeUrl("lora/ws/progress");
    url.protocol = url.protocol.replace("http", "ws");
    const socket = (this.socket = new WebSocket(url));
    socket.onmessage = ({ data }) => {
      const message = JSON.parse(data);
      if (message.type !== "progress_update") return this.fail(message.message);
      const states = (tasks) => JSON.stringify(Object.values(tasks).map(({ status }) => status));
      const changed = states(message.tasks) !== states(this.tasks);
      this.tasks = message.tasks;
      if (changed) this.look();
      this.draw();
    };
    socket.onclose = ({ code }) => {
      if (this.seen && this.root.isConnected && code !== REFUSED) setTimeout(() => this.seen && this.connect(), RETRY);
    };
  }

  async look() {
    try {
      this.known = await this.ask("GET", "lora/presets");
      this.draw();
    } catch (error) {
      this.fail(error.message);
    }
  }

  async ask(method, path) {
    const response = await fetch(routeUrl(path), { method }).catch(() => {
      throw new Error("The app does not answer. Is it still running?");
    });
    const answer = await response.json().catch(() => null);
    if (!response.ok) throw new Error(answer?.message ?? answer?.detail?.message ?? `The app answers ${response.status}.`);
    return answer;
  }

  async act(method, path) {
    try {
      this.fail("");
      await this.ask(method, path);
      await this.look();
    } catch (error) {
      this.fail(error.message);
    }
  }

  fail(sentence) {
    const place = this.root.querySelector(".af-error");
    place.textContent = sentence;
    place.hidden = !sentence;
  }

  // One entry a file, wherever it is known from: offered, there, or on its way.
  entries() {
    const files = new Map(this.known.files.map((file) => [file.file, file]));
    const tasks = new Map(Object.entries(this.tasks));
    const found = this.known.presets.map((preset) => {
      const file = files.get(preset.filename);
      const task = tasks.get(preset.id);
      files.delete(preset.filename);
      tasks.delete(preset.id);
      return { key: preset.filename, group: preset.model_type, preset, file, task };
    });
    for (const [id, task] of tasks) {
      const file = files.get(task.filename);
      if (!file && ["cancelled", "completed"].includes(task.status)) continue;
      files.delete(task.filename);
      found.push({ key: task.filename, group: "other", id, task, file });
    }
    for (const file of files.values()) found.push({ key: file.file, group: file.group, file });
    return found;
  }

  draw() {
    const entries = this.entries();
    const hint = this.root.querySelector(".af-hint");
    hint.textContent = this.known.refused;
    hint.hidden = !this.known.refused;
    for (const [group, title] of GROUPS) {
      const own = entries.filter((entry) => entry.group === group);
      let place = this.places.querySelector(`[data-group="${group}"]`);
      if (!place) {
        place = make("section", { dataset: { group } }, make("h3", { textContent: title }), make("ul", { className: "af-lora-rows" }));
        this.places.append(place);
      }
      place.hidden = !own.length;
      const list = place.querySelector("ul");
      own.forEach((entry, index) => {
        const row = this.row(entry);
        if (list.children[index] !== row) list.insertBefore(row, list.children[index] ?? null);
      });
      while (list.children.length > own.length) list.lastChild.remove();
    }
    const keys = new Set(entries.map(({ key }) => key));
    for (const key of this.rows.keys()) if (!keys.has(key)) this.rows.delete(key);
    const here = this.known.files.filter(({ problem }) => !problem);
    const size = here.reduce((sum, file) => sum + file.size, 0);
    this.root.querySelector(".af-lora-totals").textContent =
      `${here.length} ${here.length === 1 ? "LoRA" : "LoRAs"} in the folder${size ? `, ${megabytes(size)}` : ""}. Files that you put there appear by themselves.`;
  }

  row(entry) {
    let row = this.rows.get(entry.key);
    if (!row) {
      row = make("li", { className: "af-lora" },
        make("div", { className: "af-lora-picture", ariaHidden: "true" }), make("div", { className: "af-lora-what" }),
        make("div", { className: "af-lora-state" }), make("div", { className: "af-lora-acts" }));
      row.dataset.lora = entry.key;
      this.rows.set(entry.key, row);
    }
    const [picture, what, state, acts] = row.children;
    update(picture, this.picture(entry));
    update(what, this.what(entry));
    const [words, kind, share] = this.state(entry);
    state.className = `af-lora-state ${kind}`;
    update(state, [...(share === null ? [] : [["progress", { max: 100, ...(share >= 0 && { value: share }) }]]), ["span", { textContent: words }]]);
    this.buttons(acts, this.actions(entry));
    return row;
  }

  picture({ file, preset, task }) {
    if (file?.preview) return [["img", { src: String(routeUrl(`lora/preview/${encodePath(file.file)}`)), alt: "" }]];
    return [["span", { textContent: (preset?.name ?? file?.title ?? task.name).slice(0, 1).toUpperCase() }]];
  }

  what({ preset, file, task }) {
    const size = file?.size || task?.total || preset?.size;
    const base = file?.base || preset?.compatible_models[0];
    const facts = [base && `for ${MODELS[base]}`, size && megabytes(size), file && !file.problem && `called ${file.name}`];
    const trigger = file?.trigger || preset?.trigger;
    return [
      ["b", { textContent: preset?.name ?? file?.title ?? task.name }],
      ...(preset?.tags ?? []).map((tag) => ["span", { className: "af-lora-tag", textContent: tag }]),
      preset?.description && ["p", { textContent: preset.description }],
      ["p", { textContent: facts.filter(Boolean).join(" · ") }],
      trigger && ["p", { textContent: `Say in the prompt: ${trigger}` }],
    ].filter(Boolean);
  }

  // The words, a class, and how much of it is there (null: no bar, -1: not known).
  state({ file, task }) {
    if (file?.problem) return [file.problem, "af-lora-bad", null];
    if (file) return ["In the folder", "af-lora-here", null];
    if (!task || ["completed", "cancelled"].includes(task.status)) return ["Not downloaded", "", null];
    const far = task.total ? `${megabytes(task.downloaded)} of ${megabytes(task.total)}` : megabytes(task.downloaded);
    if (task.status === "queued") return ["Waits for its turn", "", 0];
    if (task.status === "paused") return [`Paused at ${far}`, "", task.progress];
    if (task.status === "failed") return [task.error, "af-lora-bad", null];
    if (task.message !== "Downloading") return [sentence(task.message || "connecting"), "", task.progress || -1];
    const left = task.eta === null ? "" : `, ${duration(task.eta)} left`;
    return [`${far}, ${megabytes(task.speed)}/s${left}`, "", task.total ? task.progress : -1];
  }

  actions({ preset, file, task, id }) {
    if (this.known.refused) return [];
    const own = encodeURIComponent(preset?.id ?? id ?? "");
    if (file) return [{ label: "Delete", sure: "Really delete", call: ["DELETE", `lora/files/${encodePath(file.file)}`] }];
    const start = { label: "Download", main: true, call: ["POST", `lora/download/${own}`] };
    const pause = { label: "Pause", call: ["POST", `lora/download/${own}/pause`] };
    const resume = (label) => ({ label, main: true, call: ["POST", `lora/download/${own}/resume`] });
    const cancel = { label: "Cancel", call: ["POST", `lora/download/${own}/cancel`] };
    if (["queued", "downloading"].includes(task?.status)) return [pause, cancel];
    if (task?.status === "paused") return [resume("Resume"), cancel];
    if (task?.status === "failed") return [resume("Try again"), cancel];
    return [start];
  }

  // Buttons are only replaced where there are others, since a click begins on one and ends on the same.
  buttons(place, actions) {
    const wanted = JSON.stringify(actions);
    if (place.dataset.actions === wanted) return;
    place.dataset.actions = wanted;
    place.replaceChildren(...actions.map(({ label, main, sure, call }) => {
      const button = make("button", { type: "button", textContent: label, className: main ? "af-primary" : "" });
      const row = place.parentElement.dataset.lora;
      button.setAttribute("aria-label", `${label} ${row}`);
      button.onclick = () => {
        if (!sure || button.classList.contains("af-lora-sure")) return this.act(...call);
        button.classList.add("af-lora-sure");
        button.textContent = sure;
        return setTimeout(() => {
          button.classList.remove("af-lora-sure");
          button.textContent = label;
        }, SURE_FOR);
      };
      return button;
    }));
  }
}

function make(tag, values = {}, ...children) {
  const { dataset, ...plain } = values;
  const made = Object.assign(document.createElement(tag), plain);
  Object.assign(made.dataset, dataset);
  made.append(...children);
  return made;
}

// Makes an element's children what a list of [tag, values] says, and keeps those that are so already.
function update(place, children) {
  children.forEach(([tag, values], index) => {
    let child = place.children[index];
    if (child?.localName !== tag) {
      const fresh = document.createElement(tag);
      if (child) child.replaceWith(fresh);
      else place.append(fresh);
      child = fresh;
    }
    for (const [name, value] of Object.entries(values)) if (child[name] !== value) child[name] = value;
    if (tag === "progress" && !("value" in values)) child.removeAttribute("value");
    if (!("className" in values) && child.className) child.className = "";
  });
  while (place.children.length > children.length) place.lastChild.remove();
}

function encodePath(path) {
  return path.split("/").map(encodeURIComponent).join("/");
}

new LoraList(element.querySelector(".af-loras"));
