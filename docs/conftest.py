"""The pages' own code runs with the tests; what builds them, and what is built, does not."""

collect_ignore = [
    "_build",
    "_ext",
    "_figures",
    "_generated",
    "api/generated",
    "check_pages.py",
    "conf.py",
    "gallery",
    "measured.py",
]
