"""The bundled model's world, questions, form and training."""

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoProcessor, LlavaForConditionalGeneration

from trimviz.tiny import card, dialogue, lessons, questions, shape, train, world
from trimviz.tiny.evaluate import exam
from trimviz.tiny.world import Scene, Thing, Word
from trimviz.written import methods

BUNDLED = Path(__file__).parents[1] / "assets" / "tiny-llava"
ACCURACY = 0.75  # that the bundled model must beat on 60 held-out questions


def thing(shape: str, color: str, x: int, y: int, size: str = "big") -> Thing:
    return Thing(shape, color, size, x, y, 30 if size == "big" else 13, 0.0, world.COLORS[color])


def scene(*things: Thing, words: tuple[Word, ...] = ()) -> Scene:
    return Scene(0, "striped", "gray", 30.0, 16, 30, world.GROUNDS["gray"], things, words)


STAR, MOON = thing("star", "red", 60, 170), thing("moon", "orange", 280, 170, "small")
PAIR = scene(STAR, MOON)


def ask(made: Scene, kind: str, tries: int = 60) -> set[tuple[str, str]]:
    """Every question of a kind that turns up, with its answer."""
    rng = np.random.default_rng(0)
    found = [questions.ask(made, kind, rng) for _ in range(tries)]
    return {(question.text, question.answer) for question in found if question is not None}


# --- the world ------------------------------------------------------------------------------------------------


def test_a_seed_gives_one_picture():
    first, second = (world.paint(world.scene(7)) for _ in range(2))
    assert world.scene(7) == world.scene(7) != world.scene(8)
    assert np.array_equal(np.asarray(first[0]), np.asarray(second[0]))
    assert np.array_equal(first[1], second[1])


def test_annotations_agree_with_pixels():
    for seed in range(40):
        made = world.scene(seed)
        picture, owner = world.paint(made)
        pixels = np.asarray(picture).astype(int)
        assert picture.size == (world.SIDE, world.SIDE)
        for number, item in enumerate(made.things, 1):
            ys, xs = np.nonzero(owner == number)
            assert len(ys) > 60
            assert abs(xs.mean() - item.x) < 0.5 * item.radius and abs(ys.mean() - item.y) < 0.5 * item.radius
            assert max(np.ptp(xs), np.ptp(ys)) <= 2 * item.radius + 2
            near = {
                name: np.abs(np.array(rgb) - np.median(pixels[ys, xs], axis=0)).sum()
                for name, rgb in world.COLORS.items()
            }
            assert min(near, key=near.__getitem__) == item.color
        for number, word in enumerate(made.words, 1 + len(made.things)):
            assert np.count_nonzero(owner == number) == word.width * word.height


def test_colors_are_far_apart_and_stand_out():
    colors = np.array([*world.COLORS.values(), *world.GROUNDS.values()], float)
    apart = np.linalg.norm(colors[:, None] - colors[None], axis=-1) + 999 * np.eye(len(colors))
    assert apart[: len(world.COLORS)].min() > 65


def test_small_things_and_words_live_in_a_few_patches():
    for seed in range(30):
        made = world.scene(seed)
        _, owner = world.paint(made)
        for number, item in enumerate(made.things, 1):
            cells = (owner == number).reshape(24, 14, 24, 14).sum((1, 3)) >= lessons.SEEN
            assert cells.sum() <= (9 if item.size == "small" else 49)
        for number in range(1 + len(made.things), 1 + len(made.things) + len(made.words)):
            assert ((owner == number).reshape(24, 14, 24, 14).sum((1, 3)) > 0).sum() <= 15


def test_splits_are_disjoint():
    spans = list(world.SPLITS.values())
    assert all(a.stop <= b.start for a, b in pairwise(spans))
    drawn = {split: set(world.seeds(split, 3, 50)) for split in world.SPLITS}
    assert all(number in world.SPLITS[split] for split, numbers in drawn.items() for number in numbers)
    assert world.seeds("test", 3, 50) == world.seeds("test", 3, 50) != world.seeds("test", 4, 50)
    with pytest.raises(ValueError, match="Unknown split"):
        world.seeds("holdout", 0, 1)


# --- the questions --------------------------------------------------------------------------------------------


def test_answers_on_a_scene_made_by_hand():
    assert {answer for text, answer in ask(PAIR, "color") if "star" in text} == {"red"}
    assert {answer for text, answer in ask(PAIR, "shape") if "orange" in text} == {"moon"}
    assert ("is the star left of the moon?", "yes") in ask(PAIR, "relation")
    assert ("is the star right of the moon?", "no") in ask(PAIR, "relation")
    assert not [text for text, _ in ask(PAIR, "relation") if "above" in text]  # side by side: not asked
    assert {answer for text, answer in ask(PAIR, "position") if "star" in text} == {"left"}
    assert ("how many things are there?", "two") in ask(PAIR, "count")
    assert ("is there a red star?", "yes") in ask(PAIR, "presence", 3000)
    assert ("is there a red moon?", "no") in ask(PAIR, "presence", 3000)
    assert {answer for _, answer in ask(PAIR, "text")} == {"nothing"}
    assert {answer for _, answer in ask(PAIR, "background")} == {"striped", "gray"}
    assert {answer for _, answer in ask(PAIR, "caption")} == {
        "a red star left of an orange moon on a striped background"
    }


