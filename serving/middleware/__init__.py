"""In front of vLLM's own OpenAI server: reads promises, forecasts lengths, notes what became."""
