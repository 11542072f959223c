import httpx
import pytest
from fastapi.testclient import TestClient
from sidecars import settings_in

from serving.sidecar.app import create_app
from serving.sidecar.client import AsyncSidecarClient, SidecarClient, SidecarError
from serving.sidecar.schemas.observation import ObservationIn
from serving.sidecar.schemas.predict import PromptIn
from serving.sidecar.schemas.schedule import InstanceIn, RequestIn, ScheduleIn

LENGTHS = [0, 10, 20, 0.5, 0.5]
SNAPSHOT = ScheduleIn(
    instances=[
        InstanceIn(
            name="e",
            max_num_seqs=1,
            engine_profile="h100-llama-3.1-8b",
            requests=[RequestIn(id="a", waited_ms=5, prompt_tokens=9, lengths=LENGTHS)],
        )
    ]
)


class Through(httpx.BaseTransport):
    """Sends a client's requests into a sidecar inside the test."""

    def __init__(self, used: TestClient) -> None:
        self._used = used

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        answer = self._used.request(
            request.method, request.url.path, content=request.content, headers=dict(request.headers)
        )
        return httpx.Response(answer.status_code, content=answer.content)


def test_the_blocking_client(client):
    with SidecarClient("http://testserver", transport=Through(client)) as used:
        forecast = used.predict(PromptIn(prompt="hi"))
        assert forecast.source == "model"
        many = used.predict_bulk([PromptIn(prompt="a"), PromptIn(prompt="b", slo_class="code")])
        assert [found.osl for found in many.predictions if found] == [51, 250]
        assert used.predict_bulk([PromptIn(prompt="a")], strict=True).errors == []
        decided = used.schedule(SNAPSHOT)
        assert decided.instances[0].order == ["a"]
        assert decided.instances[0].places[0].reason.code == "nothing_promised"
        kept = used.observe([ObservationIn(output_tokens=9, lengths=forecast.lengths)])
        assert kept.accepted == 1
        assert used.ready().state == "trained"
        assert used.status().model.kind == "history"
        assert used.reload().model.kind == "history"


def test_refusals_are_one_kind_of_error(client):
    with SidecarClient("http://testserver", transport=Through(client)) as used:
        bad = SNAPSHOT.instances[0].model_copy(update={"engine_profile": "nothing"})
        wrong = SNAPSHOT.model_copy(update={"instances": [bad]})
        with pytest.raises(SidecarError, match="engine profile") as caught:
            used.schedule(wrong)
        assert caught.value.status == 422
    with (
        SidecarClient("http://127.0.0.1:1") as nobody,
        pytest.raises(SidecarError, match="running"),
    ):
        nobody.status()


async def test_the_other_client(tmp_path, predictor):
    app = create_app(settings_in(tmp_path, predictor=predictor, api_token="correct horse"))
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app)
        async with AsyncSidecarClient(
            "http://sidecar", token="correct horse", transport=transport
        ) as used:
            assert (await used.predict(PromptIn(prompt="hi"))).osl == 51
            assert len((await used.predict_bulk([PromptIn(prompt="a")] * 3)).predictions) == 3
            assert (await used.schedule(SNAPSHOT)).instances[0].name == "e"
            assert (await used.observe([ObservationIn(output_tokens=9)])).outcome == "stored"
            assert (await used.ready()).ready
            assert (await used.status()).policy == "slotwise"
            assert (await used.reload()).model.name == "history"
        async with AsyncSidecarClient("http://sidecar", transport=transport) as used:
            with pytest.raises(SidecarError) as caught:
                await used.status()
            assert caught.value.status == 401
