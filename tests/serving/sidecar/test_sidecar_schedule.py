import pytest

SHORT = [0, 10, 20, 0.5, 0.5]
LONG = [0, 1000, 2000, 0.0, 1.0]


def request(name: str, **more: object) -> dict[str, object]:
    return {"id": name, "waited_ms": 0, "prompt_tokens": 100, "lengths": SHORT, **more}


def engine(*requests: dict[str, object], **more: object) -> dict[str, object]:
    return {
        "name": "one", "max_num_seqs": 1, "engine_profile": "h100-llama-3.1-8b",
        "requests": list(requests), **more,
    }  # fmt: skip


def decide(client, *engines, **more):
    answer = client.post("/schedule", json={"instances": list(engines), **more})
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_the_policy_decides(client):
    waiting = [request("long", lengths=LONG, waited_ms=50), request("short", waited_ms=20)]
    assert decide(client, engine(*waiting), policy="fcfs")["instances"][0]["order"] == [
        "long",
        "short",
    ]
    assert decide(client, engine(*waiting), policy="sjf")["instances"][0]["order"] == [
        "short",
        "long",
    ]


@pytest.mark.parametrize(
    "limits",
    [
        {"max_tokens": 12, "min_tokens": 12},
        {"max_tokens": 12, "ignore_eos": True},
        {"max_tokens": 12},
    ],
)
@pytest.mark.parametrize("lengths", [LONG, None])
def test_a_forecast_keeps_the_limits_of_its_request(client, limits, lengths):
    """The limited one is shorter than ten to twenty tokens are, whatever is said of its text."""
    waiting = [request("short", lengths=[0, 19, 20, 0.0, 1.0]), request("limited", **limits)]
    waiting[1]["lengths"] = lengths
    (told,) = decide(client, engine(*waiting), policy="sjf")["instances"]
    assert told["order"] == ["limited", "short"]


def test_a_lower_limit_conditions_the_forecast(client):
    waiting = [request("least", min_tokens=30), request("short", waited_ms=1)]
    (told,) = decide(client, engine(*waiting), policy="sjf")["instances"]
    assert told["order"] == ["short", "least"]


def test_a_target_that_a_request_leaves_out_is_its_classs(client):
    """With its class's TTFT of 5 s gone by, what it says of TPOT cannot be kept either."""
    late = request("late", slo_class="chat", tpot_ms=1000, waited_ms=9000)
    anonymous = request("anonymous", waited_ms=9000)
    (told,) = decide(client, engine(late, anonymous))["instances"]
    codes = {place["id"]: place["reason"]["code"] for place in told["places"]}
    assert codes == {"late": "promise_lost", "anonymous": "nothing_promised"}


def test_a_requests_own_priority_acts_and_its_classs_under_priority_alone(client):
    """By the SLO file ``code`` has the number 0 and ``chat`` 1."""
    chat = request("chat", slo_class="chat", waited_ms=50)
    code = request("code", slo_class="code", waited_ms=20, e2e_ms=10**7, ttft_ms=10**7)
    (told,) = decide(client, engine(chat, code), policy="priority")["instances"]
    assert told["order"] == ["code", "chat"]
    (told,) = decide(client, engine(chat, code), policy="slotwise")["instances"]
    assert told["order"] == ["chat", "code"]
    (told,) = decide(client, engine({**chat, "priority": 1}, code))["instances"]
    assert told["order"] == ["code", "chat"]


def test_slotwise_serves_who_can_keep_a_promise(client):
    (told,) = decide(
        client,
        engine(
            request("hopeless", lengths=LONG, e2e_ms=500, waited_ms=400),
            request("hopeful", e2e_ms=500, waited_ms=10),
        ),
    )["instances"]
    assert told["order"] == ["hopeful", "hopeless"]
    by_id = {place["id"]: place for place in told["places"]}
    assert by_id["hopeful"]["reason"]["code"] == "gets_slot"
    assert by_id["hopeful"]["chance"] == 1.0
    assert by_id["hopeless"]["reason"]["code"] == "promise_lost"
    assert told["expected_attainment"] == 0.5
    assert not told["fallback"]


def test_who_runs_keeps_the_slot_or_gives_way(client):
    running = request(
        "runs",
        state="running",
        generated=5,
        first_token_ms=10,
        waited_ms=60,
        lengths=LONG,
        e2e_ms=60,
    )
    (told,) = decide(client, engine(running, request("urgent", e2e_ms=400)))["instances"]
    assert told["preempt"] == ["runs"]
    assert told["order"] == ["urgent", "runs"]
    assert told["places"][0]["id"] == "urgent"
    assert {p["id"]: p["reason"]["code"] for p in told["places"]}["runs"] == "gives_way"
    (told,) = decide(client, engine({**running, "id": "again", "lengths": SHORT, "e2e_ms": 9000}))[
        "instances"
    ]
    assert told["preempt"] == []
    assert told["places"][0]["runs"]


