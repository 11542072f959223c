"""Ask a server for one output in each SLO class, and measure whether it met its targets.

    slotwise serve smollm2 --slo-config examples/slo_classes/slos.yaml --port 8000
    python examples/slo_classes/client.py http://127.0.0.1:8000 smollm2

A request names its class in a header. Any OpenAI client can send the same header.
"""

import asyncio
import sys
import time
from pathlib import Path

import httpx

from serving.slo_config import load

CLASS_HEADER = "x-llm-d-inference-objective"
CLASSES = load(Path(__file__).with_name("slos.yaml")).slo_classes()


async def ask(http: httpx.AsyncClient, model: str, name: str) -> str:
    """Stream one answer; say when its tokens came, and whether that met the class's targets."""
    body = {
        "model": model,
        "messages": [{"role": "user", "content": f"Write one line about {name}."}],
        "max_tokens": 40,
        "stream": True,
    }
    began_s, tokens_s = time.monotonic(), list[float]()
    path, headers = "/v1/chat/completions", {CLASS_HEADER: name}
    async with http.stream("POST", path, json=body, headers=headers) as answer:
        if answer.is_error:
            return f"{name}: refused with status {answer.status_code}"
        async for line in answer.aiter_lines():
            if '"content":' in line and '"content":""' not in line:
                tokens_s.append(time.monotonic() - began_s)
    ttft_s, e2e_s = tokens_s[0], tokens_s[-1]
    tpot_s = (e2e_s - ttft_s) / max(len(tokens_s) - 1, 1)
    met = CLASSES[name].slo.met(ttft_s=ttft_s, tpot_s=tpot_s, e2e_s=e2e_s)
    figures = f"TTFT {ttft_s:.2f} s, TPOT {tpot_s * 1e3:.0f} ms, all {e2e_s:.2f} s"
    return f"{name}: {figures}: {'attained' if met else 'violated'}"


async def main(base_url: str, model: str) -> None:
    """One request of each class, all at once."""
    async with httpx.AsyncClient(base_url=base_url, timeout=600.0) as http:
        for said in await asyncio.gather(*(ask(http, model, name) for name in CLASSES)):
            print(said)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
