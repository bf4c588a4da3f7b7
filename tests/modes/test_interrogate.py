"""Interrogation: the method on a model made of words, the embedded model's own answers, progress, cancel, fallbacks."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from skimage import data

from artflow.errors import ArtflowError
from artflow.images import Picture
from artflow.job_context import JobContext
from artflow.models.clip import EMBEDDED
from artflow.modes.interrogate import MODES, Interrogation, interrogate
from artflow.modes.term_lists import Limits, TermLists, published, taught
from artflow.pipeline import Pipeline
from artflow.settings import PRESETS, load_settings
from tests.support.clip import WordTowers, build_tiny_clip
from tests.support.hub_server import HubServer
from tests.support.live import held, plain

LISTS = PRESETS / "interrogate"
PICTURE = plain(128, 128, 128)
GROUPS = {
    "subject": ("a cat", "a dog", "a ship"), "medium": ("a photo", "an etching"), "artist": ("by Rembrandt", "by Klee"),
    "movement": ("cubism", "realism"), "style": ("dark", "bright", "calm sea", "stormy weather", "fog"),
    "trending": ("trending on flickr", "pixiv"),
}  # fmt: skip
WORDS = TermLists(
    GROUPS,
    classic=(("subject",), ("medium", "artist"), ("trending",), ("movement",), ("style",)),
    negative=("ugly", "blurry"),
    limits=Limits(classic=2),
)
SHOWS = "a ship an etching by Klee realism stormy weather fog pixiv"


def found(mode: str, shows: str = SHOWS, **more) -> Interrogation:
    answer = interrogate(PICTURE, WordTowers(shows, **more), WORDS, mode)
    assert answer is not None
    return answer


# -- the method ---------------------------------------------------------------------------------------------------


def test_classic_is_one_term_of_each_group_in_a_fixed_order() -> None:
    assert found("classic").prompt == "a ship, an etching by Klee, pixiv, realism, stormy weather, fog"


def test_fast_is_the_subject_and_the_nearest_terms_of_all_groups() -> None:
    terms = found("fast").prompt.split(", ")
    assert terms[0] == "a ship"
    assert {"an etching", "by Klee", "stormy weather", "fog"} < set(terms[:7])
    assert len(terms) == 1 + sum(len(terms) for group, terms in GROUPS.items() if group != "subject")


def test_best_says_what_is_there_and_nothing_else() -> None:
    best = found("best")
    terms = set(best.prompt.split(", "))
    assert terms == {"a ship", "an etching", "by Klee", "realism", "stormy weather", "fog", "pixiv"}
    assert best.similarity > 0.99
    assert all(best.similarity >= found(mode).similarity for mode in MODES)


def test_negative_is_what_the_picture_is_least_like() -> None:
    assert found("negative").similarity < min(found(mode).similarity for mode in ("best", "fast", "classic"))
    assert found("negative").similarity < 0
    assert not {"a ship", "fog", "stormy weather"} & set(found("negative").prompt.split(", "))


def test_a_subject_that_names_its_medium_does_not_say_it_twice() -> None:
    lists = TermLists({**GROUPS, "subject": ("a photo of a ship",)}, WORDS.classic, limits=WORDS.limits)
    answer = interrogate(PICTURE, WordTowers("a photo of a ship by Klee"), lists, "classic")
    assert answer is not None and answer.prompt.startswith("a photo of a ship, by Klee, ")


@pytest.mark.parametrize("mode", MODES)
def test_a_prompt_ends_where_the_model_stops_to_read(mode: str) -> None:
    assert len(found(mode, longest=6).prompt.split()) <= 8  # the last term of a chain may reach over it


def test_every_group_has_its_nearest_terms_and_their_shares() -> None:
    groups = found("best").groups
    assert list(groups) == ["subject", "medium", "artist", "movement", "style"]
    assert [terms[0][0] for terms in groups.values()] == [
        "a ship",
        "an etching",
        "by Klee",
        "realism",
        "stormy weather",
    ]
    for terms in groups.values():
        shares = [share for _, share in terms]
        assert shares == sorted(shares, reverse=True) and 0 < sum(shares) <= 1 + 1e-6


@pytest.mark.parametrize("mode", ["Best", "", None, "../x"])
def test_a_mode_that_does_not_exist(mode) -> None:
    with pytest.raises(ArtflowError, match="allowed are best, fast, classic, negative") as raised:
        interrogate(PICTURE, WordTowers(SHOWS), WORDS, mode)
    assert raised.value.code == "bad_parameter"


@pytest.mark.parametrize("shape", [(1, 1), (7, 500), (20_000, 1)])
def test_too_small_to_see_anything(shape: tuple[int, int]) -> None:
    with pytest.raises(ArtflowError, match="8 pixels a side are needed") as raised:
        interrogate(np.zeros((*shape, 3), np.uint8), WordTowers(SHOWS), WORDS)
    assert raised.value.code == "picture_too_small"


# -- progress, cancel, and where the work is done ------------------------------------------------------------------


def test_progress_counts_and_cancel_ends_before_the_next_piece() -> None:
    stop, towers, seen = threading.Event(), WordTowers(SHOWS), []

    def progress(doing: str, done: int, total: int) -> None:
        seen.append((doing, done, total))
        if doing.startswith("Improving"):
            stop.set()

    assert interrogate(PICTURE, towers, WORDS, on_progress=progress, cancelled=stop) is None
    assert seen[0] == ("Looking at picture", 1, 1)
    assert seen[1] == ("Reading subject terms,", 0, 3)
    assert seen[-1][0] == "Improving the prompt, round 1:" and not any(s[0].endswith("round 2:") for s in seen)


def test_all_work_is_done_in_small_pieces_where_it_is_told() -> None:
    pieces, towers = [], WordTowers(SHOWS)

    def errand(work, *values):
        if work != towers.full:  # which computes nothing
            pieces.append(work)
        return work(*values)

    interrogate(PICTURE, towers, published(LISTS, LISTS), "classic", errand=errand)
    assert len(pieces) == len(towers.calls) + 1  # the picture itself
    assert max(towers.calls) <= 256 < sum(towers.calls)


def test_features_are_kept_from_one_picture_to_the_next(tmp_path: Path) -> None:
    first, second = WordTowers(SHOWS), WordTowers("a dog")
    interrogate(PICTURE, first, WORDS, "fast", folder=tmp_path)
    answer = interrogate(PICTURE, second, WORDS, "fast", folder=tmp_path)
    assert answer is not None and answer.prompt.startswith("a dog")
    assert sum(second.calls) < sum(first.calls) - len(GROUPS["style"])


# -- the lists ----------------------------------------------------------------------------------------------------


def test_the_lists_that_ship_are_clean() -> None:
    lists = published(LISTS, LISTS)
    assert lists.shown == ["subject", "medium", "artist", "movement", "style"]
    for terms in lists.groups.values():
        assert 50 < len(terms) < 1000 and len(set(terms)) == len(terms)
        assert all(term == " ".join(term.split()) and len(term) < 60 for term in terms)
    assert "MIT" in (LISTS / "README.md").read_text()


def test_an_own_folder_takes_the_place_of_the_files_it_has(tmp_path: Path) -> None:
    (tmp_path / "flavors.txt").write_text("glowing\n\n glowing \nfaint\n")
    lists = published(tmp_path, LISTS)
    assert lists.groups["style"] == ("glowing", "faint")
    assert lists.groups["movement"] == published(LISTS, LISTS).groups["movement"]
    (tmp_path / "mediums.txt").write_text("\n")
    published.cache_clear()
    with pytest.raises(ArtflowError, match=r"no terms in .*mediums\.txt"):
        published(tmp_path, LISTS)


def test_the_embedded_model_is_asked_for_what_it_was_taught() -> None:
    table = json.loads((EMBEDDED.parent / "concepts.json").read_text())
    lists = taught(EMBEDDED.parent / "concepts.json")
    assert [len(terms) for terms in lists.groups.values()] == [
        len(table["concepts"]), len(set(table["backgrounds"])), len(table["styles"])
    ]  # fmt: skip
    assert {"a cat", "an apple"} < set(lists.groups["subject"])
    assert {"on a red background", "under a blue sky", "on grass", "in space"} < set(lists.groups["background"])


# -- the app ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def terms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("terms")


def app(terms: Path, **environ: str) -> Pipeline:
    fixed = {"ARTFLOW_MODEL__DEVICE": "cpu", "ARTFLOW_INTERROGATE__CACHE": str(terms)}
    return Pipeline(load_settings(environ=fixed | environ))


@pytest.fixture(scope="module")
def pipeline(terms: Path) -> Iterator[Pipeline]:
    pipeline = app(terms)
    yield pipeline
    pipeline.close()


def drawn(pipeline: Pipeline, prompt: str) -> Picture:
    return pipeline.generate({"prompt": prompt, "seed": 3, "steps": 2})[0].picture


def test_the_right_word_for_pictures_of_known_things(pipeline: Pipeline) -> None:
    """What the embedded model draws, named by its own towers, with no network."""
    things = ("cat", "fish", "banana", "robot", "star", "whale", "frog", "penguin", "sunflower", "fox")
    right = scenes = 0
    for thing in things:
        answer = pipeline.interrogate(drawn(pipeline, f"a {thing} on a white background"), "best", "embedded")
        assert answer is not None and answer.model == "the small embedded model"
        right += answer.found.groups["subject"][0][0] == f"a {thing}"
        scenes += answer.found.groups["background"][0][0] == "on a white background"
        assert any(term == f"a {thing}" for term, _ in answer.found.groups["subject"])
    assert right >= 7 and scenes >= 7


def test_a_prompt_that_the_embedded_model_understands(pipeline: Pipeline) -> None:
    picture = drawn(pipeline, "a cat on grass")
    prompts = {mode: pipeline.interrogate(picture, mode, "embedded").found.prompt for mode in MODES}
    assert prompts["best"].startswith("a cat") and prompts["classic"].startswith("a cat on ")
    assert "cat" not in prompts["negative"]
    assert pipeline.vocabulary is not None
    for prompt in prompts.values():
        assert not pipeline.vocabulary.read(prompt).unknown


@pytest.mark.parametrize("mode", MODES)
def test_a_photo_is_named_by_the_photo_classifier(pipeline: Pipeline, mode: str) -> None:
    answer = pipeline.interrogate(data.chelsea(), mode, "embedded")
    assert answer is not None and answer.model == "the embedded photo classifier"
    assert "It names 998 things and people." in answer.note and "% sure of a cat" in answer.note
    assert answer.found.prompt.startswith("a photo of a cat") == (mode != "negative")
    assert list(answer.found.groups) == ["subject", "medium", "background", "light", "colour", "composition"]
    assert answer.found.groups["medium"][0][0] == "a photo"


def test_a_person_is_found_by_the_face(pipeline: Pipeline) -> None:
    answer = pipeline.interrogate(data.astronaut(), "best", "embedded")
    assert answer is not None and answer.model == "the embedded photo classifier"
    assert " of a person" in answer.found.prompt and "It found this by faces." in answer.note


def test_live_frames_wait_for_none_of_it(pipeline: Pipeline) -> None:
    """On a CPU all of it is computed beside the engine's thread."""
    pipeline.interrogate(PICTURE, "fast", "embedded")
    with held(pipeline.client.engine):
        assert pipeline.interrogate(PICTURE, "fast", "embedded") is not None