def test_memory_that_runs_out_holds_requests_back(client):
    (told,) = decide(
        client,
        engine(
            request("a", lengths=LONG),
            request("b", lengths=LONG),
            max_num_seqs=2,
            kv_tokens=2500,
            name="small",
        ),
    )["instances"]
    assert len(told["held"]) == 1
    codes = {place["id"]: place["reason"]["code"] for place in told["places"]}
    assert codes[told["held"][0]] == "held_for_memory"


def test_a_prompt_that_waits_for_another_is_not_said_to_lack_memory(client):
    (told,) = decide(
        client,
        engine(
            request("begun", state="running", prompt_tokens=9000),
            request("waits"),
            max_num_seqs=4,
            max_batched_tokens=512,
            name="busy",
        ),
    )["instances"]
    codes = {place["id"]: place["reason"]["code"] for place in told["places"]}
    assert "held_for_memory" not in codes.values()


def test_the_unassigned_go_where_they_gain_most(client):
    crowd = [
        request(f"r{n}", state="running", generated=1, first_token_ms=0, lengths=LONG)
        for n in range(4)
    ]
    told = decide(
        client,
        engine(*crowd, name="full", max_num_seqs=4),
        engine(name="idle", max_num_seqs=4),
        unassigned=[request(f"u{n}", e2e_ms=600) for n in range(3)],
    )
    assert set(told["assignment"].values()) == {"idle"}
    idle = next(each for each in told["instances"] if each["name"] == "idle")
    assert sorted(idle["order"]) == ["u0", "u1", "u2"]


def test_class_targets_and_priors_fill_what_is_left_out(client):
    (told,) = decide(client, engine(request("a", slo_class="code", lengths=None)))["instances"]
    assert told["places"][0]["chance"] is not None
    assert told["places"][0]["slo_class"] == "code"
    (told,) = decide(client, engine(request("a", slo_class="unheard of")))["instances"]
    assert told["places"][0]["chance"] is None
    assert told["places"][0]["reason"]["code"] in ("nothing_promised", "gets_slot")


def test_nobody_there(client):
    told = decide(client, engine())
    assert told["instances"][0]["order"] == []
    assert told["expected_attainment"] is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"engine_profile": "h100-llama"}, "did you mean"),
        ({"engine_profile": "/etc/passwd"}, "not known"),
        ({"engine_profile": None}, "either engine_profile or latency"),
        ({"latency": {"step_ms": 0}, "engine_profile": None}, "step_ms"),
        ({"max_num_seqs": 0}, "max_num_seqs"),
        ({"requests": [request("a"), request("a")]}, "unique"),
        ({"requests": [request("a", lengths=[0, 1, 2])]}, "sum to"),
        ({"requests": [request("a", lengths="x")]}, "flat list"),
        ({"requests": [request("a", first_token_ms=9)]}, "first_token_ms"),
        ({"requests": [request("a", e2e_ms=-1)]}, "e2e_ms"),
        ({"requests": [request(n, state="running") for n in "ab"]}, "1 slots"),
    ],
)  # fmt: skip
def test_bad_snapshots(client, change, words):
    answer = client.post("/schedule", json={"instances": [{**engine(), **change}]})
    assert answer.status_code == 422
    assert words in answer.json()["error"]["message"]


def test_an_unknown_policy(client):
    answer = client.post("/schedule", json={"policy": "fcsf", "instances": [engine()]})
    assert answer.status_code == 422
    assert "fcfs" in answer.json()["error"]["message"]


def test_the_clock_of_the_client_does_not_matter(client):
    """A request's arrival is fixed when it is first seen, whatever is said later."""
    first = decide(client, engine(request("x", waited_ms=1000, e2e_ms=1_000_000), name="clock"))
    again = decide(client, engine(request("x", waited_ms=0, e2e_ms=1_000_000), name="clock"))
    assert first["instances"][0]["order"] == again["instances"][0]["order"] == ["x"]


def test_nothing_left_of_a_promise_is_no_mistake(client):
    """Batch gateways send the time that remains."""
    (told,) = decide(client, engine(request("a", e2e_ms=0), request("b", e2e_ms=5e-324)))[
        "instances"
    ]
    assert {place["chance"] for place in told["places"]} == {0.0}
