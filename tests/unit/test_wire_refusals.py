"""What providers and servers say when they refuse a request, in their own words."""

from __future__ import annotations

import pytest

from supa_llm.wire.refusals import refusal

LONG = [
    # OpenAI, DeepSeek, vLLM, OpenRouter
    (
        400,
        "This model's maximum context length is 8192 tokens. However, your messages resulted in 8227 tokens.",
    ),
    (429, "Request too large for gpt-4o on tokens per min (TPM): Limit 30000, Requested 342389."),
    (400, "The decoder prompt (length 5000) is longer than the maximum model length of 4096."),
    # Anthropic
    (400, "prompt is too long: 210000 tokens > 200000 maximum"),
    (
        400,
        "input length and `max_tokens` exceed context limit: 178959 + 64000 > 200000, decrease input length",
    ),
    # Google
    (400, "The input token count (1200293) exceeds the maximum number of tokens allowed (1048576)."),
    # Groq
    (413, "Request too large for model `m` on tokens per minute (TPM): Limit 6000, Requested 12328."),
    (400, "Please reduce the length of the messages or completion."),
    # Mistral
    (400, "Prompt contains 40960 tokens, too large for model with 32768 maximum context length"),
    # xAI
    (400, "This model's maximum prompt length is 131072 but the request contains 136973 tokens."),
    # llama.cpp, with its older status too; Ollama, LM Studio, text-generation-inference, Bedrock, GitHub
    (400, "the request exceeds the available context size. try increasing the context size"),
    (500, "the request exceeds the available context size. try increasing the context size"),
    (400, "the input length exceeds the context length"),
    (400, "Trying to keep the first 5000 tokens when context the overflows."),
    (422, "`inputs` tokens + `max_new_tokens` must be <= 4096. Given: 5000 `inputs` tokens"),
    (400, "Input is too long for requested model."),
    (413, "Request body too large for gpt-4o model. Max size: 8000 tokens."),
    (400, "Prompt too long: 41911 tokens exceeds max context window of 32768 tokens"),
]
UNSUPPORTED = [
    (400, "Function tools with reasoning_effort are not supported for gpt-5.4 in /v1/chat/completions."),
    (400, "Unsupported parameter: 'max_tokens' is not supported with this model."),
    (400, "Unsupported value: 'temperature' does not support 0.2 with this model."),
    (400, "max_tokens: 100000 > 64000, which is the maximum allowed number of output tokens"),
    (400, "max_tokens is too large: 100000. This model supports at most 16384 completion tokens"),
    (400, "Failed to call a function. Please adjust your prompt. See 'failed_generation' for more details."),
    (400, "messages[1]: unknown variant `image_url`, expected `text` at line 1 column 679289"),
    (400, "Invalid content type. image_url is only supported by certain models."),
    (400, "Model do not support image input."),
    (400, "llava is not a multimodal model"),
    (400, "registry.ollama.ai/library/gemma:2b does not support tools"),
    (400, '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set'),
    (422, '[{"type": "extra_forbidden", "loc": ["body", "store"], "msg": "Extra inputs are not permitted"}]'),
    (400, "This response_format type is unavailable now"),
    (400, "Function calling is not enabled for models/gemma-3-1b-it"),
    (400, "The `reasoning_content` in the thinking mode must be passed back to the API."),
    (400, "Function call is missing a thought_signature in functionCall parts."),
    (400, "messages.1.content.0: Invalid `signature` in `thinking` block"),
    (400, "Unrecognized request argument supplied: reasoning"),
]
CREDIT = [
    (400, "Your credit balance is too low to access the Anthropic API."),
    (402, "Insufficient Balance"),
    (400, "Insufficient Balance"),
    (402, ""),
    (402, "This request requires more credits, or fewer max_tokens."),
    (403, "Your team has used all available credits or reached its monthly spending limit."),
    (429, "Your prepayment credits are depleted."),
    (429, "Your project has exceeded its monthly spending cap."),
    (403, "This API method requires billing to be enabled."),
]
KEYS = [
    (400, "API key not valid. Please pass a valid API key."),
    (400, "API key expired. Please renew the API key."),
    (400, "Incorrect API key provided: …"),
]
OTHERS = [
    (400, "Invalid 'messages[0].role': expected one of 'system', 'user'."),
    (400, "Missing required parameter: 'messages[0].content'."),
    (400, "Invalid schema for function 'f': schema must be a JSON schema of 'type: \"object\"'."),
    (400, "messages: at least one message is required"),
    (400, "Invalid 'tools': array too long. Expected an array with maximum length 128."),
    (422, "Input should be 'user'"),
    # Rate limits, although they name tokens or billing
    (429, "Rate limit reached for gpt-4o on tokens per min (TPM): Limit 30000, Used 25000, Requested 8000."),
    (429, "You exceeded your current quota, please check your plan and billing details."),
    (429, "Too many tokens for team t and model grok-4. Tokens per Minute (actual/limit): 65605/16000."),
    (404, "The model does not support chat."),
    (500, "Internal error: this is not supported"),
    (503, ""),
    (200, ""),
]


@pytest.mark.parametrize(
    ("status", "message", "meaning"),
    [
        (status, message, meaning)
        for meaning, texts in (
            ("context_too_long", LONG),
            ("unsupported", UNSUPPORTED),
            ("out_of_credit", CREDIT),
            ("auth", KEYS),
            (None, OTHERS),
        )
        for status, message in texts
    ],
)
def test_words(status: int, message: str, meaning: str | None) -> None:
    assert refusal(status, [None, 400, "invalid_request_error"], message) == meaning


@pytest.mark.parametrize(
    ("status", "code", "meaning"),
    [
        (400, "context_length_exceeded", "context_too_long"),
        (200, "context_length_exceeded", "context_too_long"),
        (500, "exceed_context_size_error", "context_too_long"),
        (413, "tokens_limit_reached", "context_too_long"),
        (400, "unsupported_value", "unsupported"),
        (200, "tool_use_failed", "unsupported"),
        (429, "insufficient_quota", "out_of_credit"),
        (401, "insufficient_quota", "out_of_credit"),
        (200, "billing_error", "out_of_credit"),
        (400, "Arrearage", "out_of_credit"),
        (400, "API_KEY_INVALID", "auth"),
        (500, "unsupported_value", None),
        (429, "rate_limit_exceeded", None),
        (400, "invalid_type", None),
    ],
)
def test_codes(status: int, code: str, meaning: str | None) -> None:
    assert refusal(status, [code], "") == meaning