def test_cancelled_before_it_began(pipeline: Pipeline) -> None:
    context = JobContext()
    context.cancelled.set()
    assert pipeline.interrogate(PICTURE, "best", "embedded", context) is None


@pytest.mark.parametrize("model", ["", "openai/other", "../x", None])
def test_only_models_of_the_list_may_be_asked_for(pipeline: Pipeline, model) -> None:
    with pytest.raises(ArtflowError, match="there are auto, embedded, openai/clip-vit-large-patch14") as raised:
        pipeline.interrogate(PICTURE, "best", model)
    assert raised.value.code == "unknown_model"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """The Hub, which has one small CLIP model, and an empty cache."""
    with HubServer({"me/clip": build_tiny_clip(tmp_path / "clip")}) as hub:
        template = hub.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.url)
        monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
        yield hub


@pytest.fixture
def small_clip(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> HubServer:
    """The Hub where the model that is asked for on a fresh machine is that small one."""
    monkeypatch.setattr("artflow.interrogator.CLIP", "me/clip")
    return hub


def test_clip_is_downloaded_and_answers_where_the_hub_can_be_reached(terms: Path, small_clip: HubServer) -> None:
    pipeline = app(terms)
    heard: list[str] = []
    context = JobContext(on_loading=lambda loading: heard.append(loading.message))
    answer = pipeline.interrogate(PICTURE, "classic", "auto", context)
    assert answer is not None and (answer.model, answer.note) == ("CLIP ViT-L/14", "")
    assert list(answer.found.groups) == ["subject", "medium", "artist", "movement", "style"]
    assert heard and len(small_clip.fetched("model.safetensors")) >= 1
    pipeline.close()


def test_without_the_hub_the_embedded_model_answers_and_says_so(
    terms: Path, small_clip: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline, clip = app(terms), small_clip.repos.pop("me/clip")
    answer = pipeline.interrogate(PICTURE, "fast", "auto")
    assert answer is not None and answer.model == "the small embedded model"
    assert "no repository me/clip" in answer.note and "Used instead: the embedded models." in answer.note
    asked = len(small_clip.log)
    again = pipeline.interrogate(PICTURE, "fast", "auto")
    assert again is not None and again.note == answer.note and len(small_clip.log) == asked
    with pytest.raises(ArtflowError, match="no repository me/clip"):  # who asks for it by name is told
        pipeline.interrogate(PICTURE, "fast", "me/clip")
    small_clip.repos["me/clip"] = clip
    monkeypatch.setattr("artflow.interrogator.ASK_AGAIN", 0)
    answer = pipeline.interrogate(PICTURE, "fast", "auto")
    assert answer is not None and answer.model == "CLIP ViT-L/14"
    pipeline.close()


def test_the_operator_chooses_who_answers(terms: Path, hub: HubServer) -> None:
    for chosen, title, who in (
        ("me/clip", "clip", "clip"), ("embedded", "the embedded models", "the small embedded model")
    ):  # fmt: skip
        pipeline = app(terms, ARTFLOW_INTERROGATE__MODEL_ID=chosen)
        answer = pipeline.interrogate(PICTURE, "fast", "auto")
        assert answer is not None and answer.model == who
        assert f"Automatic: {title}" in pipeline.interrogator.about
        pipeline.close()
