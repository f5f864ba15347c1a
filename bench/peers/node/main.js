// Requests events from the Runtime API as Lambda's own runtime does: one at a time, over one
// connection. https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html

import http from "node:http";
import { handler } from "./webhook.js";

const runtime = `http://${process.env.AWS_LAMBDA_RUNTIME_API}/2018-06-01/runtime/invocation`;
const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });

function call(method, url, body) {
  return new Promise((resolve, reject) => {
    const request = http.request(url, { method, agent }, (response) => {
      const chunks = [];
      response.on("data", (chunk) => chunks.push(chunk));
      response.on("end", () => {
        resolve({ headers: response.headers, text: Buffer.concat(chunks).toString("utf8") });
      });
      response.on("error", reject);
    });
    request.on("error", reject);
    request.end(body);
  });
}

async function serveOne() {
  const { headers, text } = await call("GET", `${runtime}/next`);
  const id = headers["lambda-runtime-aws-request-id"];
  const deadline = Number(headers["lambda-runtime-deadline-ms"]);
  const context = {
    awsRequestId: id,
    functionName: process.env.AWS_LAMBDA_FUNCTION_NAME,
    getRemainingTimeInMillis: () => deadline - Date.now(),
  };
  try {
    const answer = await handler(JSON.parse(text), context);
    await call("POST", `${runtime}/${id}/response`, JSON.stringify(answer));
  } catch (error) {
    console.error(error);
    const report = { errorType: error.name, errorMessage: error.message };
    await call("POST", `${runtime}/${id}/error`, JSON.stringify(report));
  }
}

async function serve() {
  for (;;) await serveOne();
}

serve();
