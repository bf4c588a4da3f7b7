// The strip of layers under the paper: choose, show or hide, move, delete, add.

const LAYER_ICONS = {
  shown: "M2.5 12S6 5.5 12 5.5 21.5 12 21.5 12 18 18.5 12 18.5 2.5 12 2.5 12zM12 9.5a2.5 2.5 0 100 5 2.5 2.5 0 000-5",
  hidden: "M4 4l16 16M9.5 5.9A9 9 0 0112 5.5c6 0 9.5 6.5 9.5 6.5a17 17 0 01-2.5 3.3M6 7.5A16 16 0 002.5 12S6 18.5 12 18.5a9 9 0 004-.9",
  up: "M9 5l7 7-7 7",
  down: "M15 5l-7 7 7 7",
  remove: "M6 6l12 12M18 6L6 18",
};

class LayerStrip {
  // `act` is asked to do {choose, toggle, up, down, remove} with a layer.
  constructor(box, sheet, act) {
    this.box = box;
    this.sheet = sheet;
    this.act = act;
  }

  render() {
    const focused = document.activeElement?.dataset?.key; // rebuilding must not move the keyboard focus
    this.box.replaceChildren(...this.sheet.layers.map((layer) => this.card(layer)));
    if (focused) this.box.querySelector(`[data-key="${focused}"]`)?.focus();
  }

  card(layer) {
    const { layers, active } = this.sheet;
    const index = layers.indexOf(layer);
    const card = document.createElement("div");
    card.className = "af-layer";
    card.dataset.layer = layer.number;
    card.classList.toggle("af-active", layer === active);
    card.append(this.chooser(layer), this.button(layer, "toggle", layer.visible ? "shown" : "hidden", "layer_show"));
    if (layer === active && layers.length > 1) {
      const down = this.button(layer, "down", "down", "layer_down");
      const up = this.button(layer, "up", "up", "layer_up");
      down.disabled = index === 0;
      up.disabled = index === layers.length - 1;
      card.append(down, up, this.button(layer, "remove", "remove", "layer_remove"));
    }
    return card;
  }

  chooser(layer) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "af-layer-choose";
    button.dataset.key = `choose-${layer.number}`;
    button.setAttribute("aria-pressed", layer === this.sheet.active);
    const thumbnail = document.createElement("canvas");
    thumbnail.width = thumbnail.height = 64;
    thumbnail.getContext("2d").drawImage(layer.context.canvas, 0, 0, 64, 64);
    const name = document.createElement("span");
    name.textContent = say("layer_number", { number: layer.number });
    button.append(thumbnail, name);
    button.addEventListener("click", () => this.act("choose", layer));
    return button;
  }

  button(layer, action, icon, title) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = `af-icon af-layer-${action}`;
    button.dataset.key = `${action}-${layer.number}`;
    button.title = say(title);
    button.setAttribute("aria-label", `${button.title}: ${say("layer_number", { number: layer.number })}`);
    if (action === "toggle") button.setAttribute("aria-pressed", layer.visible);
    button.innerHTML = `<svg viewBox="0 0 24 24" aria-hidden="true"><path d="${LAYER_ICONS[icon]}"/></svg>`;
    button.addEventListener("click", () => this.act(action, layer));
    return button;
  }
}
