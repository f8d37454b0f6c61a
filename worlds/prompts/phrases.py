"""Examples of what people say for common prompt words, and of what they say about something else.

`worlds/prompts/sentences.py` compares free text with them. A prompt word that is not here is compared by its own name
and its synonyms, so a world with other words needs no entry.
"""

from __future__ import annotations

from collections.abc import Mapping

EXAMPLES: Mapping[str, tuple[str, ...]] = {
    "clear": (
        "clear sky", "blue sky", "clear weather", "sunny", "sunshine", "bright sun", "bright", "dry",
        "dry road", "fine weather", "good weather", "nice weather", "a lovely summer", "hot", "heat", "warm",
        "cloudless", "not a cloud in sight", "perfect visibility", "fair weather", "beautiful weather",
    ),
    "rain": (
        "rain", "rainy", "raining", "heavy rain", "rainstorm", "rainfall", "storm", "stormy", "thunder", "lightning",
        "thunderstorm", "drizzle", "downpour", "shower", "showers", "pouring", "pouring rain", "torrential",
        "monsoon", "hurricane", "typhoon", "flood", "puddles", "wet", "soaked", "soaking", "water falling",
        "umbrella", "damp",
    ),
    "snow": (
        "snow", "snowy", "snowing", "snowfall", "snowstorm", "snowflakes", "blizzard", "winter", "wintry", "ice",
        "icy", "frost", "frosty", "freezing", "frozen", "sleet", "hail", "slush", "cold", "very cold weather",
        "christmas", "arctic", "siberia", "glacier", "white ground", "avalanche",
    ),
    "fog": (
        "fog", "foggy", "mist", "misty", "haze", "hazy", "smog", "smoke", "murky", "vapour", "steam",
        "low visibility", "poor visibility", "cannot see far", "hard to see", "clouds", "cloudy", "thick air",
        "a veil", "gloomy grey air", "everything is blurred",
    ),
    "day": (
        "day", "daytime", "daylight", "noon", "midday", "morning", "afternoon", "early afternoon", "breakfast",
        "lunch", "lunchtime", "in the daytime", "by day", "the sun is high", "middle of the day", "tea time",
    ),
    "dusk": (
        "dusk", "sunset", "sunrise", "dawn", "daybreak", "nightfall", "evening", "twilight", "golden hour",
        "first light", "the sun goes down", "the sun comes up", "fading light", "end of the day", "orange sky",
        "last light", "between day and night", "red sky", "supper time",
    ),
    "night": (
        "night", "nighttime", "midnight", "dark", "darkness", "after dark", "tonight", "late at night", "moon",
        "moonlight", "full moon", "stars", "starry sky", "starlight", "black sky", "pitch black", "headlights",
        "street lamps", "nocturnal", "asleep", "bedtime",
    ),
}  # fmt: skip
"""Prompt word -> examples. Any world whose vocabulary has the word uses them."""

ASIDES: tuple[str, ...] = (
    "car", "drive", "driving", "race", "faster", "slower", "speed", "stop", "start", "turn left", "turn right",
    "brake", "engine", "wheel", "road", "track", "bridge", "tunnel", "corner", "lap", "rival", "opponent", "win",
    "lose", "score", "game", "level", "play", "player", "pause", "menu", "help", "quit", "hello", "thank you", "yes",
    "no", "good", "bad", "cool", "love", "hate", "red", "green", "blue", "purple", "yellow", "colour", "big", "small",
    "long", "short", "more", "less", "add", "remove", "change", "put", "give", "show", "look", "go", "come", "house",
    "city", "castle", "forest", "desert", "beach", "sea", "mountain", "river", "tree", "animal", "dog", "cat",
    "horse", "dragon", "monster", "robot", "people", "man", "woman", "child", "friend", "food", "cheese", "bread",
    "music", "song", "sound", "film", "book", "picture", "graphics", "computer", "number", "word", "story",
    "question", "what is this", "who", "where", "why", "how", "space", "planet", "future", "past", "war", "gun",
    "explosion", "fire", "jump", "fly", "walk", "run", "fight", "everything", "nothing", "something", "outside",
    "under", "over", "ahead", "behind", "set", "want", "would like", "conditions", "full", "high", "thick", "ground",
    "perfect", "early", "late", "sky", "air", "quiet", "two", "three",
)  # fmt: skip
"""What is said of neither weather nor time; text nearer to these than to a word's examples says nothing."""
