# Messages that only the key in the configuration opens: cryptography's part that is written in C and Rust runs too.
import json

from cryptography.fernet import Fernet, InvalidToken
from fivetran_connector_sdk import Connector
from fivetran_connector_sdk import Logging as log
from fivetran_connector_sdk import Operations as op

MESSAGES = [
    "gAAAAABlU_EAAAAAAAAAAAAAAAAAAAAAAJQegA4fzUjGg1M2i2aVoNDERIY-OCmLGMULBJRM9UwHE0IXwy9_2KoBJj_1r3egYtzR3L9WZ-WdAtv6_7Gtv0E=",
    "gAAAAABlU_EBAQEBAQEBAQEBAQEBAQEBAbpDSmwsG7xJOFwyHZJ2FSKf7MzUj9GJk7niXu7oTW-eRtK3-48yfUc8oB5j0H2-1w==",
    "gAAAAABlU_ECAgICAgICAgICAgICAgICAhJ1UrYZrQg2hS7ncbTxc6C8aABnZOalu5SEpljaZLl75Lx4YJ2LZJ-EAuS8EYbn03IRLQTzNYrfkawxCW-6vzw=",
]


def schema(configuration):
    if "key" not in configuration:
        raise ValueError("the configuration has no key")
    return [{"table": "messages", "primary_key": ["number"], "columns": {"number": "INT", "message": "STRING"}}]


def update(configuration, state):
    box = Fernet(configuration["key"].encode())
    for number, token in enumerate(MESSAGES):
        opened = box.decrypt(token)
        sent_at = box.extract_timestamp(token.encode())
        op.upsert("messages", {"number": number, "message": opened.decode(), "raw": opened, "sent_at": sent_at})
    op.upsert("messages", {"number": 3, "message": "as JSON", "more": json.loads(opened)})
    own = box.encrypt(b"there and back")
    op.upsert("messages", {"number": 4, "message": box.decrypt(own).decode(), "raw": None})
    try:
        Fernet(Fernet.generate_key()).decrypt(MESSAGES[0])
    except InvalidToken as error:
        log.warning(f"another key opens nothing: {type(error).__name__}")
    op.checkpoint({"messages": len(MESSAGES)})
    Fernet("too short")


connector = Connector(update=update, schema=schema)
