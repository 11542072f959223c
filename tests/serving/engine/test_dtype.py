"""The dtype that suits a processor, from recorded descriptions of some."""

import pytest

from serving.bench.config import BenchConfig
from serving.collect.lengths import CollectSettings
from serving.collect.replicas import Replicas
from serving.engine import EngineConfig, dtype, layout

# Shortened: a core's features as Linux lists them.
EPYC_GENOA = "flags\t\t: fpu sse2 avx avx2 fma avx512f avx512bw avx512_bf16 avx512_vnni"
XEON_SAPPHIRE_RAPIDS = (
    "flags\t\t: fpu avx2 avx512f avx512_bf16 avx512_fp16 amx_bf16 amx_tile amx_int8"
)
XEON_CASCADE_LAKE = "flags\t\t: fpu sse2 avx2 fma avx512f avx512bw avx512_vnni"
RYZEN_ZEN_3 = "flags\t\t: fpu sse2 ssse3 fma cx16 avx f16c avx2 vaes"
CORE_ALDER_LAKE = "flags\t\t: fpu avx2 avx_vnni vaes sha_ni"
XEON_IVY_BRIDGE = "flags\t\t: fpu sse2 avx f16c"
GRAVITON_3 = "Features\t: fp asimd sve bf16 i8mm svebf16"
GRAVITON_2 = "Features\t: fp asimd aes atomics asimddp"


def cpuinfo(*cores: str) -> str:
    parts = (f"processor\t: {n}\nmodel name\t: bf16\n{core}\n" for n, core in enumerate(cores))
    return "\n".join(parts)


@pytest.mark.parametrize(
    ("core", "expected"),
    [
        (EPYC_GENOA, "bfloat16"),
        (XEON_SAPPHIRE_RAPIDS, "bfloat16"),
        (GRAVITON_3, "bfloat16"),
        (XEON_CASCADE_LAKE, "float32"),
        (RYZEN_ZEN_3, "float32"),
        (CORE_ALDER_LAKE, "float32"),
        (XEON_IVY_BRIDGE, "float32"),
        (GRAVITON_2, "float32"),
    ],
)
def test_bfloat16_only_where_the_processor_multiplies_it(core: str, expected: str) -> None:
    assert dtype.of_processor(cpuinfo(core, core), {}) == expected


def test_every_core_must_have_it() -> None:
    assert dtype.of_processor(cpuinfo(GRAVITON_3, GRAVITON_2), {}) == "float32"


@pytest.mark.parametrize("text", ["", "processor\t: 0\n", "flags"])
def test_a_processor_that_says_nothing_computes_in_float32(text: str) -> None:
    assert dtype.of_processor(text, {}) == "float32"


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        ("ATEN_CPU_CAPABILITY", "avx2", "float32"),
        ("ATEN_CPU_CAPABILITY", "default", "float32"),
        ("ATEN_CPU_CAPABILITY", "avx512", "bfloat16"),
        ("ONEDNN_MAX_CPU_ISA", "AVX2", "float32"),
        ("ONEDNN_MAX_CPU_ISA", "avx512_core", "float32"),
        ("DNNL_MAX_CPU_ISA", "AVX512_CORE_VNNI", "float32"),
        ("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_BF16", "bfloat16"),
        ("ONEDNN_MAX_CPU_ISA", "AVX10_1_512_AMX", "bfloat16"),
        ("ONEDNN_MAX_CPU_ISA", "ALL", "bfloat16"),
    ],
)
def test_instructions_that_the_libraries_may_not_use_do_not_count(
    variable: str, value: str, expected: str
) -> None:
    assert dtype.of_processor(cpuinfo(XEON_SAPPHIRE_RAPIDS), {variable: value}) == expected


@pytest.fixture
def ryzen(monkeypatch: pytest.MonkeyPatch) -> None:
    """vLLM for CPUs on a processor with AVX2 alone."""
    monkeypatch.setattr(dtype, "_features", lambda: cpuinfo(RYZEN_ZEN_3))
    monkeypatch.setattr(layout, "cpu_build", lambda: True)


def dtype_of(command: tuple[str, ...]) -> str:
    return command[command.index("--dtype") + 1]


def test_an_engine_starts_in_what_suits_the_processor(ryzen: None) -> None:
    assert dtype_of(EngineConfig(model="m").command()) == "float32"
    stage = Replicas(count=1, cores=2, gpu=False).stage(
        CollectSettings(base_url="", model="m"), "m"
    )
    assert stage["engine_kwargs"]["dtype"] == "float32"


def test_a_dtype_that_the_user_names_wins(ryzen: None) -> None:
    assert dtype_of(EngineConfig(model="m", dtype="bfloat16").command()) == "bfloat16"
    assert BenchConfig(policies=("fcfs",), model="m", dtype="half").dtype == "half"


def test_on_gpus_vllm_decides(ryzen: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "cpu_build", lambda: False)
    assert dtype_of(EngineConfig(model="m").command()) == "auto"


def test_the_log_says_which_and_why(ryzen: None) -> None:
    assert "float32" in dtype.reason("float32")
    assert "lacks" in dtype.reason(dtype.chosen("auto"))
    assert "has" in dtype.reason("bfloat16")
