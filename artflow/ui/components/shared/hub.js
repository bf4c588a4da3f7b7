// State shared by the views of a page, on `window` under a symbol because each view is a script of its own: the
// settings of each mode that a person has chosen, which outlive views and connections; those that the server has set
// since, and the views that are on the page.
const hub = (window[Symbol.for("artflow.hub")] ??= { settings: {}, served: {}, views: {}, pictures: {} });

// The only public names. Controls around a view call them from their `js=` handlers.
window.artflow ??= {
  // Merges parameters of a mode; those that changed are sent with the next frame.
  set(mode, values) {
    const settings = (hub.settings[mode] ??= {});
    const served = (hub.served[mode] ??= {});
    const now = { ...settings, ...served };
    const changed = Object.keys(values).filter(
      (key) => values[key] !== undefined && JSON.stringify(now[key]) !== JSON.stringify(values[key]),
    );
    for (const key of changed) {
      settings[key] = values[key];
      delete served[key];
    }
    if (changed.length) hub.views[mode]?.heard(changed);
  },

  // The values of parameters that a mode has now, whoever has set them.
  values(mode, keys) {
    const now = { ...hub.settings[mode], ...hub.served[mode] };
    return keys.map((key) => now[key]);
  },

  // The picture shown now as {image: data URL, frame, seed, recipe}, or null while there is none.
  async snapshot(mode) {
    return (await hub.views[mode]?.snapshot()) ?? null;
  },

  // The picture that a mode works on now, as {image: data URL}, or null while there is none.
  source(mode) {
    return hub.views[mode]?.source() ?? null;
  },

  // Loads the picture at a URL into a view; if the view is not on the page yet, when it opens.
  async loadPicture(mode, url) {
    const view = hub.views[mode];
    if (view) await view.loadPicture(url);
    else hub.pictures[mode] = url;
  },

  // The file that was dropped on a strip of styles last, as Gradio's fields hold one; null: it was taken away.
  picked() {
    return hub.picked ?? null;
  },

  // Shows in a mode's strip what the page's field for the style of a picture holds.
  showPicked(mode, url) {
    hub.views[mode]?.strip?.showPicked(url);
  },

  // Styles were learned or deleted.
  async stylesChanged() {
    const strips = Object.values(hub.views).flatMap(({ strip }) => strip ?? []);
    await Promise.all(strips.map((strip, index) => strip.build(index === 0)));
  },
};
