"""Every reason to refuse: its code, HTTP status, and what it says in zh and en.

Codes never change once published; a row's code stands in its dead letter, receipt and error alike.
"""

from __future__ import annotations

from typing import NamedTuple


class Reason(NamedTuple):
    code: str
    status: int
    en: str
    zh: str


_ALL = [
    # one row is wrong: the others pass (the request itself answers 200)
    Reason("not_json", 200, "the row is not valid JSON", "该行不是有效的 JSON"),
    Reason("not_object", 200, "the row is not a JSON object", "该行不是 JSON 对象"),
    Reason("not_utf8", 200, "the row is not valid UTF-8", "该行不是有效的 UTF-8"),
    Reason("not_csv", 200, "the row is not a valid CSV record", "该行不是有效的 CSV 记录"),
    Reason("field_count", 200, "the row has too few or too many fields", "该行字段数不符"),
    Reason(
        "unknown_field",
        200,
        "unknown field; personal data is not accepted",
        "未知字段;不接收个人信息",
    ),
    Reason("missing_field", 200, "a required field is missing or null", "缺少必填字段"),
    Reason("wrong_type", 200, "the field has the wrong type", "字段类型错误"),
    Reason("invalid_value", 200, "the value is not allowed here", "字段取值不允许"),
    Reason("out_of_range", 200, "the value is out of range", "数值超出范围"),
    Reason("too_long", 200, "the value is too long", "字段过长"),
    Reason(
        "invalid_time",
        200,
        "not RFC 3339 with offset, nor epoch milliseconds",
        "时间须为带时区的 RFC 3339 或毫秒时间戳",
    ),
    Reason(
        "in_future",
        200,
        "occurred more than 5 minutes in the future",
        "发生时间晚于现在 5 分钟以上",
    ),
    Reason("too_old", 200, "occurred more than 5 years ago", "发生时间早于 5 年前"),
    Reason("unknown_district", 200, "a district code that never existed", "不存在的区县代码"),
    Reason("platform_mismatch", 200, "the row belongs to another platform", "该行属于其他平台"),
    Reason(
        "conflict",
        200,
        "the same entry_id is booked with other content",
        "同一 entry_id 已以不同内容入账",
    ),
    Reason("duplicate", 200, "the same entry is booked already", "同一分录已入账"),
    Reason(
        "foreign_record",
        200,
        "a record of entries.v1 without our header",
        "entries.v1 中无本系统标头的记录",
    ),
    Reason(
        "batch_undecodable",
        200,
        "a batch of the feed can't be decoded",
        "数据源中的一批记录无法解码",
    ),
    Reason(
        "batch_too_large",
        200,
        "a batch of the feed is too large once unpacked",
        "数据源中的一批记录解压后过大",
    ),
    Reason(
        "records_deleted",
        200,
        "records of the feed were deleted before they were read",
        "数据源中的记录在读取前已被删除",
    ),
    Reason("reserved_name", 200, "the name is reserved for this system", "该名称为本系统保留"),
    # the request is wrong as a whole: nothing is booked
    Reason("body_undecodable", 400, "the body can't be decoded", "请求体无法解码"),
    Reason("unknown_column", 400, "unknown column", "未知列"),
    Reason("missing_column", 400, "a required column is missing", "缺少必需列"),
    Reason("column_type", 400, "the column has a type that can't be read", "列类型无法读取"),
    Reason("invalid_parameter", 422, "a parameter is wrong", "参数错误"),
    Reason(
        "key_reused",
        422,
        "the Idempotency-Key was used with another body",
        "Idempotency-Key 已用于其他请求体",
    ),
    Reason(
        "invalid_merchant",
        422,
        "a row of the registry is wrong; nothing was changed",
        "商户登记行有误;未作任何更改",
    ),
    Reason("invalid_field", 422, "a field of the request is wrong", "请求字段有误"),
    Reason("ended", 409, "the alert has ended", "该预警已结束"),
    Reason("unauthorized", 401, "no valid key or token", "缺少有效的密钥或令牌"),
    Reason("forbidden", 403, "not yours", "无权访问"),
    Reason("not_found", 404, "not found", "未找到"),
    Reason(
        "too_large",
        413,
        "too much for one request: more than 64 MiB, also after decompression, or it becomes too much",
        "单个请求过大:超过 64 MiB(含解压后),或展开后过大",
    ),
    Reason(
        "too_many",
        429,
        "you have more in work than one sender may have at once; try again",
        "您同时在办的请求超过单个发送方的限额;请稍后重试",
    ),
    Reason("unsupported_media_type", 415, "this media type is not accepted", "不支持的媒体类型"),
    Reason("internal", 500, "an error of ours; it is logged", "系统内部错误,已记录"),
    Reason(
        "unavailable",
        503,
        "not possible now; nothing was acknowledged, try again",
        "暂时无法处理;未确认任何内容,请重试",
    ),
]
REASONS: dict[str, Reason] = {reason.code: reason for reason in _ALL}
