"""The LoRA tab: which there are, downloads, and files of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

from artflow.api.lora import check_may_manage
from artflow.pipeline import Pipeline
from artflow.ui.components.lora import LoraList
from artflow.ui.controls import said

CHANGED = "() => { window.artflow.lorasChanged?.(); }"


class LoraTab:
    """The list, and below it what adds to it: an address, or a file."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._loras = pipeline.loras
        self._build()

    def _build(self) -> None:
        private: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
        LoraList()
        with gr.Accordion("Add a LoRA of your own", open=True), gr.Row():
            with gr.Column(scale=3, min_width=300):
                with gr.Row():
                    address = gr.Textbox(
                        label="Address", scale=3, max_length=2_000, elem_id="artflow-lora-address",
                        placeholder="https://... or owner/name on Hugging Face",
                        info="A .safetensors file by its https address, or a Hub id (owner/name, or owner/name/file).",
                    )  # fmt: skip
                    name = gr.Textbox(
                        label="Name", max_length=80, placeholder="as the file", elem_id="artflow-lora-name",
                        info="What prompts will call it; may be empty.",
                    )  # fmt: skip
                add = gr.Button("Download", variant="primary", elem_id="artflow-lora-add")
            with gr.Column(scale=1, min_width=240):
                megabytes = self._pipeline.settings.server.max_file_bytes // 1_000_000
                gr.Markdown(
                    f"Or upload a .safetensors file of up to {megabytes} MB. Larger ones go into the folder "
                    f"`{self._loras.library.folder.name}` itself."
                )
                upload = gr.UploadButton("Upload a file", file_types=[".safetensors"], elem_id="artflow-lora-upload")
        status = gr.Markdown(elem_id="artflow-lora-status")
        gr.on(
            [add.click, address.submit], said(self._add), [address, name], [address, name, status], **private
        ).success(None, None, None, js=CHANGED, api_visibility="private")
        upload.upload(said(self._put), upload, status, **private).success(
            None, None, None, js=CHANGED, api_visibility="private"
        )

    def _add(self, address: str, name: str, request: gr.Request) -> tuple[str, str, str]:
        self._check(request)
        task = self._loras.start_own(address or "", name or "")
        return "", "", f"{task.wanted.target.name} is on its way; the list shows how far."

    def _put(self, path: str, request: gr.Request) -> str:
        self._check(request)
        added = self._loras.put(Path(path), Path(path).name)
        return f"Added; prompts call it {added.name}."

    def _check(self, request: gr.Request) -> None:
        peer = request.client.host if request.client else None
        check_may_manage(self._pipeline.settings.models.manage_loras, peer, request.headers, request.username)
