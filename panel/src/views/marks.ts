/** The providers' marks: loaded with the first one that is shown. Other ids get their initial. */

import ai21 from "@lobehub/icons-static-svg/icons/ai21.svg?raw";
import alibaba from "@lobehub/icons-static-svg/icons/alibabacloud.svg?raw";
import anthropic from "@lobehub/icons-static-svg/icons/anthropic.svg?raw";
import azure from "@lobehub/icons-static-svg/icons/azure.svg?raw";
import bedrock from "@lobehub/icons-static-svg/icons/bedrock.svg?raw";
import cerebras from "@lobehub/icons-static-svg/icons/cerebras.svg?raw";
import cloudflare from "@lobehub/icons-static-svg/icons/cloudflare.svg?raw";
import cohere from "@lobehub/icons-static-svg/icons/cohere.svg?raw";
import deepseek from "@lobehub/icons-static-svg/icons/deepseek.svg?raw";
import fireworks from "@lobehub/icons-static-svg/icons/fireworks.svg?raw";
import github from "@lobehub/icons-static-svg/icons/github.svg?raw";
import google from "@lobehub/icons-static-svg/icons/google.svg?raw";
import groq from "@lobehub/icons-static-svg/icons/groq.svg?raw";
import lmstudio from "@lobehub/icons-static-svg/icons/lmstudio.svg?raw";
import mistral from "@lobehub/icons-static-svg/icons/mistral.svg?raw";
import nvidia from "@lobehub/icons-static-svg/icons/nvidia.svg?raw";
import ollama from "@lobehub/icons-static-svg/icons/ollama.svg?raw";
import openai from "@lobehub/icons-static-svg/icons/openai.svg?raw";
import openrouter from "@lobehub/icons-static-svg/icons/openrouter.svg?raw";
import perplexity from "@lobehub/icons-static-svg/icons/perplexity.svg?raw";
import qwen from "@lobehub/icons-static-svg/icons/qwen.svg?raw";
import sambanova from "@lobehub/icons-static-svg/icons/sambanova.svg?raw";
import together from "@lobehub/icons-static-svg/icons/together.svg?raw";
import vertexai from "@lobehub/icons-static-svg/icons/vertexai.svg?raw";
import vllm from "@lobehub/icons-static-svg/icons/vllm.svg?raw";
import xai from "@lobehub/icons-static-svg/icons/xai.svg?raw";

const MARKS: ReadonlyMap<string, string> = new Map(
  Object.entries({
    ai21,
    alibaba,
    anthropic,
    azure,
    bedrock,
    cerebras,
    cloudflare,
    cohere,
    deepseek,
    fireworks,
    github,
    google,
    groq,
    lmstudio,
    mistral,
    nvidia,
    ollama,
    openai,
    openrouter,
    perplexity,
    qwen,
    sambanova,
    together,
    vertexai,
    vllm,
    xai,
    gemini: google,
    grok: xai,
    vertex: vertexai,
  }).map(([id, file]) => [id, drawing(file)]),
);

/** The drawing without its frame, because a style attribute breaks the content security policy. */
function drawing(file: string): string {
  return file.replace(/^<svg[^>]*>(<title>[^<]*<\/title>)?/, "").replace(/<\/svg>\s*$/, "");
}

/** The mark of a provider, as SVG. `groq-eu` has the mark of `groq`. */
export function markOf(provider: string): string | undefined {
  return MARKS.get(provider) ?? MARKS.get(provider.split(/[^a-z0-9]/)[0] ?? "");
}
