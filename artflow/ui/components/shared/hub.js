// State shared by the views of a page, on `window` under a symbol because each view is a script of its own: the
// settings of each mode, which outlive views and connections, and the views that are on the page.
const hub = (window[Symbol.for("artflow.hub")] ??= { settings: {}, views: {}, pictures: {} });

// The only public names. Controls around a view call them from their `js=` handlers.
window.artflow ??= {
  // Merges parameters of a mode; those that changed are sent with the next frame.
  set(mode, values) {
    const settings = (hub.settings[mode] ??= {});
    const changed = Object.keys(values).filter(
      (key) => values[key] !== undefined && JSON.stringify(settings[key]) !== JSON.stringify(values[key]),
    );
    for (const key of changed) settings[key] = values[key];
    if (changed.length) hub.views[mode]?.settingsChanged(changed);
  },

  // The picture shown now as {image: data URL, frame, seed, recipe}, or null while there is none.
  async snapshot(mode) {
    return (await hub.views[mode]?.snapshot()) ?? null;
  },

  // Loads the picture at a URL into a view; if the view is not on the page yet, when it opens.
  async loadPicture(mode, url) {
    const view = hub.views[mode];
    if (view) await view.loadPicture(url);
    else hub.pictures[mode] = url;
  },
};