def test_words_are_read_from_left_to_right():
    words = (Word("sun", 250, 100, 40, 22, True), Word("cat", 80, 200, 40, 22, False))
    assert {answer for _, answer in ask(scene(STAR, words=words), "text")} == {"cat and sun"}


def test_doubt_is_not_asked_about():
    twins = scene(STAR, thing("star", "red", 280, 280))
    assert not ask(twins, "color") and not ask(twins, "position") and not ask(twins, "relation")
    between = scene(thing("star", "red", world.SIDE // 3, 170))
    assert not ask(between, "position")
    assert questions.ask(PAIR, "color", np.random.default_rng(0)) is not None
    with pytest.raises(ValueError, match="Unknown kind"):
        questions.ask(PAIR, "smell", np.random.default_rng(0))


def test_yes_and_no_are_balanced_and_every_word_is_known():
    said: dict[str, list[str]] = {"presence": [], "relation": []}
    for seed in range(400):
        for question in questions.quiz(world.scene(seed), np.random.default_rng(seed)):
            assert not questions.unknown_words(f"{question.text} {question.answer}")
            assert question.answer == " ".join(questions.split(question.answer))
            said.get(question.kind, []).append(question.answer)
    for answers in said.values():
        assert set(answers) == {"yes", "no"} and 0.4 < answers.count("yes") / len(answers) < 0.6


def test_unknown_words_are_named():
    assert questions.unknown_words("Where is the Zebra, near the star?") == ["zebra", "near"]
    assert not [word for text in questions.SUGGESTED for word in questions.unknown_words(text)]


def test_exam_has_as_many_questions_as_asked_for():
    papers = list(exam(25, 1))
    assert sum(len(asked) for _, asked in papers) == 25
    assert [asked for _, asked in papers] == [asked for _, asked in exam(25, 1)]
    with pytest.raises(ValueError, match="at least one question"):
        next(exam(0, 1))


def test_methods_with_knobs():
    plain, swapped = methods(["random", "trimtokenator:stages=swapped"], n1=0.7)
    assert "n1" not in plain.settings()
    assert swapped.settings()["stages"] == "swapped" and swapped.settings()["n1"] == 0.7
    with pytest.raises(ValueError, match="name=value"):
        methods(["trimtokenator:stages"])


# --- the form -------------------------------------------------------------------------------------------------


def test_tokenizer_round_trip():
    tokenizer = shape.tokenizer()
    ids = tokenizer("A red Star above an orange moon on a striped background")["input_ids"]
    assert ids[0] == tokenizer.bos_token_id
    assert tokenizer.decode(ids, skip_special_tokens=True) == "a red star above an orange moon on a striped background"
    assert tokenizer.unk_token_id in tokenizer("what is a zebra?")["input_ids"]
    for text in (*questions.SUGGESTED, "what's this, then?"):
        pieces = tokenizer.backend_tokenizer.pre_tokenizer.pre_tokenize_str(text.lower())
        assert [piece for piece, _ in pieces] == questions.split(text)
    assert [tokenizer.convert_tokens_to_ids(word) for word in dialogue.NUMBER] == list(dialogue.NUMBER.values())
    assert len(tokenizer) <= shape.ROOM


def test_untrained_model_saves_and_loads(tmp_path):
    torch.manual_seed(0)
    model = shape.build().eval()
    shape.export(model, tmp_path)
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) <= 16 * 2**20
    loaded = LlavaForConditionalGeneration.from_pretrained(tmp_path, local_files_only=True, dtype=torch.float32)
    processor = AutoProcessor.from_pretrained(tmp_path, local_files_only=True)
    content = [{"type": "image"}, {"type": "text", "text": "where is the star?"}]
    text = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
    assert text == shape.PROMPT.format("where is the star?")
    inputs = processor(images=world.paint(PAIR)[0], text=text, return_tensors="pt")
    assert (inputs["input_ids"] == loaded.config.image_token_id).sum() == loaded.config.image_seq_length == 576
    with torch.no_grad():
        difference = (loaded(**inputs).logits - model(**inputs).logits).abs().max()
    assert difference < 0.01  # half precision


# --- the training ---------------------------------------------------------------------------------------------


def test_packed_pairs_equal_single_questions(tmp_path):
    torch.manual_seed(0)
    model = shape.build().eval()
    for weight in model.parameters():
        if weight.ndim == 2:
            weight.data.mul_(3)  # so that the scores are not all alike
    stage = train.Stage("talk", 1, 1, 1e-3, 0, pairs=9, tower=False)
    course = train._TalkCourse(stage, train.PRESETS["cpu"], 0, model, torch.device("cpu"), tmp_path)
    made = world.scene(5)
    picture, asked = world.paint(made)[0], questions.quiz(made, np.random.default_rng(0))
    processor, start = shape.processor(), 0
    with torch.no_grad():
        talk, seen = dialogue.pack([made], [asked], 130), np.asarray(picture)[None]
        packed, labels, _ = course._say(talk, seen, train._positions(1)[None])
        for question in asked:
            words = [*questions.split(question.answer), "</s>"]
            text = f"{shape.PROMPT.format(question.text)} {question.answer}"
            alone = model(**processor(images=picture, text=text, return_tensors="pt")).logits[0, -len(words) :]
            part = slice(start, start + len(words))
            assert (alone - packed[part]).abs().max() < 1e-4
            assert labels[part].tolist() == [dialogue.NUMBER[word] for word in words]
            start += len(words)
    assert start == len(packed)


STAGES = (
    train.Stage("crops", 8, 12, 3e-3, 6, side=84, spread=28),
    train.Stage("few", 4, 1, 1e-3, 4, pairs=6, pool=2, most=2, tower=False),
)


@pytest.fixture
def one_thread():
    """Several threads add up gradients in an order that varies, so the same steps differ in their last bits."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_training_learns_and_resumes_exactly(tmp_path, monkeypatch, one_thread):
    monkeypatch.setitem(train.PRESETS, "smoke", train.Preset(STAGES, workers=0, every=2))
    monkeypatch.setattr(train, "CHECKED", 1)
    whole = train.train("smoke", tmp_path / "whole").state_dict()
    curve = [json.loads(line) for line in (tmp_path / "whole" / "crops.jsonl").read_text().splitlines()]
    assert curve[-1]["loss"] < curve[0]["loss"]

    class Stopped(Exception):
        pass

    save = train._save

    def stop(path, stage, step, *rest):
        save(path, stage, step, *rest)
        if step == 4:
            raise Stopped

    monkeypatch.setattr(train, "_save", stop)
    with pytest.raises(Stopped):
        train.train("smoke", tmp_path / "halves")
    monkeypatch.setattr(train, "_save", save)
    halves = train.train("smoke", tmp_path / "halves").state_dict()
    assert all(torch.equal(whole[name], halves[name]) for name in whole)


def test_unknown_preset_is_refused(tmp_path):
    with pytest.raises(ValueError, match="Unknown preset"):
        train.train("tpu", tmp_path)


def test_crops_say_what_they_show():
    book = lessons.album([3, 4])
    whole = lessons.crops(book, np.random.default_rng(0), 2, world.SIDE, 0)
    for b, number in enumerate(np.random.default_rng(0).integers(2, size=2)):
        made = book.scenes[number]
        for item in made.things:
            cell = (item.y // 14) * 24 + item.x // 14
            assert whole.answers["center"][b, cell] == 1
            assert (whole.rows[b, cell], whole.columns[b, cell]) == (item.y // 14, item.x // 14)
        shapes = {world.SHAPES[i - 1] for i in np.unique(whole.answers["shape"][b]) if i}
        assert shapes == {item.shape for item in made.things}
    small = lessons.crops(book, np.random.default_rng(0), 3, 112, 56)
    assert small.pixels.shape == (3, 112, 112, 3) and small.answers["shape"].shape == (3, 64)
    assert small.rows.max() < 24 and small.columns.max() < 24


# --- the bundled checkpoint -----------------------------------------------------------------------------------


def test_bundled_checkpoint_answers():
    from trimviz.tiny.evaluate import evaluate

    assert sum(file.stat().st_size for file in BUNDLED.glob("*.safetensors")) <= 16 * 2**20
    result = evaluate("tiny", n=60, seed=17, pruners=methods(["random"]), keeps=["32"], device="cpu")
    assert result["runs"][0]["n"] == result["runs"][1]["n"] == 60
    assert result["runs"][0]["accuracy"] >= ACCURACY
    assert result["accuracy"] == result["runs"][1]["accuracy"]


def test_an_unpaired_budget_is_refused():
    from trimviz.tiny.evaluate import evaluate

    with pytest.raises(ValueError, match="give both or none"):
        evaluate("tiny", n=1, keeps=["32"])


def test_hand_made_scenes_can_be_changed():
    assert ("how many things are there?", "one") in ask(replace(PAIR, things=(STAR,)), "count")


def test_the_card_says_what_was_counted():
    assert card.tables(BUNDLED) in (BUNDLED / "README.md").read_text(encoding="utf-8")


def test_checkpoints_are_chosen_on_a_split_of_their_own(monkeypatch):
    asked = []

    def noted(n, seed, split):
        papers = list(exam(n, seed, split))
        asked.append([question for _, questions in papers for question in questions])
        return iter(papers)

    from trimviz.tiny.evaluate import evaluate

    monkeypatch.setitem(evaluate.__globals__, "exam", noted)
    told = [evaluate("tiny", n=3, device="cpu", split=split)["split"] for split in ("tune", "test")]
    assert told == ["tune", "test"] and asked[0] != asked[1]
