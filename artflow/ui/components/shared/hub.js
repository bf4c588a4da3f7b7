// Each view runs as a script of its own, so what the views of one page share hangs on `window` under a symbol:
// the settings of each mode, which outlive views and connections, and the views that are on the page now.
const hub = (window[Symbol.for("artflow.hub")] ??= { settings: {}, views: {}, pictures: {} });

// The only public names. Controls around a view call them from their `js=` handlers.
window.artflow ??= {
  // Merges parameters of a mode; what really changed goes out with the next frame.
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

  // Uses the picture behind a URL as paper, also when the canvas has yet to be opened.
  async loadPicture(mode, url) {
    const view = hub.views[mode];
    if (view) await view.loadPicture(url);
    else hub.pictures[mode] = url;
  },
};
