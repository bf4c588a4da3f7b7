"""The live view in Debian's Firefox: before the camera is allowed, live, and as the stream for an ``<img>``."""

from __future__ import annotations

from tests.support.firefox import ALLOWED, firefox

VIEW = "document.querySelector('.af-webcam')"
CAMERAS = f"[...{VIEW}.querySelectorAll('.af-cameras option')].map((option) => option.text)"
STREAM = """(() => {
  const id = window[Symbol.for("artflow.hub")].views.realtime.connection.userId;
  const src = `/gradio_api/artflow/api/realtime/stream/${id}`;
  document.body.append(Object.assign(new Image(), {src, id: "stream"}));
})()"""


def test_the_live_view_and_its_stream(app_url: str) -> None:
    with firefox(**ALLOWED) as page:
        page.goto(app_url)
        page.wait_for(f"{VIEW}?.querySelector('.af-cameras option')?.text === 'Camera 1'")  # no names yet
        page.evaluate(f"{VIEW}.querySelector('.af-start').click()")
        page.wait_for(f"Number({VIEW}.dataset.shown) > 0", 120)
        page.wait_for(f"{CAMERAS}[0] === 'Default Video Device'")
        page.evaluate(STREAM)
        page.wait_for("document.querySelector('#stream').naturalWidth > 0")
        for picture in (".af-webcam .af-result .af-picture", "#stream"):
            seen: set[bytes] = set()
            for _ in range(200):
                seen.add(page.picture_of(picture))
                if len(seen) == 3:
                    break
            assert len(seen) == 3, f"{picture} stands still"
