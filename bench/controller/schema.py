"""JSON Schemas of hosts.yaml and of plans, for editors: made of the models that check the files.

`python -m bench.controller.schema` writes them to bench/schemas. They catch what can be seen in one value; what values
say together, and what is on a machine, only `bench` checks.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bench.controller.arms import ARMS, ArmModel
from bench.controller.cells import parameters_model
from bench.controller.change import ChangeModel, SideModel
from bench.controller.gatefile import EffectModel, GateModel, QuarantineModel, RuleModel
from bench.controller.hostfile import REMOTE_ONLY, DefaultsModel, HostModel, InventoryModel
from bench.controller.interests import MetricModel
from bench.controller.options import NOT_IN_A_VARIANT
from bench.controller.planfile import PlanModel
from bench.controller.quantities import SHARE_SCHEMA, SIZE_SCHEMA
from bench.controller.yamlfile import Strict
from bench.wire.metrics import METRICS, Metric
from bench.wire.setting import NAMES
from workloads.catalog import WORKLOADS

FOLDER = Path(__file__).parents[1] / "schemas"
Schema = dict[str, Any]
_DIALECT = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
# pydantic's own names, which mean nothing to others: `gt` of an optional value, and titles made of the keys.
_NOISE = ("gt", "title")
_LOOKS: Schema = {"type": "array", "items": {"type": "integer", "minimum": 2, "maximum": 1000}, "uniqueItems": True}


def schemas() -> dict[str, str]:
    """The text of each schema by its file's name."""
    made = {"hosts.schema.json": _hosts(), "plan.schema.json": _plan()}
    return {name: json.dumps(schema, indent=2, ensure_ascii=False) + "\n" for name, schema in made.items()}


def _hosts() -> Schema:
    schema, host = _model(InventoryModel), _model(HostModel)
    local = {"properties": {"address": {"const": "local"}}, "required": ["address"]}
    host |= {"if": local, "then": {"properties": dict.fromkeys(REMOTE_ONLY, False)}}
    schema["properties"]["hosts"]["items"] = host
    same = {key: {"$ref": f"#/properties/hosts/items/properties/{key}"} for key in DefaultsModel.model_fields}
    _put(schema, "defaults", {"properties": same, "additionalProperties": False})
    return _DIALECT | schema


def _plan() -> Schema:
    schema = _model(PlanModel)
    arm = _model(ArmModel)
    _put(arm, "like", {"enum": list(ARMS)})
    schema["properties"]["arms"]["items"] = {"anyOf": [{"enum": list(ARMS)}, arm]}
    schema["properties"]["workloads"]["items"] = {"anyOf": [{"enum": list(WORKLOADS)}, *map(_workload, WORKLOADS)]}
    metrics = {name: _metric(metric) for name, metric in METRICS.items()}
    _put(schema, "metrics", {"properties": metrics, "additionalProperties": False})
    change, side = _model(ChangeModel), _model(SideModel)
    for key in ChangeModel.model_fields:
        _put(change, key, side)
    _put(schema, "change", {"anyOf": [change, {"type": "null"}]})
    _put(schema, "gate", {"anyOf": [_gate(), {"type": "null"}]})
    _put(schema, "looks", {"anyOf": [{"const": "default"}, _LOOKS]})
    names = {"type": "array", "items": {"enum": list(NAMES)}, "uniqueItems": True}
    _put(schema, "tune", {"anyOf": [{"type": "boolean"}, names]})
    _put(schema, "variants", {"additionalProperties": _variant(schema["properties"])})
    return _DIALECT | schema


def _variant(plan: Schema) -> Schema:
    """A plan's keys, none required. Lists can also be changed entry by entry, each named by its number or its name."""
    keys: Schema = {key: {"$ref": f"#/properties/{key}"} for key in plan if key not in NOT_IN_A_VARIANT}
    for key in ("arms", "workloads"):
        keys[key] = {"anyOf": [keys[key], {"type": "object"}]}
    keys["gate"] = {"type": "object"}
    return {"type": "object", "properties": keys, "additionalProperties": False}


def _gate() -> Schema:
    schema = _model(GateModel)
    schema["properties"]["rules"]["items"] = _model(RuleModel)
    schema["properties"]["quarantine"]["items"] = _model(QuarantineModel)
    _put(schema, "effect", {"anyOf": [_model(EffectModel), {"type": "null"}]})
    return schema


def _workload(kind: str) -> Schema:
    schema = _model(parameters_model(kind)) | {"description": WORKLOADS[kind].summary}
    _put(schema, "workload", {"const": kind})
    return schema


def _metric(metric: Metric) -> Schema:
    number = {"type": "number", "exclusiveMinimum": 0}
    form: Schema = number
    if metric.kind == "ratio" or metric.unit == "share":
        form = SHARE_SCHEMA.json_schema or {}
    elif metric.unit == "byte":
        form = SIZE_SCHEMA.json_schema or {}
    schema = _model(MetricModel) | {"description": metric.definition}
    _put(schema, "margin", form)
    return schema


def _put(schema: Schema, key: str, form: Schema) -> None:
    """A property's form from elsewhere than its model; the model's description stays."""
    schema["properties"][key] = {**schema["properties"][key], **form, **_described(schema["properties"][key])}


def _described(schema: Schema) -> Schema:
    return {"description": schema["description"]} if "description" in schema else {}


def _model(model: type[Strict]) -> Schema:
    schema: Schema = _tidy(model.model_json_schema())
    defs = schema.pop("$defs", {})
    schema["properties"] = {key: _inlined(form, defs) for key, form in schema["properties"].items()}
    return schema


def _tidy(value: Any) -> Any:
    if isinstance(value, list):
        return [_tidy(item) for item in value]
    if not isinstance(value, dict):
        return value
    # Under `properties` stand the names of keys, and they all stay.
    return {
        key: {name: _tidy(item) for name, item in inner.items()} if key in ("properties", "$defs") else _tidy(inner)
        for key, inner in value.items()
        if key not in _NOISE
    }


def _inlined(form: Schema, defs: Schema) -> Schema:
    """A key's form with what it refers to in its place: references would count from the top of another schema."""
    name = form.get("$ref", "").rpartition("/")[2]
    return {**defs.get(name, {}), **{key: value for key, value in form.items() if key != "$ref"}}


def main() -> None:
    """Writes the files."""
    FOLDER.mkdir(exist_ok=True)
    for name, text in schemas().items():
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
