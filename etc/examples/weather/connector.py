"""A connector of Fivetran's Connector SDK: hourly temperatures of a city, from where the last sync ended.

It makes the values up, so that it runs without an account anywhere.
"""

from datetime import datetime, timedelta, timezone

from fivetran_connector_sdk import Connector
from fivetran_connector_sdk import Logging as log
from fivetran_connector_sdk import Operations as op


def schema(configuration):
    return [
        {
            "table": "temperature",
            "primary_key": ["city", "at"],
            "columns": {"city": "STRING", "at": "UTC_DATETIME", "celsius": "DOUBLE"},
        }
    ]


def update(configuration, state):
    city = configuration.get("city", "Oslo")
    start = datetime.fromisoformat(state.get("until", "2026-01-01T00:00:00+00:00"))
    for hour in range(24):
        at = start + timedelta(hours=hour)
        op.upsert("temperature", {"city": city, "at": at, "celsius": round(at.hour * 0.7 - 3, 1)})
    until = (start + timedelta(hours=24)).astimezone(timezone.utc)
    log.info(f"{city}: until {until.isoformat()}")
    op.checkpoint({"until": until.isoformat()})


connector = Connector(update=update, schema=schema)
