"""The type catalogue: what is known, what fits, and what a refusal says."""

from collections.abc import Callable
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import insert, update

from src.db.dialect import now
from src.models.tables import TaskType
from src.services.payloads import complaints, is_recursive, make_validator

Submit = Callable[..., httpx2.Response]


class Address(BaseModel):
    street: str
    number: int | None = None


class Letter(BaseModel):
    """As a worker would declare it."""

    model_config = ConfigDict(extra="forbid")

    to: str = Field(min_length=3, pattern=r"^\p{L}+$")
    copies: int | None = Field(default=1, ge=1)
    colour: str | Address = "red"
    paper: Address | None = None
    tags: list[str] = Field(default_factory=list, max_length=2)


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        ({"to": "Anné"}, []),
        ({"to": "Ann", "copies": None, "colour": {"street": "x"}, "tags": ["a"]}, []),
        ({}, [("metadata.to", "is required")]),
        ({"to": 5}, [("metadata.to", "must be of type string")]),
        ({"to": "ab"}, [("metadata.to", "it is shorter than 3 characters")]),
        ({"to": "s3cret"}, [("metadata.to", 'it does not match "^\\p{L}+$"')]),
        ({"to": "Ann", "copies": "x"}, [("metadata.copies", "must be of type integer or null")]),
        ({"to": "Ann", "copies": 0}, [("metadata.copies", "it is less than the minimum of 1")]),
        ({"to": "Ann", "paper": {}}, [("metadata.paper.street", "is required")]),
        ({"to": "Ann", "colour": 7}, [("metadata.colour", "must be of type string or object")]),
        ({"to": "Ann", "tags": ["a", 1]}, [("metadata.tags.1", "must be of type string")]),
        ({"to": "Ann", "tags": ["a"] * 3}, [("metadata.tags", "it has more than 2 items")]),
        ({"to": "Ann", "too": 1}, [("metadata.too", "unknown field")]),
    ],
)
def test_each_wrong_place_is_named_without_its_value(
    payload: dict[str, Any], expected: list[tuple[str, str]]
) -> None:
    found = complaints(make_validator(Letter.model_json_schema()), payload)

    assert [(c.field, c.message) for c in found] == expected


def test_a_pattern_takes_no_longer_than_the_text() -> None:
    validator = make_validator({"properties": {"x": {"type": "string", "pattern": "^(a+)+b$"}}})

    assert len(complaints(validator, {"x": "a" * 60_000})) == 1


def test_of_a_large_payload_the_first_wrong_place_is_named() -> None:
    forms = [{"type": "object", "required": [name]} for name in "abcd"]
    validator = make_validator({"properties": {"xs": {"items": {"anyOf": forms}}}})

    assert len(complaints(validator, {"xs": [{}] * 30})) == 20
    [complaint] = complaints(validator, {"xs": [{}] * 9_000})
    assert complaint.field == "metadata.xs.0"


def test_a_pattern_that_would_need_to_go_back_in_the_text_is_no_schema() -> None:
    with pytest.raises(ValueError, match="regex"):
        make_validator({"type": "string", "pattern": "^(?=(a+)+b)"})


def test_an_answer_names_some_of_many_wrong_places() -> None:
    validator = make_validator({"additionalProperties": {"type": "string"}})

    assert len(complaints(validator, {f"key{n}": n for n in range(200)})) == 20


# --- at submission --------------------------------------------------------------------------------


@pytest.fixture
def tell(app: FastAPI) -> Callable[..., None]:
    """Put a type into the catalogue, as a worker does at its start."""

    def put(name: str, schema: dict[str, Any] | None = None) -> None:
        app.state.runtime().database.write(
            lambda connection: connection.execute(
                insert(TaskType).values(
                    name=name, payload_schema=schema, updated_at=now(connection)
                )
            )
        )

    return put


def refusal(response: httpx2.Response) -> list[dict[str, str]]:
    assert response.status_code == 400, response.text
    errors: list[dict[str, str]] = response.json()["errors"]
    return errors


def test_an_unknown_type_is_refused_with_the_known_ones_and_the_nearest(
    submit: Submit, tell: Callable[..., None]
) -> None:
    tell("send_email")

    assert refusal(submit(type="send_emial")) == [
        {
            "field": "type",
            "message": "unknown type; did you mean 'send_email'? known are send_email, simulate",
        }
    ]
    message = refusal(submit(type="Ω<script>"))[0]["message"]
    assert message == "unknown type; known are send_email, simulate"


def test_a_type_is_known_at_once_however_recently_the_catalogue_was_read(
    submit: Submit, tell: Callable[..., None]
) -> None:
    tell("first")
    assert submit(type="first").status_code == 202
    refusal(submit(type="second"))

    tell("second")

    assert submit(type="second").status_code == 202


def test_a_payload_must_fit_the_schema_as_it_is_now(
    app: FastAPI, submit: Submit, tell: Callable[..., None]
) -> None:
    tell("letter", Letter.model_json_schema())
    assert submit(type="letter", metadata={"to": "Ann"}).status_code == 202
    absent: list[dict[str, Any]] = [{}, {"metadata": None}, {"metadata": {}}]
    for fields in absent:
        errors = refusal(submit(type="letter", **fields))
        assert errors == [{"field": "metadata.to", "message": "is required"}]

    app.state.runtime().database.write(
        lambda connection: connection.execute(
            update(TaskType).values(payload_schema={"type": "object"})
        )
    )

    assert submit(type="letter").status_code == 202


class Left(BaseModel):
    left: "Left | Right | None" = None


class Right(BaseModel):
    right: "Left | Right | None" = None
    must: int


def test_a_payload_for_a_schema_that_leads_back_to_itself_is_judged_at_once(
    submit: Submit, tell: Callable[..., None]
) -> None:
    tell("zigzag", Left.model_json_schema())
    payload: dict[str, Any] = {"left": 5}
    for _ in range(18):
        payload = {"left": payload}

    [error] = refusal(submit(type="zigzag", metadata=payload))
    assert error["field"] == "metadata"
    assert error["message"].startswith("does not fit the JSON Schema of its type")


@pytest.mark.parametrize(
    ("schema", "recursive"),
    [
        (Letter.model_json_schema(), False),
        (Left.model_json_schema(), True),
        ({"properties": {"child": {"$ref": "#"}}}, True),
        ({"type": "object"}, False),
    ],
)
def test_a_schema_that_leads_back_to_itself_is_known(schema: Any, recursive: bool) -> None:
    assert is_recursive(schema) is recursive


@pytest.mark.parametrize(
    "schema", [{"$ref": "http://127.0.0.1:9/schema.json"}, {"type": 7}, {"pattern": "("}]
)
def test_a_schema_that_cannot_be_used_leaves_the_judgement_to_the_worker(
    submit: Submit, tell: Callable[..., None], schema: dict[str, Any]
) -> None:
    tell("odd", schema)

    assert submit(type="odd", metadata={"x": 1}).status_code == 202


@pytest.mark.parametrize("fields", [{}, {"type": None}, {"type": "simulate"}])
def test_a_plain_request_is_taken_whatever_the_catalogue_holds(
    submit: Submit, tell: Callable[..., None], fields: dict[str, Any]
) -> None:
    tell("simulate", {"type": "object", "required": ["never"]})

    assert submit(metadata={"anything": 1}, **fields).status_code == 202
