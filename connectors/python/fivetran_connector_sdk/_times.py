"""Dates and times of other forms than the plain ones that the extension reads itself: Python decides, as it does in
Fivetran's SDK, so that what is refused is refused in the same words. A datetime or a date is returned.
"""

from datetime import date, datetime, timezone


def _whole_minutes(moment):
    """An offset of seconds (as of local mean time, before 1900) cannot be written: the same moment in UTC can."""
    offset = moment.utcoffset()
    if offset is not None and (offset.seconds % 60 or offset.microseconds):
        return moment.astimezone(timezone.utc)
    return moment


def _plain(moment):
    """A subclass may write itself as it likes."""
    return _whole_minutes(
        datetime(
            moment.year,
            moment.month,
            moment.day,
            moment.hour,
            moment.minute,
            moment.second,
            moment.microsecond,
            moment.tzinfo,
            fold=moment.fold,
        )
    )


def _read(value, zone):
    text = value.strip().replace(" ", "T", 1)
    return datetime.strptime(text, ("%Y-%m-%dT%H:%M:%S.%f" if "." in text else "%Y-%m-%dT%H:%M:%S") + zone)


def instant(value):
    if isinstance(value, datetime):
        return _plain(value)
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=timezone.utc)
    return _whole_minutes(_read(value, "%z"))


def naive(value):
    if isinstance(value, datetime):
        return _plain(value)
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day)
    return _read(value, "")


def day(value):
    if isinstance(value, str):
        return datetime.strptime(value, "%Y-%m-%d").date()
    if isinstance(value, date):
        return date(value.year, value.month, value.day)
    raise TypeError(f"Expected str, datetime.date, or datetime.datetime, got {type(value)}")
