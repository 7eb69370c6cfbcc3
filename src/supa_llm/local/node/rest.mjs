// Streams requests to PostgREST over persistent connections, and streams the responses back.

import { Agent, request as httpRequest } from "node:http";

import { send } from "./gate.mjs";

// Headers that describe one connection, not the request.
const HOP_BY_HOP = ["connection", "keep-alive", "proxy-connection", "te", "trailer", "upgrade"];

export function createRest({ restPort }) {
  // PostgREST closes connections after 30 idle seconds. Closing them earlier avoids sending a request on a
  // connection that is being closed.
  const agent = new Agent({ keepAlive: true, maxSockets: 256, scheduling: "lifo", timeout: 15_000 });

  return function forward(request, response, retried = false) {
    const headers = { ...request.headers, host: `127.0.0.1:${restPort}` };
    for (const name of HOP_BY_HOP) delete headers[name];
    headers["x-forwarded-for"] = request.socket.remoteAddress;
    const path = request.url.slice("/rest/v1".length);
    const upstream = httpRequest({
      agent,
      host: "127.0.0.1",
      port: restPort,
      method: request.method,
      path: path.startsWith("/") ? path : `/${path}`,
      headers,
    });
    upstream.on("response", (answer) => {
      for (const [name, value] of Object.entries(answer.headers)) {
        if (!HOP_BY_HOP.includes(name) && !name.startsWith("access-control-")) response.setHeader(name, value);
      }
      response.writeHead(answer.statusCode);
      answer.pipe(response);
      answer.on("error", () => response.destroy());
    });
    upstream.on("error", (error) => {
      const bodyless = request.method === "GET" || request.method === "HEAD";
      if (!retried && bodyless && upstream.reusedSocket && error.code === "ECONNRESET") {
        forward(request, response, true);
      } else if (response.headersSent) {
        response.destroy();
      } else {
        send(response, 503, { message: "PostgREST is not running.", hint: "Start it: supa-llm local up" });
      }
    });
    response.on("close", () => {
      if (!response.writableFinished) upstream.destroy();
    });
    if (retried) upstream.end();
    else request.pipe(upstream);
  };
}
