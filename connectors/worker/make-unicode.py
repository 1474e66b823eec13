#!/usr/bin/env python3
"""Writes what naming.c needs of Unicode as C, at build time, from Python's own tables (unicodedata)."""

import re
import sys
import unicodedata

LATIN = re.compile(r"LATIN (CAPITAL LETTER|SMALL LETTER|LETTER SMALL CAPITAL) (\w+)( WITH .*| DIGRAPH.*)?$")
NAMED = {"SHARP S": "ss", "THORN": "th", "ETH": "d", "ENG": "ng", "DOTLESS I": "i", "KRA": "k", "LONG S": "s"}
# without surrogates, private ones and those that nobody has assigned, nine of ten, of which nothing is said here
CODE_POINTS = [c for c in range(0x80, 0x110000) if unicodedata.category(chr(c)) not in ("Cs", "Co", "Cn")]


def ranges(holds):
    found = []
    for code in CODE_POINTS:
        if not holds(chr(code)):
            continue
        if found and found[-1][1] == code - 1:
            found[-1][1] = code
        else:
            found.append([code, code])
    return found


def by_name(character):
    name = unicodedata.name(character, "")
    for word, letters in NAMED.items():
        if name in (f"LATIN SMALL LETTER {word}", f"LATIN CAPITAL LETTER {word}"):
            return letters if "SMALL" in name else letters.capitalize()
    match = LATIN.match(name)
    if not match or len(match[2]) > 2 or not match[2].isascii():
        return None
    return match[2].lower() if "SMALL" in match[1] else match[2]


def latin(character):
    """CHARACTER in ASCII, where it is a Latin letter, a sign made of such, or a digit."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", character) if not unicodedata.combining(c))
    if plain.isascii() and plain.isalnum() and len(plain) <= 4:
        return plain
    return by_name(character)


def print_ranges(name, found):
    print(f"static const UnicodeRange {name}[] = {{")
    for first, last in found:
        print(f"    {{ 0x{first:04x}, 0x{last:04x} }},")
    print("};")


def main():
    if len(sys.argv) > 1:
        sys.stdout = open(sys.argv[1], "w", encoding="ascii")
    print(f"/* Made by make-unicode.py from Unicode {unicodedata.unidata_version}. */")
    print_ranges("unicode_word", ranges(lambda c: c.isalnum()))
    print_ranges("unicode_digit", ranges(str.isdigit))
    print_ranges("unicode_lower", ranges(str.islower))
    print_ranges("unicode_upper", ranges(str.isupper))
    print_ranges("unicode_separator", ranges(lambda c: unicodedata.category(c)[0] in "PZ"))
    print("static const UnicodeLetter unicode_lowercase[] = {")
    for code in CODE_POINTS:
        low = chr(code).lower()
        if low != chr(code):
            print(f"    {{ 0x{code:04x}, 0x{ord(low[0]):04x} }},")
    print("};\nstatic const UnicodeLatin unicode_latin[] = {")
    for code in CODE_POINTS:
        text = latin(chr(code))
        if text:
            print(f'    {{ 0x{code:04x}, "{text}" }},')
    print("};")


main()
