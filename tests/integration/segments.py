"""What the connector of test_fivetran_exactly_once.py sends, segment by segment; a checkpoint ends each.

The connector imports this file, which is copied into its project, and the test makes the model of what must be there
from it. Nothing is imported here, since nothing else is there.
"""

SEGMENTS = 8
ROWS = 10
DECLARED = [
    {
        "table": "orders",
        "primary_key": ["id"],
        "columns": {"id": "LONG", "note": "STRING", "at": "UTC_DATETIME"},
    },
    {"table": "items", "primary_key": ["sku"]},
]


def order(segment, number, padding):
    row = {
        "id": number,
        "note": f"{segment}" + "x" * padding,
        "at": f"2026-01-{segment + 1:02}T00:00:{number % 60:02}Z",
    }
    if segment >= 2:
        row["later"] = number  # a column that was not there
    if segment >= 5:
        row["later"] = number + 0.5  # and that becomes wider
    return row


def calls(segment, padding=0):
    """("upsert", "update", "delete" or "truncate", table, row or None), in order: rows of the segments before change, go
    and come again."""
    first = segment * ROWS
    for number in range(max(first - ROWS // 2, 0), first + ROWS):
        yield "upsert", "orders", order(segment, number, padding)
    for number in range(first, first + ROWS, 3):
        yield "update", "orders", {"id": number, "note": f"updated in {segment}"}
    for number in range(first + 1, first + ROWS, 5):
        yield "delete", "orders", {"id": number}
    if segment == 4:
        yield "truncate", "items", None
    for number in range(ROWS // 2):
        sku = f"sku-{(first + number) % 30}"
        yield "upsert", "items", {"sku": sku, "count": number, "more": {"in": [segment, True, None]}}
    yield "update", "items", {"sku": "nobody has it", "count": 1}
    for number in range(3):
        yield "upsert", "visits", {"segment": segment, "page": f"/{number}", "seconds": number / 4}
