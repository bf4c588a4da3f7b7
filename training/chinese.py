"""Chinese names of the concepts from Unicode CLDR, and our own small table for scenery and styles."""

from __future__ import annotations

import json
from collections import Counter

from training.concepts import CONCEPTS
from training.sources import PACKAGES, read

ANNOTATIONS = "cldr-annotations-full@48.2.0"
LOCALES = {"zh": "zh", "zh-Hant": "zh-Hant"}

# English phrase: (simplified, traditional); CLDR names things, not scenery
SCENERY = {
    "background": ("背景", "背景"), "white": ("白色", "白色"), "black": ("黑色", "黑色"), "gray": ("灰色", "灰色"),
    "red": ("红色", "紅色"), "orange": ("橙色", "橙色"), "yellow": ("黄色", "黃色"),
    "green": ("绿色", "綠色"),
    "blue": ("蓝色", "藍色"), "light blue": ("浅蓝色", "淺藍色"), "purple": ("紫色", "紫色"),
    "pink": ("粉色", "粉色"),
    "brown": ("棕色", "棕色"), "grass": ("草地", "草地"), "sand": ("沙滩", "沙灘"), "snow": ("雪地", "雪地"),
    "water": ("水面", "水面"), "the sea": ("海", "海"), "road": ("马路", "馬路"), "blue sky": ("蓝天", "藍天"),
    "night sky": ("夜空", "夜空"), "sunset sky": ("夕阳", "夕陽"), "cloudy sky": ("阴天", "陰天"),
    "space": ("太空", "太空"), "3d style": ("立体风格", "立體風格"),
    "cartoon": ("卡通", "卡通"), "watercolor": ("水彩画", "水彩畫"),
}  # fmt: skip
# CLDR calls the front views "...face" or uses a bookish word; what people type comes first
COMMON = {
    "cat": ("猫", "貓"), "dog": ("狗", "狗"), "rabbit": ("兔子", "兔子"), "tiger": ("老虎", "老虎"),
    "cow": ("牛", "牛"),
    "pig": ("猪", "豬"), "monkey": ("猴子", "猴子"), "horse": ("马", "馬"), "frog": ("青蛙", "青蛙"),
    "fish": ("鱼", "魚"),
    "whale": ("鲸鱼", "鯨魚"), "tree": ("树", "樹"), "pine tree": ("松树", "松樹"), "sun": ("太阳", "太陽"),
    "moon": ("月亮", "月亮"), "apple": ("苹果", "蘋果"), "orange": ("橙子", "橙子"), "dinosaur": ("恐龙", "恐龍"),
    "dragon": ("龙", "龍"), "mountain": ("雪山", "雪山"), "car": ("汽车", "汽車"), "train": ("火车", "火車"),
    "earth": ("地球", "地球"), "planet": ("土星", "土星"), "pumpkin": ("南瓜", "南瓜"),
    "ice cream": ("冰淇淋", "冰淇淋"),
    "cake": ("蛋糕", "蛋糕"), "coffee": ("咖啡", "咖啡"), "heart": ("红心", "紅心"), "smiley": ("笑脸", "笑臉"),
    "clown": ("小丑", "小丑"), "book": ("书", "書"), "clock": ("闹钟", "鬧鐘"), "gift": ("礼物", "禮物"),
    "diamond": ("钻石", "鑽石"), "bear": ("熊", "熊"), "robot": ("机器人", "機器人"), "snowman": ("雪人", "雪人"),
    "umbrella": ("雨伞", "雨傘"), "boat": ("船", "船"), "flame": ("火焰", "火焰"), "house": ("房子", "房子"),
}  # fmt: skip


def _codes() -> dict[str, str]:
    """{icon name: emoji characters}."""
    characters = json.loads(read(PACKAGES["flat"], "chars.json"))
    return {name: "".join(chr(int(c, 16)) for c in code.split("-")) for code, name in characters.items()}


def chinese_names() -> dict[str, dict[str, list[str]]]:
    """{concept: {'zh': [...], 'zh-Hant': [...]}}, the most usual name first.

    CLDR's keywords also hold moods, kinds and jokes: only those that share a sign with the name and belong to one
    concept alone are kept.
    """
    codes, out = _codes(), {c.name: {} for c in CONCEPTS}
    for column, (locale, folder) in enumerate(LOCALES.items()):
        tree = json.loads(read(ANNOTATIONS, f"annotations/{folder}/annotations.json"))["annotations"]["annotations"]
        names: dict[str, list[str]] = {}
        keywords: dict[str, list[str]] = {}
        for concept in CONCEPTS:
            symbol = codes[concept.icon]
            entry = tree.get(symbol) or tree.get(symbol.replace("\ufe0f", "")) or {}
            usual = [COMMON[concept.name][column]] if concept.name in COMMON else []
            names[concept.name] = list(dict.fromkeys([*usual, *entry.get("tts", [])]))
            keywords[concept.name] = entry.get("default", [])
        taken = Counter(word for words in names.values() for word in words)
        taken.update(word for name, words in keywords.items() for word in words if word not in names[name])
        for concept in CONCEPTS:
            own, signs = names[concept.name], set("".join(names[concept.name])) - set("脸臉头頭动動物")
            more = [w for w in keywords[concept.name] if w not in own and taken[w] == 1 and signs & set(w)]
            out[concept.name][locale] = own + more
    return out
